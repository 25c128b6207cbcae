//! Many Socket.IO clients on one thread: one epoll, raw frames, no task and no allocation per message. It connects them, answers pings, and
//! hands every packet to whoever measures; what a packet means is not known here.

use std::{
    io::ErrorKind,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use mio::{Events, Interest, Poll, Token, net::TcpStream};
use socket2::{Domain, Type};

use crate::{
    frame,
    line::{Line, Tally},
};

/// What a socket says of itself when it connects.
#[derive(Clone, Default)]
pub struct Client {
    /// Its token.
    pub token: String,
    /// Further fields of `auth`, as JSON with a leading comma.
    pub auth: String,
    /// The receive buffer of a client that shall not swallow much.
    pub receive_buffer: Option<usize>,
}

/// A packet, or what became of the connection.
#[derive(Debug)]
pub enum Heard<'a> {
    /// CONNECT was answered; twice, when the server offers a private id.
    Connected(&'a [u8]),
    /// An event: the JSON array of its name and arguments.
    Event(&'a [u8]),
    /// The answer to an event: an array.
    Ack(&'a [u8]),
    /// CONNECT was refused, or the server disconnected the namespace.
    Refused(&'a [u8]),
    /// The connection is gone.
    Closed,
}

/// Whoever measures.
pub trait Ear {
    /// Takes in what a socket heard; what is to be said goes into `mouth`.
    fn hear(&mut self, mouth: &mut Mouth, socket: usize, heard: Heard<'_>);
}

/// What all sockets say is collected here, and written at the end of a turn.
#[derive(Default)]
pub struct Mouth {
    pending: Vec<Vec<u8>>,
    dirty: Vec<usize>,
}

impl Mouth {
    /// Sends an engine.io packet.
    pub fn say(&mut self, socket: usize, packet: &[u8]) {
        let Some(out) = self.pending.get_mut(socket) else { return };
        if out.is_empty() {
            self.dirty.push(socket);
        }
        frame::write_text(out, packet);
    }

    /// What a socket has to say and has not written.
    pub fn pending(&mut self, socket: usize) -> Option<&mut Vec<u8>> {
        self.pending.get_mut(socket)
    }

    /// Appends bytes as they are.
    pub fn raw(&mut self, socket: usize, write: impl FnOnce(&mut Vec<u8>)) {
        let Some(out) = self.pending.get_mut(socket) else { return };
        if out.is_empty() {
            self.dirty.push(socket);
        }
        write(out);
    }
}

/// The clients of one server. They are numbered in the order in which they were added.
pub struct Swarm {
    poll: Poll,
    events: Events,
    scratch: Vec<u8>,
    lines: Vec<Line>,
    /// What is said.
    pub mouth: Mouth,
    server: SocketAddr,
    /// What has come in.
    pub tally: Tally,
}

/// So many sockets share a source address: ports do not run out, and two waves of them stay below the handshakes that an address is allowed.
const PER_ADDRESS: usize = 2000;

impl Swarm {
    /// No clients yet.
    pub fn new(server: SocketAddr) -> Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            scratch: vec![0; 256 * 1024],
            lines: Vec::new(),
            mouth: Mouth::default(),
            server,
            tally: Tally::default(),
        })
    }

    /// How many there are, those that are gone included.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Starts to connect a client and returns its number.
    pub fn add(&mut self, client: &Client) -> Result<usize> {
        let number = self.lines.len();
        let line = self.connect(number, client)?;
        self.lines.push(line);
        self.mouth.pending.push(Vec::new());
        Ok(number)
    }

    /// Starts to connect a client in the place of another one, whose connection is cut.
    pub fn place(&mut self, number: usize, client: &Client) -> Result<()> {
        self.cut(number);
        let line = self.connect(number, client)?;
        if let (Some(old), Some(pending)) = (self.lines.get_mut(number), self.mouth.pending.get_mut(number)) {
            *old = line;
            pending.clear();
        }
        Ok(())
    }

    fn connect(&self, number: usize, client: &Client) -> Result<Line> {
        let socket = socket2::Socket::new(Domain::IPV4, Type::STREAM, None)?;
        if let Some(size) = client.receive_buffer {
            socket.set_recv_buffer_size(size)?;
        }
        let last = u8::try_from(1 + number / PER_ADDRESS)?;
        socket.bind(&SocketAddrV4::new(Ipv4Addr::new(127, 0, 1, last), 0).into())?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        // A cut is a reset: no port is kept waiting.
        socket.set_linger(Some(Duration::ZERO))?;
        match socket.connect(&self.server.into()) {
            Err(e) if e.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => return Err(e.into()),
            _ => {}
        }
        let mut stream = TcpStream::from_std(socket.into());
        self.poll.registry().register(&mut stream, Token(number), Interest::READABLE | Interest::WRITABLE)?;
        let connect = format!(r#"40{{"token":"{}"{}}}"#, client.token, client.auth).into_bytes();
        Ok(Line::new(stream, connect))
    }

    /// Cuts a connection without a word.
    pub fn cut(&mut self, number: usize) {
        if let Some(line) = self.lines.get_mut(number) {
            self.poll.registry().deregister(line.stream()).ok();
            line.cut();
        }
    }

    /// Reads no more from a connection.
    pub fn deafen(&mut self, number: usize) {
        if let Some(line) = self.lines.get_mut(number) {
            line.deafen(true);
        }
    }

    /// Reads again.
    pub fn undeafen(&mut self, number: usize, ear: &mut impl Ear) {
        if let Some(line) = self.lines.get_mut(number) {
            line.deafen(false);
            line.readable(number, &mut self.scratch, &mut self.mouth, &mut self.tally, ear);
        }
    }

    /// Waits at most `wait` for something to happen, hands on what came, and writes what is to be said.
    pub fn turn(&mut self, wait: Duration, ear: &mut impl Ear) -> Result<()> {
        self.flush(ear);
        if let Err(e) = self.poll.poll(&mut self.events, Some(wait)) {
            ensure!(e.kind() == ErrorKind::Interrupted, e);
        }
        for event in self.events.iter() {
            let number = event.token().0;
            let Some(line) = self.lines.get_mut(number) else { continue };
            if event.is_writable() {
                line.writable(number, self.server, &mut self.mouth, ear);
            }
            if event.is_readable() || event.is_read_closed() {
                line.readable(number, &mut self.scratch, &mut self.mouth, &mut self.tally, ear);
            }
        }
        self.flush(ear);
        Ok(())
    }

    fn flush(&mut self, ear: &mut impl Ear) {
        for number in std::mem::take(&mut self.mouth.dirty) {
            if let Some(line) = self.lines.get_mut(number) {
                line.write_pending(number, &mut self.mouth, ear);
            }
        }
    }

    /// Turns until `done` says so; an error after `patience`.
    pub fn turn_until<E: Ear>(&mut self, patience: Duration, what: &str, ear: &mut E, done: impl Fn(&E) -> bool) -> Result<()> {
        let end = Instant::now() + patience;
        while !done(ear) {
            ensure!(Instant::now() < end, "{what} did not happen within {patience:?}");
            self.turn(Duration::from_millis(5), ear)?;
        }
        Ok(())
    }
}

/// The decimal number at the start of `bytes`.
pub fn number_in(bytes: &[u8]) -> Option<u64> {
    let digits = bytes.iter().take_while(|b| b.is_ascii_digit()).count();
    std::str::from_utf8(bytes.get(..digits)?).ok()?.parse().ok()
}

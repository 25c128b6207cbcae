//! Many Socket.IO clients on one thread: one epoll, raw frames, no task and no allocation per message. It connects them, answers pings, and
//! hands every packet to whoever measures; what a packet means is not known here.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use mio::{Events, Interest, Poll, Token, net::TcpStream};
use socket2::{Domain, SockRef, Type};

use crate::frame::{self, Kind};

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

    fn raw(&mut self, socket: usize, write: impl FnOnce(&mut Vec<u8>)) {
        let Some(out) = self.pending.get_mut(socket) else { return };
        if out.is_empty() {
            self.dirty.push(socket);
        }
        write(out);
    }
}

enum Stage {
    Connecting,
    Upgrading,
    Open,
    Gone,
}

struct Line {
    stream: TcpStream,
    stage: Stage,
    rest: Vec<u8>,
    connect: Vec<u8>,
    deaf: bool,
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
    /// Frames that have come in.
    pub frames: u64,
    /// Bytes that have come in, handshakes included.
    pub bytes: u64,
}

/// So many sockets share a source address, so that ports do not run out.
const PER_ADDRESS: usize = 4000;

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
            frames: 0,
            bytes: 0,
        })
    }

    /// How many there are, those that are gone included.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Starts to connect a client and returns its number.
    pub fn add(&mut self, client: &Client) -> Result<usize> {
        let number = self.lines.len();
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
        self.lines.push(Line { stream, stage: Stage::Connecting, rest: Vec::new(), connect, deaf: false });
        self.mouth.pending.push(Vec::new());
        Ok(number)
    }

    /// Cuts a connection without a word.
    pub fn cut(&mut self, number: usize) {
        if let Some(line) = self.lines.get_mut(number) {
            self.poll.registry().deregister(&mut line.stream).ok();
            SockRef::from(&line.stream).shutdown(std::net::Shutdown::Both).ok();
            line.stage = Stage::Gone;
        }
    }

    /// Reads no more from a connection.
    pub fn deafen(&mut self, number: usize) {
        if let Some(line) = self.lines.get_mut(number) {
            line.deaf = true;
        }
    }

    /// Reads again.
    pub fn undeafen(&mut self, number: usize, ear: &mut impl Ear) {
        if let Some(line) = self.lines.get_mut(number) {
            line.deaf = false;
            let mut tally = (0, 0);
            line.readable(number, &mut self.scratch, &mut self.mouth, &mut tally, ear);
            self.frames += tally.0;
            self.bytes += tally.1;
        }
    }

    /// Waits at most `wait` for something to happen, hands on what came, and writes what is to be said.
    pub fn turn(&mut self, wait: Duration, ear: &mut impl Ear) -> Result<()> {
        self.flush(ear);
        if let Err(e) = self.poll.poll(&mut self.events, Some(wait)) {
            ensure!(e.kind() == ErrorKind::Interrupted, e);
        }
        let mut tally = (0, 0);
        for event in self.events.iter() {
            let number = event.token().0;
            let Some(line) = self.lines.get_mut(number) else { continue };
            if event.is_writable() {
                line.writable(number, self.server, &mut self.mouth, ear);
            }
            if (event.is_readable() || event.is_read_closed()) && !line.deaf {
                line.readable(number, &mut self.scratch, &mut self.mouth, &mut tally, ear);
            }
        }
        self.frames += tally.0;
        self.bytes += tally.1;
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

impl Line {
    fn gone(&mut self, number: usize, mouth: &mut Mouth, ear: &mut impl Ear) {
        if !matches!(self.stage, Stage::Gone) {
            self.stage = Stage::Gone;
            SockRef::from(&self.stream).shutdown(std::net::Shutdown::Both).ok();
            ear.hear(mouth, number, Heard::Closed);
        }
    }

    fn writable(&mut self, number: usize, server: SocketAddr, mouth: &mut Mouth, ear: &mut impl Ear) {
        if matches!(self.stage, Stage::Connecting) {
            if self.stream.take_error().ok().flatten().is_some() {
                return self.gone(number, mouth, ear);
            }
            if self.stream.peer_addr().is_err() {
                return;
            }
            self.stage = Stage::Upgrading;
            let request = format!(
                "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: {server}\r\nUser-Agent: tidings-bench\r\nUpgrade: websocket\r\n\
                 Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            );
            mouth.raw(number, |out| out.extend_from_slice(request.as_bytes()));
        }
        self.write_pending(number, mouth, ear);
    }

    fn write_pending(&mut self, number: usize, mouth: &mut Mouth, ear: &mut impl Ear) {
        if matches!(self.stage, Stage::Gone | Stage::Connecting) {
            return;
        }
        let Some(out) = mouth.pending.get_mut(number) else { return };
        let mut written = 0;
        while let Some(left) = out.get(written..).filter(|left| !left.is_empty()) {
            match self.stream.write(left) {
                Ok(n) => written += n,
                // The rest goes when the socket can be written again.
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => {
                    out.clear();
                    return self.gone(number, mouth, ear);
                }
            }
        }
        out.drain(..written);
    }

    fn readable(&mut self, number: usize, scratch: &mut [u8], mouth: &mut Mouth, tally: &mut (u64, u64), ear: &mut impl Ear) {
        while !matches!(self.stage, Stage::Gone | Stage::Connecting) {
            let read = match self.stream.read(scratch) {
                Ok(0) => return self.gone(number, mouth, ear),
                Ok(n) => n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return self.gone(number, mouth, ear),
            };
            tally.1 += read as u64;
            let fresh = scratch.get(..read).unwrap_or_default();
            if self.rest.is_empty() {
                let used = self.take_in(fresh, number, mouth, &mut tally.0, ear);
                self.rest.extend_from_slice(fresh.get(used..).unwrap_or_default());
            } else {
                let mut all = std::mem::take(&mut self.rest);
                all.extend_from_slice(fresh);
                let used = self.take_in(&all, number, mouth, &mut tally.0, ear);
                all.drain(..used);
                self.rest = all;
            }
            // What comes after a short read announces itself.
            if read < scratch.len() {
                return;
            }
        }
    }

    /// Takes in what is whole, and returns how many bytes that was.
    fn take_in(&mut self, bytes: &[u8], number: usize, mouth: &mut Mouth, frames: &mut u64, ear: &mut impl Ear) -> usize {
        let mut used = 0;
        if matches!(self.stage, Stage::Upgrading) {
            let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else { return 0 };
            if !bytes.starts_with(b"HTTP/1.1 101") {
                self.gone(number, mouth, ear);
                return bytes.len();
            }
            self.stage = Stage::Open;
            used = end + 4;
        }
        while let Some((kind, payload, length)) = bytes.get(used..).and_then(frame::read) {
            used += length;
            *frames += 1;
            match kind {
                Kind::Text => self.packet(payload, number, mouth, ear),
                Kind::Ping => mouth.raw(number, |out| frame::write_pong(out, payload)),
                Kind::Close => self.gone(number, mouth, ear),
                Kind::Other => {}
            }
        }
        used
    }

    fn packet(&mut self, packet: &[u8], number: usize, mouth: &mut Mouth, ear: &mut impl Ear) {
        match packet {
            [b'0', ..] => mouth.say(number, &std::mem::take(&mut self.connect)),
            b"2" => mouth.say(number, b"3"),
            [b'1', ..] => self.gone(number, mouth, ear),
            [b'4', b'2', array @ ..] => ear.hear(mouth, number, Heard::Event(array)),
            [b'4', b'0', rest @ ..] => ear.hear(mouth, number, Heard::Connected(rest)),
            [b'4', b'3', rest @ ..] => {
                let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
                ear.hear(mouth, number, Heard::Ack(rest.get(digits..).unwrap_or_default()));
            }
            [b'4', b'1' | b'4', rest @ ..] => ear.hear(mouth, number, Heard::Refused(rest)),
            _ => {}
        }
    }
}

/// The decimal number at the start of `bytes`.
pub fn number_in(bytes: &[u8]) -> Option<u64> {
    let digits = bytes.iter().take_while(|b| b.is_ascii_digit()).count();
    std::str::from_utf8(bytes.get(..digits)?).ok()?.parse().ok()
}

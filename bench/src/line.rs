//! One connection of a client: the WebSocket handshake, its frames, and Engine.IO's packets in them. Who connects, and what a packet means,
//! is not known here.

use std::{
    io::{ErrorKind, Read, Write},
    net::SocketAddr,
};

use mio::net::TcpStream;
use socket2::SockRef;

use crate::{
    frame::{self, Kind},
    swarm::{Ear, Heard, Mouth},
};

/// How far a connection is.
enum Stage {
    Connecting,
    Upgrading,
    Open,
    Gone,
}

/// A connection.
pub struct Line {
    stream: TcpStream,
    stage: Stage,
    /// The part of a frame that has come in.
    rest: Vec<u8>,
    /// The CONNECT packet, until it is sent.
    connect: Vec<u8>,
    /// Whether nothing is read.
    deaf: bool,
    /// Whether something may have been announced that was not looked at.
    missed: bool,
}

/// Frames and bytes that have come in.
#[derive(Clone, Copy, Default)]
pub struct Tally {
    /// Whole frames.
    pub frames: u64,
    /// Bytes, handshakes included.
    pub bytes: u64,
}

impl Line {
    /// A connection that is being made, and what it will say first.
    pub fn new(stream: TcpStream, connect: Vec<u8>) -> Self {
        Self { stream, stage: Stage::Connecting, rest: Vec::new(), connect, deaf: false, missed: false }
    }

    /// Its stream, to be watched.
    pub fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// Cuts it without a word.
    pub fn cut(&mut self) {
        SockRef::from(&self.stream).shutdown(std::net::Shutdown::Both).ok();
        self.stage = Stage::Gone;
    }

    fn gone(&mut self, number: usize, mouth: &mut Mouth, ear: &mut impl Ear) {
        if !matches!(self.stage, Stage::Gone) {
            self.cut();
            ear.hear(mouth, number, Heard::Closed);
        }
    }

    /// Reads no more, or reads again.
    pub fn deafen(&mut self, deaf: bool) {
        self.deaf = deaf;
        self.missed = true;
    }

    /// The socket can be written.
    pub fn writable(&mut self, number: usize, server: SocketAddr, mouth: &mut Mouth, ear: &mut impl Ear) {
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

    /// Writes what is to be said, as far as it goes.
    pub fn write_pending(&mut self, number: usize, mouth: &mut Mouth, ear: &mut impl Ear) {
        if matches!(self.stage, Stage::Gone | Stage::Connecting) {
            return;
        }
        let Some(out) = mouth.pending(number) else { return };
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

    /// The socket can be read.
    pub fn readable(&mut self, number: usize, scratch: &mut [u8], mouth: &mut Mouth, tally: &mut Tally, ear: &mut impl Ear) {
        while !self.deaf && !matches!(self.stage, Stage::Gone | Stage::Connecting) {
            let read = match self.stream.read(scratch) {
                Ok(0) => return self.gone(number, mouth, ear),
                Ok(n) => n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    self.missed = false;
                    return;
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return self.gone(number, mouth, ear),
            };
            tally.bytes += read as u64;
            let fresh = scratch.get(..read).unwrap_or_default();
            if self.rest.is_empty() {
                let used = self.take_in(fresh, number, mouth, &mut tally.frames, ear);
                self.rest.extend_from_slice(fresh.get(used..).unwrap_or_default());
            } else {
                let mut all = std::mem::take(&mut self.rest);
                all.extend_from_slice(fresh);
                let used = self.take_in(&all, number, mouth, &mut tally.frames, ear);
                all.drain(..used);
                self.rest = all;
            }
            // What comes after a short read announces itself.
            if read < scratch.len() && !self.missed {
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

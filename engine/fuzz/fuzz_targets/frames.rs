//! What a client sends on a websocket: bytes as they come, in pieces of any size. What the server hears must be what tungstenite makes of them,
//! and what it answers must be frames.

#![no_main]

use std::{
    io::{self, Cursor, Read, Write},
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use engineioxide_fuzz::{Heard, LONGEST, LONGEST_FRAME, Outcome, outcome, run, server};
use http::Request;
use libfuzzer_sys::fuzz_target;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tower_service::Service;
use tungstenite::{
    Message, WebSocket,
    protocol::{Role, WebSocketConfig},
};

/// A connection that brings bytes in pieces, ends, and keeps what is written.
struct Pieces {
    bytes: Vec<u8>,
    at: usize,
    size: usize,
    written: Arc<Mutex<Vec<u8>>>,
}

impl AsyncRead for Pieces {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, read: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let end = self.bytes.len().min(self.at + self.size.min(read.remaining()));
        read.put_slice(&self.bytes[self.at..end]);
        self.at = end;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pieces {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let some = &bytes[..bytes.len().min(self.size)];
        self.written.lock().expect("is sound").extend_from_slice(some);
        Poll::Ready(Ok(some.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A connection for tungstenite, which writes nowhere.
struct Whole(Cursor<Vec<u8>>);

impl Read for Whole {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Whole {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn messages(bytes: Vec<u8>, role: Role, config: WebSocketConfig) -> Vec<Message> {
    let mut websocket = WebSocket::from_raw_socket(Whole(Cursor::new(bytes)), role, Some(config));
    std::iter::from_fn(|| websocket.read().ok()).take_while(|message| !message.is_close()).collect()
}

/// Frames of what the data says of each: its first byte, its payload's length and payload.
fn frames(mut data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let [first, len, rest @ ..] = data {
        let (payload, rest) = rest.split_at(rest.len().min(usize::from(*len)));
        bytes.push(*first);
        match payload.len() {
            len @ 0..=125 => bytes.push(0x80 | len as u8),
            len => bytes.extend([0x80 | 126, 0, len as u8]),
        }
        bytes.extend([1, 2, 3, 4]);
        bytes.extend(payload.iter().enumerate().map(|(n, byte)| byte ^ [1, 2, 3, 4][n & 3]));
        data = rest;
    }
    bytes
}

// The first byte says in which pieces it comes, and whether the rest says what frames there are, or is bytes as they stand.
fuzz_target!(|data: &[u8]| {
    let Some((first, rest)) = data.split_first() else { return };
    let bytes = if first & 1 == 0 { frames(rest) } else { rest.to_vec() };
    let mut expected = Vec::new();
    let limits = WebSocketConfig::default().max_message_size(Some(LONGEST)).max_frame_size(Some(LONGEST_FRAME));
    for message in messages(bytes.clone(), Role::Server, limits) {
        match message {
            Message::Text(text) => match outcome(&text) {
                Outcome::Heard(heard) => expected.push(heard),
                Outcome::Goes => {}
                Outcome::Closed | Outcome::Wrong => break,
            },
            Message::Binary(bytes) => expected.push(Heard::Bytes(bytes.to_vec())),
            _ => {}
        }
    }
    let written = Arc::default();
    let pieces = Pieces { bytes, at: 0, size: usize::from(first >> 1) + 1, written: Arc::clone(&written) };
    let (mut service, recorder) = server();
    let request = Request::get("/engine.io/?EIO=4&transport=websocket").body(()).expect("valid");
    run(async { Service::call(&mut service, (pieces, request)).await }).expect("is a websocket");
    assert_eq!(recorder.heard(), expected);
    assert_eq!(recorder.sessions(), (1, 1));
    let answers = messages(std::mem::take(&mut written.lock().expect("is sound")), Role::Client, WebSocketConfig::default());
    let mut answers = answers.into_iter().filter(|answer| answer.is_text() || answer.is_binary());
    assert!(matches!(answers.next(), Some(Message::Text(open)) if open.starts_with("0{")));
    for (answer, heard) in answers.zip(expected) {
        let echo = match heard {
            Heard::Text(text) => Message::text(format!("4{text}")),
            Heard::Bytes(bytes) => Message::binary(bytes),
        };
        assert_eq!(answer, echo);
    }
});

//! One websocket connection: bytes in and out. While it is idle it holds no buffer: what is read passes through one that all connections of a
//! thread share, and what is written is kept only until the network has taken it.

use std::{
    cell::Cell,
    ops::ControlFlow,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::frames::{self, Event, Limits, Reader};
use crate::packets::{Outgoing, PING};
use crate::queue::Queue;

/// A connection.
pub struct Connection<S> {
    io: S,
    /// What was read with the request.
    before: Bytes,
    reader: Reader,
    out: Vec<u8>,
    written: usize,
    /// How many bytes of messages are among what is being written.
    in_flight: u64,
}

/// The connection is gone, or the client does not speak the protocol.
#[derive(Debug)]
pub struct Broken;

/// How much is read at a time.
const CHUNK: usize = 16 * 1024;
/// About so much is written at a time.
const BATCH: usize = 64 * 1024;

thread_local! {
    static BUFFER: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// A connection on which `before` has come already.
    pub fn new(io: S, before: Bytes) -> Self {
        Self { io, before, reader: Reader::default(), out: Vec::new(), written: 0, in_flight: 0 }
    }

    /// Adds a text packet to what is to be written.
    pub fn text(&mut self, packet: &str) {
        frames::write_text(&mut self.out, "", packet);
    }

    /// Whether something is to be written.
    pub fn has_more(&self) -> bool {
        !self.out.is_empty()
    }

    /// Adds the close frame.
    pub fn say_close(&mut self, code: u16) {
        frames::write_close(&mut self.out, code);
    }

    /// Takes packets from the queue to be written, when nothing else is.
    pub fn fill(&mut self, queue: &Queue) {
        let out = &mut self.out;
        let (ping, bytes) = queue.take(BATCH, |packet| match packet {
            Outgoing::Text(text) => frames::write_text(out, "4", &text),
            Outgoing::Binary(bytes) | Outgoing::Attachment(bytes) => frames::write(out, OpCode::Data(Data::Binary), &bytes, &[]),
        });
        if ping {
            frames::write_text(out, "", PING);
        }
        self.in_flight += bytes;
    }

    /// Ready when all is written.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, queue: &Queue) -> Poll<Result<(), Broken>> {
        if self.out.is_empty() {
            return Poll::Ready(Ok(()));
        }
        while self.written < self.out.len() {
            match ready!(Pin::new(&mut self.io).poll_write(cx, &self.out[self.written..])) {
                Ok(0) | Err(_) => return Poll::Ready(Err(Broken)),
                Ok(n) => {
                    self.written += n;
                    let bytes = self.in_flight.min(n as u64);
                    self.in_flight -= bytes;
                    queue.delivered(bytes);
                }
            }
        }
        if ready!(Pin::new(&mut self.io).poll_flush(cx)).is_err() {
            return Poll::Ready(Err(Broken));
        }
        (self.out, self.written) = (Vec::new(), 0);
        queue.delivered(std::mem::take(&mut self.in_flight));
        Poll::Ready(Ok(()))
    }

    /// Reads until nothing is left for now, or the sink has enough: then it is ready.
    pub fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        limits: Limits,
        sink: &mut dyn FnMut(&mut Vec<u8>, Event<'_>) -> ControlFlow<()>,
    ) -> Poll<Result<(), Broken>> {
        let Self { io, before, reader, out, .. } = self;
        let mut sink = |event: Event<'_>| sink(out, event);
        match reader.resume(limits, &mut sink) {
            Ok(false) => {}
            Ok(true) => return Poll::Ready(Ok(())),
            Err(_) => return Poll::Ready(Err(Broken)),
        }
        let mut buffer = BUFFER.take().unwrap_or_else(|| vec![0; CHUNK].into_boxed_slice());
        let stop = loop {
            let read = if before.is_empty() {
                let mut read = ReadBuf::new(&mut buffer);
                match Pin::new(&mut *io).poll_read(cx, &mut read) {
                    Poll::Pending => break Poll::Pending,
                    Poll::Ready(Err(_)) => break Poll::Ready(Err(Broken)),
                    Poll::Ready(Ok(())) => read.filled().len(),
                }
            } else {
                let some = before.len().min(CHUNK);
                before.copy_to_slice(&mut buffer[..some]);
                some
            };
            if read == 0 {
                break Poll::Ready(Err(Broken));
            }
            match reader.push(&mut buffer[..read], limits, &mut sink) {
                Ok(false) => {}
                Ok(true) => break Poll::Ready(Ok(())),
                Err(_) => break Poll::Ready(Err(Broken)),
            }
        };
        BUFFER.set(Some(buffer));
        stop
    }

    /// The next text packet. For the few that come before the session's task reads; anything else is out of place there.
    pub async fn next_packet(&mut self, limits: Limits) -> Result<String, Broken> {
        std::future::poll_fn(|cx| {
            let mut next = None;
            let read = self.poll_read(cx, limits, &mut |out, event| {
                next = match event {
                    Event::Text(packet) => Some(Ok(packet.to_owned())),
                    Event::Ping(bytes) => {
                        answer_ping(out, bytes);
                        return ControlFlow::Continue(());
                    }
                    _ => Some(Err(Broken)),
                };
                ControlFlow::Break(())
            });
            match (next, read) {
                (Some(next), _) => Poll::Ready(next),
                (None, Poll::Ready(_)) => Poll::Ready(Err(Broken)),
                (None, Poll::Pending) => Poll::Pending,
            }
        })
        .await
    }

    /// Writes what is to be written, and closes the connection for writing.
    pub async fn finish(&mut self, queue: &Queue) -> Result<(), Broken> {
        std::future::poll_fn(|cx| self.poll_write(cx, queue)).await?;
        std::future::poll_fn(|cx| Pin::new(&mut self.io).poll_shutdown(cx)).await.map_err(|_| Broken)
    }

    /// Writes what is to be written.
    pub async fn flush(&mut self, queue: &Queue) -> Result<(), Broken> {
        std::future::poll_fn(|cx| self.poll_write(cx, queue)).await
    }
}

/// Adds the answer to a ping of the websocket protocol, unless the client does not take the answers before.
pub fn answer_ping(out: &mut Vec<u8>, bytes: &[u8]) {
    if out.len() < BATCH {
        frames::write(out, OpCode::Control(Control::Pong), bytes, &[]);
    }
}

//! A session, as the application sees it.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use engineioxide_core::{ProtocolVersion, Str, TransportType};
use http::request::Parts;
use tokio::sync::mpsc::error::TrySendError;

pub use engineioxide_core::Sid;

use crate::packets::Outgoing;
use crate::queue::{Ending, Queue};
use crate::transport::Transport;

/// Why a session is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DisconnectReason {
    /// One of the two ended it.
    TransportClose,
    /// The client polled, or posted, twice at a time.
    MultipleHttpPollingError,
    /// The client sent what is no packet.
    PacketParsingError,
    /// The connection broke.
    TransportError,
    /// The client did not answer a ping in time.
    HeartbeatTimeout,
    /// The server stops.
    ClosingServer,
}

/// A session: it outlives its connections and may change its transport.
pub struct Socket<D: Default + Send + Sync + 'static> {
    /// Its id.
    pub id: Sid,
    /// The protocol, which is always [`V4`](ProtocolVersion::V4).
    pub protocol: ProtocolVersion,
    /// What the application keeps with it.
    pub data: D,
    /// The request that it began with, without what only the transport needs. A [`Transport`] is among the extensions.
    pub req_parts: Parts,
    pub(crate) queue: Arc<Queue>,
}

impl<D: Default + Send + Sync + 'static> Socket<D> {
    pub(crate) fn new(mut req_parts: Parts, queue: Queue) -> Arc<Self> {
        let queue = Arc::new(queue);
        req_parts.extensions.insert(Transport(queue.clone()));
        Arc::new(Self { id: Sid::new(), protocol: ProtocolVersion::V4, data: D::default(), req_parts, queue })
    }

    /// The transport that it has now.
    pub fn transport_type(&self) -> TransportType {
        Transport(self.queue.clone()).kind()
    }

    /// Keeps a place in the queue for one emit.
    pub fn reserve(&self) -> Result<Permit<'_>, TrySendError<()>> {
        self.queue.reserve()?;
        Ok(Permit(Some(&self.queue)))
    }

    /// Sends a text.
    pub fn emit(&self, msg: impl Into<Str>) -> Result<(), TrySendError<Str>> {
        let msg = msg.into();
        match self.reserve() {
            Ok(permit) => {
                permit.emit(msg);
                Ok(())
            }
            Err(refused) => Err(given_back(refused, msg)),
        }
    }

    /// Sends bytes.
    pub fn emit_binary<B: Into<Bytes>>(&self, data: B) -> Result<(), TrySendError<Bytes>> {
        let data = data.into();
        match self.reserve() {
            Ok(permit) => {
                permit.emit_binary(data);
                Ok(())
            }
            Err(refused) => Err(given_back(refused, data)),
        }
    }

    /// Sends a text when nothing else waits, unless another volatile event takes its place before. False when the session is over.
    pub fn emit_volatile(&self, msg: impl Into<Str>) -> bool {
        self.queue.push_volatile(vec![Outgoing::Text(msg.into())])
    }

    /// As [`emit_volatile`](Self::emit_volatile), for bytes.
    pub fn emit_binary_volatile<B: Into<Bytes>>(&self, data: B) -> bool {
        self.queue.push_volatile(vec![Outgoing::Binary(data.into())])
    }

    /// As [`emit_volatile`](Self::emit_volatile), for a text and what is attached to it.
    pub fn emit_many_volatile(&self, msg: Str, data: VecDeque<Bytes>) -> bool {
        self.queue.push_volatile(with_attachments(Outgoing::Text(msg), data).collect())
    }

    /// Ends the session. The client is given what waits, for a while. The handler is told by the session's task, soon after this.
    pub fn close(&self, reason: DisconnectReason) {
        self.queue.close(reason, Ending::Flush);
    }

    /// Whether the session is over, or about to be.
    pub fn is_closed(&self) -> bool {
        self.queue.closing().is_some()
    }

    /// Waits until the session is over and the handler was told.
    pub async fn closed(&self) {
        self.queue.ended().await;
    }
}

impl<D: Default + Send + Sync + 'static> std::fmt::Debug for Socket<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Socket").field("id", &self.id).field("transport", &self.transport_type()).finish_non_exhaustive()
    }
}

/// A place in the queue of a session. It is free again when this is dropped.
pub struct Permit<'a>(Option<&'a Queue>);

impl Permit<'_> {
    /// Sends a text.
    pub fn emit(self, msg: Str) {
        self.push([Outgoing::Text(msg)].into_iter());
    }

    /// Sends bytes.
    pub fn emit_binary(self, data: Bytes) {
        self.push([Outgoing::Binary(data)].into_iter());
    }

    /// Sends a text and what is attached to it.
    pub fn emit_many(self, msg: Str, data: VecDeque<Bytes>) {
        self.push(with_attachments(Outgoing::Text(msg), data));
    }

    /// Sends bytes and what is attached to them.
    pub fn emit_many_binary(self, bin: Bytes, data: Vec<Bytes>) {
        self.push(with_attachments(Outgoing::Binary(bin), data));
    }

    fn push(mut self, packets: impl Iterator<Item = Outgoing>) {
        if let Some(queue) = self.0.take() {
            queue.push(packets);
        }
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if let Some(queue) = self.0.take() {
            queue.release();
        }
    }
}

fn with_attachments(first: Outgoing, data: impl IntoIterator<Item = Bytes>) -> impl Iterator<Item = Outgoing> {
    std::iter::once(first).chain(data.into_iter().map(Outgoing::Attachment))
}

fn given_back<T>(refused: TrySendError<()>, what: T) -> TrySendError<T> {
    match refused {
        TrySendError::Full(()) => TrySendError::Full(what),
        TrySendError::Closed(()) => TrySendError::Closed(what),
    }
}

/// What a session that ends calls instead of a handler.
#[cfg(feature = "__test_harness")]
type OnClose = Box<dyn Fn(Sid, DisconnectReason) + Send + Sync>;

#[doc(hidden)]
#[cfg(feature = "__test_harness")]
impl<D: Default + Send + Sync + 'static> Socket<D> {
    /// A session without a transport: what is sent goes nowhere.
    pub fn new_dummy(sid: Sid, close_fn: OnClose) -> Arc<Self> {
        let (socket, mut packets) = Self::new_dummy_piped(sid, close_fn, 1024);
        tokio::spawn(async move { while packets.recv().await.is_some() {} });
        socket
    }

    /// A session without a transport, and what is sent on it.
    pub fn new_dummy_piped(
        sid: Sid,
        close_fn: OnClose,
        buffer_size: usize,
    ) -> (Arc<Self>, tokio::sync::mpsc::Receiver<engineioxide_core::Packet>) {
        use crate::queue::Work;
        use engineioxide_core::Packet;
        let config = crate::config::EngineIoConfig { max_buffer_size: buffer_size, ..Default::default() };
        let queue = Arc::new(Queue::new(crate::queue::Phase::Websocket, &config));
        let req_parts = http::Request::new(()).into_parts().0;
        let socket = Arc::new(Self { id: sid, protocol: ProtocolVersion::V4, data: D::default(), req_parts, queue: queue.clone() });
        let (sender, receiver) = tokio::sync::mpsc::channel(buffer_size);
        tokio::spawn(async move {
            let work = |cx: &mut std::task::Context<'_>| match queue.work(Some(cx), true) {
                Work::Nothing => std::task::Poll::Pending,
                work => std::task::Poll::Ready(work),
            };
            loop {
                if std::future::poll_fn(work).await == Work::Close {
                    if let Some(reason) = queue.end() {
                        close_fn(sid, reason);
                        queue.say_ended();
                    }
                    return;
                }
                let mut packets = Vec::new();
                let (_, bytes) = queue.take(usize::MAX, |packet| packets.push(packet));
                queue.delivered(bytes);
                for packet in packets {
                    let packet = match packet {
                        Outgoing::Text(text) => Packet::Message(text),
                        Outgoing::Binary(bytes) | Outgoing::Attachment(bytes) => Packet::Binary(bytes),
                    };
                    if sender.send(packet).await.is_err() {
                        return;
                    }
                }
            }
        });
        (socket, receiver)
    }
}

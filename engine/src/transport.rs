//! The handle by which an application watches the transport of a session and closes it, without knowing what the session is for.

use std::{sync::Arc, time::Duration};

use engineioxide_core::{Str, TransportType};

use crate::queue::{Ending, Phase, Queue};
use crate::socket::DisconnectReason;

/// An extension of a handshake's request: what a session may send until [`Transport::limit_incoming`] says otherwise.
#[derive(Clone, Debug)]
pub struct FirstMessages {
    /// How many bytes a message or the body of a POST may have.
    pub most: usize,
    /// The message that the handler is given in place of a longer one, so that it can say what is wrong. Without it the session is closed.
    pub instead: Option<Str>,
}

/// The transport of a session, whichever it is at the moment. Every session has one among the extensions of its
/// [`req_parts`](crate::Socket::req_parts); it does not keep the session open.
#[derive(Clone)]
pub struct Transport(pub(crate) Arc<Queue>);

impl Transport {
    /// Polling until a websocket has taken over.
    pub fn kind(&self) -> TransportType {
        match self.0.phase() {
            Phase::Websocket => TransportType::Websocket,
            Phase::Polling | Phase::Probing => TransportType::Polling,
        }
    }

    /// How many bytes of messages were emitted and not yet taken by the network, or by an answer to a poll.
    pub fn bytes_waiting(&self) -> u64 {
        self.0.waiting().0
    }

    /// How many packets wait in the queue.
    pub fn packets_waiting(&self) -> usize {
        self.0.waiting().1
    }

    /// How many bytes of messages were taken, all together.
    pub fn bytes_taken(&self) -> u64 {
        self.0.taken()
    }

    /// For how long something waits of which nothing was taken.
    pub fn stalled_for(&self) -> Duration {
        self.0.stalled_for()
    }

    /// Whether it is closed, or about to be.
    pub fn is_closed(&self) -> bool {
        self.0.closing().is_some()
    }

    /// Closes it when the client has been given what waits, or did not take it for a while.
    pub fn close(&self) {
        self.0.close(DisconnectReason::TransportClose, Ending::Flush);
    }

    /// Closes it at once. What waits is dropped: a poll learns that the session is unknown, a websocket that the connection is closed.
    pub fn cut(&self) {
        self.0.close(DisconnectReason::TransportClose, Ending::Cut);
    }

    /// Passes each text that is emitted through `rewrite`, until it returns what is to be sent in place of one.
    pub fn rewrite_next(&self, rewrite: impl FnMut(&str) -> Option<String> + Send + 'static) {
        self.0.rewrite(Box::new(rewrite));
    }

    /// How many bytes a message or the body of a POST may have from now on, beside what the settings allow, and what the handler is given in
    /// place of a longer one; see [`FirstMessages`].
    pub fn limit_incoming(&self, most: usize, instead: Option<Str>) {
        self.0.limit_incoming(most, instead);
    }
}

impl std::fmt::Debug for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transport").field("kind", &self.kind()).field("bytes_waiting", &self.bytes_waiting()).finish_non_exhaustive()
    }
}

//! The line to single sockets. socketioxide offers `emit` per socket, which encodes anew for each, or rooms, which tell nobody whose queue
//! was full. An adapter may send any packet to any socket, ready-made, and learns what became of it: that is what this one is for.

use std::{
    convert::Infallible,
    sync::{Arc, OnceLock},
    time::Duration,
};

use socketioxide::SocketError;
use socketioxide::adapter::Emitter;
use socketioxide_core::adapter::{BroadcastOptions, CoreAdapter, CoreLocalAdapter, DefinedAdapter, SocketEmitter};
use socketioxide_core::packet::Packet;
use socketioxide_core::{Sid, Value};

/// The sockets' adapter: the local one, reachable through a [`Line`].
pub struct LineAdapter {
    local: CoreLocalAdapter<Emitter>,
    line: Line,
}

/// Sends packets to single sockets.
#[derive(Clone, Default)]
pub struct Line(Arc<OnceLock<Arc<LineAdapter>>>);

/// The socket's outgoing queue is full: the packet is not sent.
pub struct QueueFull;

impl CoreAdapter<Emitter> for LineAdapter {
    type Error = Infallible;
    type State = Line;
    type AckStream = <Emitter as SocketEmitter>::AckStream;
    type InitRes = ();

    fn new(line: &Line, local: CoreLocalAdapter<Emitter>) -> Self {
        Self { local, line: line.clone() }
    }

    fn init(self: Arc<Self>, ready: impl FnOnce() + Send + 'static) {
        let line = self.line.clone();
        line.0.set(self).ok();
        ready();
    }

    async fn broadcast_with_ack(
        &self,
        packet: Packet,
        options: BroadcastOptions,
        timeout: Option<Duration>,
    ) -> Result<Self::AckStream, Infallible> {
        Ok(self.local.broadcast_with_ack(packet, options, timeout).0)
    }

    fn get_local(&self) -> &CoreLocalAdapter<Emitter> {
        &self.local
    }
}

impl DefinedAdapter for LineAdapter {}

impl Line {
    /// Sends an event; `array` is the JSON of its name and arguments.
    pub fn event(&self, to: Sid, array: String) -> Result<(), QueueFull> {
        self.send(to, Packet::event("/", Value::Str(array.into(), None)))
    }

    /// Answers an event that asked for an ack; `array` is the JSON of the arguments.
    pub fn ack(&self, to: Sid, array: String, ack: i64) -> Result<(), QueueFull> {
        self.send(to, Packet::ack("/", Value::Str(array.into(), None), ack))
    }

    fn send(&self, to: Sid, packet: Packet) -> Result<(), QueueFull> {
        // Without rooms and flags the options mean this socket alone.
        let sent = self.0.get().map_or(Ok(()), |adapter| adapter.local.broadcast(packet, BroadcastOptions::new(to)));
        match sent {
            Err(errors) if errors.iter().any(|e| matches!(e, SocketError::InternalChannelFull)) => Err(QueueFull),
            _ => Ok(()),
        }
    }
}

//! The sessions of a server: how they begin and end.

use std::{
    collections::HashMap,
    pin::pin,
    sync::{Arc, PoisonError, RwLock},
    task::Poll,
    time::Duration,
};

use engineioxide_core::{OpenPacket, Packet, ProtocolVersion, Sid, Str, TransportType};
use http::{header, request::Parts};
use hyper::upgrade::OnUpgrade;
use tokio::time::{Instant, sleep};

use crate::config::EngineIoConfig;
use crate::handler::EngineIoHandler;
use crate::queue::{Beat, Ending, Phase, Queue};
use crate::socket::{DisconnectReason, Socket};
use crate::transport::FirstMessages;

/// How long a client may take to take what waits when the server closes its session.
pub const LINGER: Duration = Duration::from_secs(5);

/// A server's sessions.
pub struct Engine<H: EngineIoHandler> {
    pub config: EngineIoConfig,
    pub handler: Arc<H>,
    sessions: RwLock<HashMap<Sid, Arc<Socket<H::Data>>>>,
}

/// What a packet from the client is, beside a message.
pub enum Outcome {
    /// The session goes on.
    Goes,
    /// The session is over.
    Ends(DisconnectReason),
}

impl<H: EngineIoHandler> Engine<H> {
    pub fn new(config: EngineIoConfig, handler: Arc<H>) -> Self {
        Self { config, handler, sessions: RwLock::default() }
    }

    pub fn find(&self, sid: Sid) -> Option<Arc<Socket<H::Data>>> {
        self.sessions.read().unwrap_or_else(PoisonError::into_inner).get(&sid).cloned()
    }

    /// Begins a session, and returns the packet that tells the client.
    pub fn open(&self, mut parts: Parts, phase: Phase) -> (Arc<Socket<H::Data>>, String) {
        let first = parts.extensions.remove::<FirstMessages>();
        forget_transport(&mut parts);
        let socket: Arc<Socket<H::Data>> = Socket::new(parts, Queue::new(phase, &self.config));
        if let Some(FirstMessages { most, instead }) = first {
            socket.queue.limit_incoming(most, instead);
        }
        let may_upgrade = phase == Phase::Polling && self.config.allowed_transport(TransportType::Websocket);
        let open = OpenPacket {
            sid: socket.id,
            upgrades: may_upgrade.then_some(TransportType::Websocket).into_iter().collect(),
            ping_interval: self.config.ping_interval,
            ping_timeout: self.config.ping_timeout,
            max_payload: self.config.max_payload,
        };
        self.sessions.write().unwrap_or_else(PoisonError::into_inner).insert(socket.id, socket.clone());
        #[cfg(feature = "tracing")]
        tracing::debug!(sid = %socket.id, ?phase, "a session has begun");
        (socket, Packet::Open(open).into())
    }

    /// Forgets a session, and tells the handler if it has not been told.
    pub fn end(&self, socket: &Arc<Socket<H::Data>>) {
        self.tell_end(socket);
        self.sessions.write().unwrap_or_else(PoisonError::into_inner).remove(&socket.id);
    }

    /// Tells the handler that a closing session is over, once.
    pub fn tell_end(&self, socket: &Arc<Socket<H::Data>>) {
        if let Some(reason) = socket.queue.end() {
            #[cfg(feature = "tracing")]
            tracing::debug!(sid = %socket.id, ?reason, "a session is over");
            self.handler.on_disconnect(socket.clone(), reason);
            socket.queue.say_ended();
        }
    }

    /// Handles a packet that came as text. One that is out of place ends the session.
    pub fn packet(&self, socket: &Arc<Socket<H::Data>>, packet: &str) -> Outcome {
        // The message alone is copied: what it was read with is not kept for as long as it is.
        if let Some(message) = packet.strip_prefix('4') {
            self.handler.on_message(Str::copy_from_slice(message), socket.clone());
            return Outcome::Goes;
        }
        match Packet::parse(ProtocolVersion::V4, Str::copy_from_slice(packet)) {
            Ok(Packet::Binary(bytes)) => self.handler.on_binary(bytes, socket.clone()),
            Ok(Packet::Pong) => socket.queue.pong(&self.config),
            Ok(Packet::Close) => return Outcome::Ends(DisconnectReason::TransportClose),
            Ok(Packet::Noop | Packet::Upgrade) => {}
            Ok(_) | Err(_) => return Outcome::Ends(DisconnectReason::PacketParsingError),
        }
        Outcome::Goes
    }
}

/// Watches a polling session: pings it, and ends it. It stops when a websocket takes over.
pub async fn watch_polling<H: EngineIoHandler>(engine: Arc<Engine<H>>, socket: Arc<Socket<H::Data>>) {
    let ending = Ended { engine: &engine, socket: &socket };
    let mut timer = pin!(sleep(engine.config.ping_interval));
    let closing = std::future::poll_fn(|cx| {
        loop {
            if let Poll::Ready(closing) = socket.queue.poll_left(cx) {
                return Poll::Ready(closing);
            }
            match socket.queue.beat(&engine.config) {
                Beat::Dead => socket.queue.close(DisconnectReason::HeartbeatTimeout, Ending::Quiet),
                Beat::Wait(until) => {
                    set(&mut timer.as_mut(), until);
                    if timer.as_mut().poll(cx).is_pending() {
                        return Poll::Pending;
                    }
                }
            }
        }
    });
    match closing.await {
        None => std::mem::forget(ending),
        Some(closing) => {
            engine.tell_end(&socket);
            if closing.ending == Ending::Flush {
                let said = std::future::poll_fn(|cx| socket.queue.poll_said_close(cx));
                tokio::time::timeout(LINGER, said).await.ok();
                socket.queue.close(closing.reason, Ending::Quiet);
            }
        }
    }
}

/// Sets a timer, if it is set to another moment.
pub fn set(timer: &mut std::pin::Pin<&mut tokio::time::Sleep>, until: Instant) {
    if timer.deadline() != until {
        timer.as_mut().reset(until);
    }
}

/// Ends a session whose task ends, whatever ended that.
pub struct Ended<'a, H: EngineIoHandler> {
    pub engine: &'a Engine<H>,
    pub socket: &'a Arc<Socket<H::Data>>,
}

impl<H: EngineIoHandler> Drop for Ended<'_, H> {
    fn drop(&mut self) {
        self.socket.queue.close(DisconnectReason::TransportError, Ending::Quiet);
        self.engine.end(self.socket);
    }
}

/// What of a request only the transport needed is not kept for as long as the session lives.
fn forget_transport(parts: &mut Parts) {
    parts.extensions.remove::<OnUpgrade>();
    for name in [
        header::CONNECTION,
        header::UPGRADE,
        header::SEC_WEBSOCKET_EXTENSIONS,
        header::SEC_WEBSOCKET_KEY,
        header::SEC_WEBSOCKET_PROTOCOL,
        header::SEC_WEBSOCKET_VERSION,
    ] {
        parts.headers.remove(name);
    }
}

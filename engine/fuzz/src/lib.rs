//! What the targets share: a server that echoes and remembers, and what it must have heard.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use engineioxide::{DisconnectReason, Socket, Str, config::EngineIoConfig, handler::EngineIoHandler, service::EngineIoService};
use engineioxide_core::{Packet, ProtocolVersion};

/// What a client has sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    /// A text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
}

/// Remembers what it hears, and echoes it.
#[derive(Debug, Default)]
pub struct Recorder {
    heard: Mutex<Vec<Heard>>,
    begun: Mutex<usize>,
    ended: Mutex<usize>,
}

impl Recorder {
    /// What was heard.
    pub fn heard(&self) -> Vec<Heard> {
        self.heard.lock().expect("is sound").clone()
    }

    /// How many sessions have begun, and how many of them have ended.
    pub fn sessions(&self) -> (usize, usize) {
        (*self.begun.lock().expect("is sound"), *self.ended.lock().expect("is sound"))
    }
}

impl EngineIoHandler for Recorder {
    type Data = ();

    fn on_connect(self: Arc<Self>, _: Arc<Socket<()>>) {
        *self.begun.lock().expect("is sound") += 1;
    }

    fn on_disconnect(&self, _: Arc<Socket<()>>, _: DisconnectReason) {
        *self.ended.lock().expect("is sound") += 1;
    }

    fn on_message(self: &Arc<Self>, text: Str, socket: Arc<Socket<()>>) {
        self.heard.lock().expect("is sound").push(Heard::Text(text.to_string()));
        socket.emit(text).ok();
    }

    fn on_binary(self: &Arc<Self>, bytes: Bytes, socket: Arc<Socket<()>>) {
        self.heard.lock().expect("is sound").push(Heard::Bytes(bytes.to_vec()));
        socket.emit_binary(bytes).ok();
    }
}

/// How long a message may be.
pub const LONGEST: usize = 1000;
/// How long a frame may be.
pub const LONGEST_FRAME: usize = 600;

/// A server, and what it remembers.
pub fn server() -> (EngineIoService<Recorder>, Arc<Recorder>) {
    let recorder = Arc::new(Recorder::default());
    let config = EngineIoConfig::builder().max_buffer_size(10_000).ws_max_message_size(LONGEST).ws_max_frame_size(LONGEST_FRAME).build();
    (EngineIoService::with_config(recorder.clone(), config), recorder)
}

/// Runs something to its end, and drops what it has left behind.
pub fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime").block_on(future)
}

/// What becomes of a session by a packet.
pub enum Outcome {
    /// It brings this.
    Heard(Heard),
    /// It goes on.
    Goes,
    /// It is over, as the client wants.
    Closed,
    /// It is over, because that was no packet.
    Wrong,
}

/// What a packet must do.
pub fn outcome(packet: &str) -> Outcome {
    match Packet::parse(ProtocolVersion::V4, Str::copy_from_slice(packet)) {
        Ok(Packet::Message(text)) => Outcome::Heard(Heard::Text(text.to_string())),
        Ok(Packet::Binary(bytes)) => Outcome::Heard(Heard::Bytes(bytes.to_vec())),
        Ok(Packet::Pong | Packet::Noop | Packet::Upgrade) => Outcome::Goes,
        Ok(Packet::Close) => Outcome::Closed,
        Ok(_) | Err(_) => Outcome::Wrong,
    }
}

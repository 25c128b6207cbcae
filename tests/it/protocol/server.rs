//! The echo servers that the suites ask for.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, body::Bytes};
use engineioxide::{DisconnectReason, Str, config::EngineIoConfig, handler::EngineIoHandler, service::EngineIoService};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeTuple};
use serde_json::{Value, json};
use socketioxide::{
    SocketIo,
    extract::{AckSender, Data, SocketRef, TryData},
};
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle};

use crate::support::DEADLINE;

/// Which suite's server it is.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// The engine alone.
    Engine,
    /// socketioxide on it.
    Socket,
}

impl Kind {
    pub fn path(self) -> &'static str {
        match self {
            Self::Engine => "/engine.io/",
            Self::Socket => "/socket.io/",
        }
    }
}

/// How patient a server is.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub interval: Duration,
    pub timeout: Duration,
    /// How long a websocket may stay without CONNECT.
    pub connect: Duration,
}

/// The settings of the suites.
pub const OFFICIAL: Pace = Pace { interval: Duration::from_millis(300), timeout: Duration::from_millis(200), connect: DEADLINE };
/// The same for those who answer pings: a busy machine may pause longer than 200 ms.
pub const PATIENT: Pace = Pace { timeout: DEADLINE, ..OFFICIAL };
/// The same for those who expect no ping at all.
pub const CALM: Pace = Pace { interval: Duration::from_secs(25), ..PATIENT };

const MAX_PAYLOAD: u64 = 1_000_000;

/// A running server.
pub struct Echo {
    pub address: SocketAddr,
    pub kind: Kind,
    pub http: reqwest::Client,
    ends: mpsc::UnboundedReceiver<DisconnectReason>,
    task: JoinHandle<()>,
}

impl Echo {
    pub async fn start(kind: Kind, pace: Pace) -> Self {
        let (end, ends) = mpsc::unbounded_channel();
        let router = match kind {
            Kind::Engine => engine(pace, end),
            Kind::Socket => socket(pace),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it has an address");
        let task = tokio::spawn(async move { axum::serve(listener, router).await.expect("serves") });
        Self { address, kind, http: reqwest::Client::new(), ends, task }
    }

    /// Why the next session ends. The engine's server only.
    pub async fn end(&mut self) -> DisconnectReason {
        tokio::time::timeout(DEADLINE, self.ends.recv()).await.expect("a session ends in time").expect("the server runs")
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Debug)]
struct Handler {
    end: mpsc::UnboundedSender<DisconnectReason>,
}

type EngineSocket = Arc<engineioxide::Socket<()>>;

impl EngineIoHandler for Handler {
    type Data = ();

    fn on_connect(self: Arc<Self>, _: EngineSocket) {}

    fn on_disconnect(&self, _: EngineSocket, reason: DisconnectReason) {
        self.end.send(reason).ok();
    }

    fn on_message(self: &Arc<Self>, text: Str, socket: EngineSocket) {
        socket.emit(text).ok();
    }

    fn on_binary(self: &Arc<Self>, bytes: Bytes, socket: EngineSocket) {
        socket.emit_binary(bytes).ok();
    }
}

fn engine(pace: Pace, end: mpsc::UnboundedSender<DisconnectReason>) -> Router {
    let config = EngineIoConfig::builder().ping_interval(pace.interval).ping_timeout(pace.timeout).max_payload(MAX_PAYLOAD).build();
    Router::new().route_service(Kind::Engine.path(), EngineIoService::with_config(Arc::new(Handler { end }), config))
}

fn socket(pace: Pace) -> Router {
    let (service, io) = SocketIo::builder()
        .ping_interval(pace.interval)
        .ping_timeout(pace.timeout)
        .connect_timeout(pace.connect)
        .max_payload(MAX_PAYLOAD)
        .build_svc();
    io.ns("/", connected);
    io.ns("/custom", connected);
    Router::new().route_service(Kind::Socket.path(), service)
}

async fn connected(socket: SocketRef, TryData(auth): TryData<Value>) {
    let auth = auth.ok().filter(|auth| !auth.is_null()).unwrap_or_else(|| json!({}));
    socket.emit("auth", &auth).ok();
    socket.on("message", async |socket: SocketRef, Data(arguments): Data<Arguments>| {
        socket.emit("message-back", &arguments).ok();
    });
    socket.on("message-with-ack", async |Data(arguments): Data<Arguments>, ack: AckSender| {
        ack.send(&arguments).ok();
    });
}

/// The arguments of an event, however many.
struct Arguments(Vec<Argument>);

#[derive(Deserialize, Serialize)]
#[serde(untagged)]
enum Argument {
    Json(Value),
    Bytes(Bytes),
}

impl Serialize for Arguments {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // A tuple stands for all arguments, a sequence for one that is an array.
        let mut tuple = serializer.serialize_tuple(self.0.len())?;
        for argument in &self.0 {
            tuple.serialize_element(argument)?;
        }
        tuple.end()
    }
}

impl<'de> Deserialize<'de> for Arguments {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;

        impl<'de> de::Visitor<'de> for All {
            type Value = Arguments;

            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("arguments")
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut sequence: A) -> Result<Arguments, A::Error> {
                let mut all = Vec::new();
                while let Some(argument) = sequence.next_element()? {
                    all.push(argument);
                }
                Ok(Arguments(all))
            }
        }

        deserializer.deserialize_tuple(1, All)
    }
}

//! A server, a client of HTTP, and a network in memory between them.

use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use engineioxide::{
    DisconnectReason, FirstMessages, Socket, Str, Transport, config::EngineIoConfig, handler::EngineIoHandler, service::EngineIoService,
};
use futures_util::{SinkExt, StreamExt};
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::mpsc;
use tokio_tungstenite::{WebSocketStream, tungstenite::Message};

/// What the server saw.
#[derive(Debug)]
pub enum Seen {
    Connected(Arc<Socket<()>>),
    Text(String),
    Binary(Bytes),
    Disconnected(DisconnectReason),
}

#[derive(Debug)]
struct Handler(mpsc::UnboundedSender<Seen>);

impl EngineIoHandler for Handler {
    type Data = ();

    fn on_connect(self: Arc<Self>, socket: Arc<Socket<()>>) {
        self.0.send(Seen::Connected(socket)).ok();
    }

    fn on_disconnect(&self, _: Arc<Socket<()>>, reason: DisconnectReason) {
        self.0.send(Seen::Disconnected(reason)).ok();
    }

    fn on_message(self: &Arc<Self>, text: Str, _: Arc<Socket<()>>) {
        self.0.send(Seen::Text(text.to_string())).ok();
    }

    fn on_binary(self: &Arc<Self>, bytes: Bytes, _: Arc<Socket<()>>) {
        self.0.send(Seen::Binary(bytes)).ok();
    }
}

/// A server.
pub struct Server {
    service: EngineIoService<Handler>,
    first: Option<FirstMessages>,
    seen: mpsc::UnboundedReceiver<Seen>,
}

/// Whatever is waited for comes within this time.
const PATIENCE: Duration = Duration::from_secs(600);

impl Server {
    /// With the default settings, changed.
    pub fn new(change: impl FnOnce(&mut EngineIoConfig)) -> Self {
        let (sender, seen) = mpsc::unbounded_channel();
        let mut config = EngineIoConfig::default();
        change(&mut config);
        Self { service: EngineIoService::with_config(Arc::new(Handler(sender)), config), first: None, seen }
    }

    /// Bounds what new sessions may send.
    pub fn limit_first(&mut self, first: FirstMessages) {
        self.first = Some(first);
    }

    /// Serves one end of a connection.
    pub fn serve(&self, io: DuplexStream) {
        let (service, first) = (self.service.clone(), self.first.clone());
        let serving = hyper::service::service_fn(move |mut request: Request<Incoming>| {
            first.clone().map(|first| request.extensions_mut().insert(first));
            hyper::service::Service::call(&service, request)
        });
        let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(io), serving).with_upgrades();
        tokio::spawn(async move { connection.await.ok() });
    }

    /// A new connection.
    pub fn connect(&self) -> DuplexStream {
        let (ours, theirs) = duplex(64 * 1024);
        self.serve(theirs);
        ours
    }

    /// Gives all that happens from now on to somebody else.
    pub fn forward(&mut self, mut to: impl FnMut(Seen) + Send + 'static) {
        let mut seen = std::mem::replace(&mut self.seen, mpsc::unbounded_channel().1);
        tokio::spawn(async move {
            while let Some(event) = seen.recv().await {
                to(event);
            }
        });
    }

    /// What happens next.
    pub async fn next(&mut self) -> Seen {
        tokio::time::timeout(PATIENCE, self.seen.recv()).await.expect("in time").expect("the server is there")
    }

    /// The session that has begun next.
    pub async fn connected(&mut self) -> Arc<Socket<()>> {
        match self.next().await {
            Seen::Connected(socket) => socket,
            other => panic!("{other:?}"),
        }
    }

    /// The text that came next.
    pub async fn text(&mut self) -> String {
        match self.next().await {
            Seen::Text(text) => text,
            other => panic!("{other:?}"),
        }
    }

    /// Why the session has ended that ends next.
    pub async fn disconnected(&mut self) -> DisconnectReason {
        match self.next().await {
            Seen::Disconnected(reason) => reason,
            other => panic!("{other:?}"),
        }
    }

    /// A polling session: the id for requests, and the server's side.
    pub async fn open(&mut self) -> (String, Arc<Socket<()>>) {
        let (status, body) = self.get("").await;
        assert_eq!(status, 200, "{body}");
        let sid = body.split('"').nth(3).expect("an id").to_owned();
        (sid, self.connected().await)
    }

    /// The answer to a GET, before anybody takes its body.
    pub async fn answer(&self, sid: &str) -> impl Sized {
        let request = Request::get(format!("/engine.io/?{}", query("polling", sid))).body(Full::new(Bytes::new())).expect("valid");
        hyper::service::Service::call(&self.service, request).await
    }

    /// A GET on a connection of its own.
    pub async fn get(&self, sid: &str) -> (u16, String) {
        text(request(self.connect(), Method::GET, sid, "").await.expect("answered")).await
    }

    /// A POST on a connection of its own.
    pub async fn post(&self, sid: &str, body: impl Into<Bytes>) -> (u16, String) {
        text(request(self.connect(), Method::POST, sid, body).await.expect("answered")).await
    }

    /// A websocket: for a session, or for a new one.
    pub async fn websocket(&self, sid: &str) -> WebSocketStream<DuplexStream> {
        websocket(self.connect(), sid).await.expect("accepted")
    }
}

fn query(transport: &str, sid: &str) -> String {
    let sid = if sid.is_empty() { String::new() } else { format!("&sid={sid}") };
    format!("EIO=4&transport={transport}{sid}")
}

/// A request of the polling transport.
pub async fn request(io: DuplexStream, method: Method, sid: &str, body: impl Into<Bytes>) -> hyper::Result<Response<Incoming>> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(io)).await?;
    tokio::spawn(connection);
    let request = Request::builder().method(method).uri(format!("/engine.io/?{}", query("polling", sid))).header("host", "here");
    sender.send_request(request.body(Full::new(body.into())).expect("valid")).await
}

/// The status and the body of a response.
pub async fn text(response: Response<Incoming>) -> (u16, String) {
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.expect("whole").to_bytes();
    (status, String::from_utf8(body.to_vec()).expect("text"))
}

/// A websocket on a connection.
pub async fn websocket(io: DuplexStream, sid: &str) -> Result<WebSocketStream<DuplexStream>, tokio_tungstenite::tungstenite::Error> {
    let url = format!("ws://here/engine.io/?{}", query("websocket", sid));
    Ok(tokio_tungstenite::client_async(url, io).await?.0)
}

/// Sends a text.
pub async fn say(websocket: &mut WebSocketStream<DuplexStream>, text: &str) {
    websocket.send(Message::text(text)).await.expect("sent");
}

/// The next text; nothing when the websocket is closed.
pub async fn hear(websocket: &mut WebSocketStream<DuplexStream>) -> Option<String> {
    loop {
        match tokio::time::timeout(PATIENCE, websocket.next()).await.expect("in time") {
            Some(Ok(Message::Text(text))) => return Some(text.to_string()),
            Some(Ok(Message::Binary(bytes))) => return Some(format!("{bytes:?}")),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            _ => return None,
        }
    }
}

/// Now, by the clock that stands still while anybody works.
#[expect(clippy::disallowed_methods, reason = "the server's own clock is not to be seen from here")]
pub fn now() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

/// The transport of a session.
pub fn transport(socket: &Socket<()>) -> Transport {
    socket.req_parts.extensions.get::<Transport>().cloned().expect("each session has one")
}

/// Numbers that can be had again by their seed.
#[derive(Clone)]
pub struct Random(Arc<Mutex<u64>>);

impl Random {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)))
    }

    /// A number below `end`.
    pub fn below(&self, end: u64) -> u64 {
        let mut state = self.0.lock().expect("not poisoned");
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state % end
    }
}

/// A number from the environment.
#[expect(clippy::disallowed_methods, reason = "how long a test takes is not a setting of the server")]
pub fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// A seed that nobody knows before.
pub fn new_seed() -> u64 {
    RandomState::new().hash_one(0)
}

/// A connection on which bytes take their time, and come in pieces.
pub fn slow_connection(server: &Server, random: &Random) -> DuplexStream {
    let ((ours, near), (far, theirs)) = (duplex(256), duplex(256));
    server.serve(theirs);
    let ((near_read, near_write), (far_read, far_write)) = (tokio::io::split(near), tokio::io::split(far));
    tokio::spawn(pass_on(near_read, far_write, random.clone()));
    tokio::spawn(pass_on(far_read, near_write, random.clone()));
    ours
}

async fn pass_on(mut from: tokio::io::ReadHalf<DuplexStream>, mut to: tokio::io::WriteHalf<DuplexStream>, random: Random) {
    let mut buffer = [0; 300];
    loop {
        let most = 1 + random.below(300) as usize;
        let Ok(read) = from.read(&mut buffer[..most]).await else { break };
        match random.below(4) {
            0 => tokio::time::sleep(Duration::from_millis(random.below(150))).await,
            1 => tokio::task::yield_now().await,
            _ => {}
        }
        if read == 0 || to.write_all(&buffer[..read]).await.is_err() {
            break;
        }
    }
    to.shutdown().await.ok();
}

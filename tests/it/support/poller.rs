//! A client that polls.

use std::{net::SocketAddr, time::Duration};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::{DEADLINE, TestApp, User};

/// A poll that brings nothing else is answered by a ping before this.
const PING: Duration = Duration::from_secs(30);

/// A websocket without a client on it.
pub type Websocket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A polling session. Each request goes by a connection of its own, as through a proxy.
pub struct Poller<'a> {
    app: &'a TestApp,
    session: String,
    waiting: Vec<String>,
}

/// A request that waits for its answer: the server has read it together with one before it, and has answered that one.
pub async fn waiting_request(address: SocketAddr, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("connects");
    let requests: String = ["/nothing", path].iter().map(|path| format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n")).collect();
    stream.write_all(requests.as_bytes()).await.expect("is sent");
    timeout(DEADLINE, stream.read(&mut [0; 4096])).await.expect("an answer in time").expect("an answer");
    stream
}

impl<'a> Poller<'a> {
    /// A session before its CONNECT.
    pub async fn open(app: &'a TestApp) -> Self {
        let mut poller = Self { app, session: String::new(), waiting: Vec::new() };
        let open = poller.next().await;
        let open: Value = serde_json::from_str(open.strip_prefix('0').expect("an open packet")).expect("JSON");
        poller.session = format!("&sid={}", open["sid"].as_str().expect("a session"));
        poller
    }

    /// A session of a user.
    pub async fn connect(app: &'a TestApp, user: &User) -> Self {
        let mut poller = Self::open(app).await;
        poller.say(format!("40{}", json!({"token": user.token}))).await;
        assert!(poller.next().await.starts_with("40{"));
        poller
    }

    /// The path of its requests.
    pub fn path(&self) -> String {
        format!("/socket.io/?EIO=4&transport=polling{}", self.session)
    }

    /// The path of a websocket for this session.
    pub fn upgrade_path(&self) -> String {
        format!("/socket.io/?EIO=4&transport=websocket{}", self.session)
    }

    /// A request of this session.
    pub fn request(&self, method: &str) -> reqwest::RequestBuilder {
        self.app.request(method, &self.path()).header("connection", "close")
    }

    /// Pushes packets.
    pub async fn say(&self, packets: String) {
        let answer = self.app.answer(self.request("POST").body(packets)).await;
        assert_eq!((answer.status, answer.body), (200, json!("ok")));
    }

    /// The next packet but for pings.
    pub async fn next(&mut self) -> String {
        loop {
            while let Some(packet) = (!self.waiting.is_empty()).then(|| self.waiting.remove(0)) {
                if packet == "2" {
                    self.say("3".to_owned()).await;
                } else {
                    return packet;
                }
            }
            let response = self.request("GET").timeout(PING).send().await.expect("the server answers");
            assert_eq!(response.status(), 200);
            let text = response.text().await.expect("text");
            self.waiting = text.split('\u{1e}').map(str::to_owned).collect();
        }
    }

    /// The packets of polls so far that nobody has asked for.
    pub fn so_far(&mut self) -> Vec<String> {
        std::mem::take(&mut self.waiting)
    }

    /// The first argument of the next event of this name, or the ack with this number.
    pub async fn heard(&mut self, what: &str) -> Value {
        loop {
            let packet = self.next().await;
            if packet.starts_with(&format!("42[\"{what}\",")) {
                return serde_json::from_str::<Value>(&packet[2..]).expect("JSON")[1].clone();
            }
            if let Some(array) = packet.strip_prefix(what) {
                return serde_json::from_str::<Value>(array).expect("JSON")[0].clone();
            }
        }
    }

    /// A websocket that may take the session over.
    pub async fn upgrade(&self) -> Websocket {
        let address = format!("ws://{}{}", self.app.address, self.upgrade_path());
        connect_async(address).await.expect("upgrades").0
    }
}

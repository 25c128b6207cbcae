//! The official protocol test suites of Engine.IO v4 and Socket.IO v5, case by case under their names, against an echo server of the engine
//! and one of socketioxide on it, with the suites' settings. What they say is written anew from the protocol; only names are theirs.

mod engine;
mod server;
mod shared;
mod socket;

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{self, Message},
};

use crate::support::DEADLINE;
use server::{Echo, Kind};

/// The packets of a payload stand between these.
const SEPARATOR: &str = "\u{1e}";

impl Echo {
    fn url(&self, scheme: &str, query: &str) -> String {
        format!("{scheme}://{}{}?{query}", self.address, self.kind.path())
    }

    /// The status and the text of an answer. Each request has a connection of its own, as through a proxy.
    async fn request(&self, method: &str, query: &str, body: &str) -> (u16, String) {
        let method = method.parse().expect("a method");
        let request = self.http.request(method, self.url("http", query)).header("connection", "close").body(body.to_owned());
        let answer = async {
            let response = request.send().await.expect("the server answers");
            (response.status().as_u16(), response.text().await.expect("text"))
        };
        timeout(DEADLINE, answer).await.expect("an answer in time")
    }

    /// Opens a polling session: its open packet.
    async fn open(&self) -> Value {
        let (status, text) = self.request("GET", "EIO=4&transport=polling", "").await;
        assert_eq!(status, 200, "{text}");
        open_packet(&text)
    }

    /// Opens a polling session: its id.
    async fn session(&self) -> String {
        self.open().await["sid"].as_str().expect("a session").to_owned()
    }

    async fn poll(&self, session: &str) -> (u16, String) {
        self.request("GET", &format!("EIO=4&transport=polling&sid={session}"), "").await
    }

    async fn push(&self, session: &str, body: &str) -> (u16, String) {
        self.request("POST", &format!("EIO=4&transport=polling&sid={session}"), body).await
    }

    /// A websocket, or the status of the answer that refuses one.
    async fn websocket(&self, query: &str) -> Result<Websocket, u16> {
        match timeout(DEADLINE, connect_async(self.url("ws", query))).await.expect("an answer in time") {
            Ok((stream, _)) => Ok(Websocket { stream }),
            Err(tungstenite::Error::Http(response)) => Err(response.status().as_u16()),
            Err(e) => panic!("neither a websocket nor an answer: {e}"),
        }
    }

    /// A websocket that begins a session, before its open packet.
    async fn fresh(&self) -> Websocket {
        self.websocket("EIO=4&transport=websocket").await.expect("a websocket")
    }

    /// A websocket for a session that polls.
    async fn upgrade(&self, session: &str) -> Websocket {
        self.websocket(&format!("EIO=4&transport=websocket&sid={session}")).await.expect("a websocket")
    }
}

/// The JSON of an open packet.
fn open_packet(text: &str) -> Value {
    serde_json::from_str(text.strip_prefix('0').unwrap_or_else(|| panic!("{text} is not an open packet"))).expect("JSON")
}

/// A websocket of a test.
struct Websocket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Websocket {
    async fn say(&mut self, message: impl Into<Message>) {
        self.stream.send(message.into()).await.expect("is sent");
    }

    /// The next message.
    async fn hears(&mut self) -> Message {
        match timeout(DEADLINE, self.stream.next()).await.expect("a message in time") {
            Some(Ok(message)) => message,
            other => panic!("the connection ends: {other:?}"),
        }
    }

    /// The next message, which is text.
    async fn hears_text(&mut self) -> String {
        match self.hears().await {
            Message::Text(text) => text.to_string(),
            other => panic!("{other} is not text"),
        }
    }

    /// The next message but for pings, which are answered.
    async fn hears_but_pings(&mut self) -> Message {
        loop {
            let message = self.hears().await;
            if message != Message::text("2") {
                return message;
            }
            self.say("3").await;
        }
    }

    /// The probe of an upgrade, and its answer.
    async fn probe(&mut self) {
        self.say("2probe").await;
        assert_eq!(self.hears_text().await, "3probe");
    }

    /// The server answers on it.
    async fn is_alive(&mut self, kind: Kind) {
        match kind {
            Kind::Engine => {
                self.say("4hello").await;
                assert_eq!(self.hears_but_pings().await, Message::text("4hello"));
            }
            Kind::Socket => {
                self.say("40/nowhere,").await;
                assert_eq!(self.hears_but_pings().await, Message::text(r#"44/nowhere,{"message":"Invalid namespace"}"#));
            }
        }
    }

    /// Waits until the server closes it.
    async fn closed(&mut self) {
        let end = async { while let Some(Ok(_)) = self.stream.next().await {} };
        timeout(DEADLINE, end).await.expect("it is closed in time");
    }
}

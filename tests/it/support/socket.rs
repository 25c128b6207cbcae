//! A small Socket.IO client: it says what a test tells it to, keeps all that it hears, and holds it against the document of the events. No
//! library stands between test and wire.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::timeout,
};
use tokio_tungstenite::{
    connect_async,
    tungstenite::{self, Message, client::IntoClientRequest, http::HeaderValue},
};

use super::{
    DEADLINE, Heard, TestApp, User,
    ear::{Ear, State},
    event_document,
};

/// Why there is no socket when the server closed the connection without a word.
pub const CUT_OFF: &str = "cut off";

/// A connected socket.
pub struct Socket {
    ear: Arc<Ear>,
    mouth: mpsc::UnboundedSender<String>,
    wire: JoinHandle<()>,
    next_ack: AtomicU64,
    is_guest: bool,
    reading: watch::Sender<bool>,
}

impl TestApp {
    /// A socket of a user.
    pub async fn socket(&self, user: &User) -> Socket {
        self.connect(json!({"token": user.token}), &[]).await.expect("the socket connects")
    }

    /// A socket of a user who recovers, without the word of a browser.
    pub async fn recovering_socket(&self, user: &User) -> Socket {
        self.connect(json!({"token": user.token, "recovery": true}), &[]).await.expect("the socket connects")
    }

    /// A socket without a token.
    pub async fn guest(&self, headers: &[(&'static str, &str)]) -> Socket {
        self.connect(Value::Null, headers).await.expect("the guest connects")
    }

    /// A websocket, and on it a socket that says `auth`; or the reason why there is none: an HTTP status or the sentence of the refusal.
    pub async fn connect(&self, auth: Value, headers: &[(&'static str, &str)]) -> Result<Socket, String> {
        let mut request =
            format!("ws://{}/socket.io/?EIO=4&transport=websocket", self.address).into_client_request().expect("an address is a request");
        for (name, value) in headers {
            request.headers_mut().append(*name, HeaderValue::from_str(value).expect("a header is text"));
        }
        let is_guest = auth["token"].as_str().is_none_or(str::is_empty) && !headers.iter().any(|(name, _)| *name == "authorization");
        let (mut websocket, _) = match timeout(DEADLINE, connect_async(request)).await.expect("the server answers") {
            Ok(connected) => connected,
            Err(tungstenite::Error::Http(answer)) => return Err(answer.status().as_u16().to_string()),
            Err(e) => return Err(e.to_string()),
        };
        let (mouth, mut words) = mpsc::unbounded_channel::<String>();
        let ear = Arc::new(Ear::default());
        let hearing = ear.clone();
        let (reading, mut may_read) = watch::channel(true);
        let wire = tokio::spawn(async move {
            loop {
                let reads = *may_read.borrow_and_update();
                let said = tokio::select! {
                    word = words.recv() => word,
                    Ok(()) = may_read.changed() => continue,
                    frame = websocket.next(), if reads => match frame {
                        Some(Ok(Message::Text(text))) if text.as_str() == "2" => Some("3".to_owned()),
                        Some(Ok(Message::Text(text))) => { hearing.take_in(&text); continue }
                        Some(Ok(_)) => continue,
                        Some(Err(_)) | None => None,
                    },
                };
                let Some(said) = said else { break };
                if websocket.send(Message::text(said)).await.is_err() {
                    break;
                }
            }
            hearing.state().is_closed = true;
            hearing.changed.notify_waiters();
        });
        let socket = Socket { ear, mouth, wire, next_ack: AtomicU64::new(1), is_guest, reading };
        socket.say(if auth.is_null() { "40".to_owned() } else { format!("40{auth}") });
        let refusal = socket.ear.wait("CONNECT packet", |state| match &state.refusal {
            Some(refusal) => Some(Some(refusal["message"].as_str().unwrap_or_default().to_owned())),
            None if state.is_closed && state.connects.is_empty() => Some(Some(CUT_OFF.to_owned())),
            None => (!state.connects.is_empty()).then_some(None),
        });
        refusal.await.map_or(Ok(socket), Err)
    }
}

impl Socket {
    fn say(&self, packet: String) {
        self.mouth.send(packet).ok();
    }

    /// Emits an event with one argument.
    pub fn emit(&self, name: &str, payload: impl Into<Value>) {
        let payload = payload.into();
        event_document::check_said(name, &payload);
        self.say(format!("42{}", json!([name, payload])));
    }

    /// Emits an event as it stands: the text of its array.
    pub fn emit_raw(&self, array: &str) {
        self.say(format!("42{array}"));
    }

    /// Sends a frame as it stands.
    pub fn frame(&self, text: &str) {
        self.say(text.to_owned());
    }

    /// Reads no more from the connection, or goes on reading.
    pub fn read(&self, on: bool) {
        self.reading.send_replace(on);
    }

    /// Emits an event that asks for an ack; the number is for [`acked`](Self::acked).
    pub fn emit_asking(&self, name: &str, payload: impl Into<Value>) -> u64 {
        let (payload, ack) = (payload.into(), self.next_ack.fetch_add(1, Ordering::Relaxed));
        event_document::check_said(name, &payload);
        self.ear.state().asked.insert(ack, name.to_owned());
        self.say(format!("42{ack}{}", json!([name, payload])));
        ack
    }

    /// The ack with this number.
    pub async fn acked(&self, ack: u64) -> Value {
        self.ear.wait("ack", |state| state.acks.remove(&ack)).await
    }

    /// Emits an event and returns its ack.
    pub async fn ask(&self, name: &str, payload: impl Into<Value>) -> Value {
        self.acked(self.emit_asking(name, payload)).await
    }

    /// Emits an event that must succeed.
    pub async fn done(&self, name: &str, payload: impl Into<Value>) -> Value {
        let ack = self.ask(name, payload).await;
        assert_eq!(ack["ok"], true, "{name}: {ack}");
        ack
    }

    /// Emits an event that must be refused, and checks ack and `error`.
    pub async fn refused(&self, name: &str, payload: impl Into<Value>, code: &str) -> Value {
        let ack = self.ask(name, payload).await;
        assert_eq!((&ack["ok"], &ack["code"]), (&json!(false), &json!(code)), "{name}: {ack}");
        let error = self.heard("error").await;
        assert_eq!((&error["code"], &error["message"]), (&ack["code"], &ack["error"]), "{name}: {error}");
        ack
    }

    /// Sends a direct message and returns it as stored.
    pub async fn send(&self, conversation: i64, text: &str) -> Value {
        self.done("send-message", json!({"conversationId": conversation, "message": text})).await["message"].clone()
    }

    /// The first argument of the next event of this name; other events stay.
    pub async fn heard(&self, name: &str) -> Value {
        self.heard_whole(name).await.arguments.into_iter().next().unwrap_or(Value::Null)
    }

    /// The next event of this name with all its arguments; other events stay.
    pub async fn heard_whole(&self, name: &str) -> Heard {
        self.heard_within(DEADLINE, name).await
    }

    /// The same, for what may take longer than anything else.
    pub async fn heard_within(&self, patience: Duration, name: &str) -> Heard {
        let take = |state: &mut State| {
            let at = state.events.iter().position(|event| event.name == name)?;
            Some(state.events.remove(at))
        };
        self.ear.wait_for(patience, name, take).await
    }

    /// The next event of this name, or nothing when the connection ends without one.
    pub async fn heard_before_the_end(&self, name: &str) -> Option<Heard> {
        self.ear
            .wait(name, |state| match state.events.iter().position(|event| event.name == name) {
                Some(at) => Some(Some(state.events.remove(at))),
                None => state.is_closed.then_some(None),
            })
            .await
    }

    /// Everything that was heard and not taken, once nothing more is on its way here.
    pub async fn rest(&self) -> Vec<Heard> {
        self.fence().await;
        std::mem::take(&mut self.ear.state().events)
    }

    /// What was heard of one name, once nothing more is on its way here; other events stay.
    pub async fn rest_of(&self, name: &str) -> Vec<Value> {
        self.fence().await;
        let events = &mut self.ear.state().events;
        events.extract_if(.., |event| event.name == name).map(|mut event| event.arguments.remove(0)).collect()
    }

    /// Everything that was heard and not taken so far, without asking for more: what came before an ack has come.
    pub fn so_far(&self) -> Vec<Heard> {
        std::mem::take(&mut self.ear.state().events)
    }

    /// Waits until all that the server has said to this socket so far has been heard: it answers in order. The list that `user-online` is
    /// answered with is not kept; a guest says by it once more that it is nobody, and gets none.
    pub async fn fence(&self) {
        self.ask("user-online", Value::Null).await;
        let events = &mut self.ear.state().events;
        if let Some(at) = events.iter().rposition(|event| event.name == "online-users" && !self.is_guest) {
            events.remove(at);
        }
    }

    /// The private id that the server offers.
    pub async fn pid(&self) -> String {
        let offered = |state: &mut State| state.connects.iter().find_map(|c| c["pid"].as_str().map(str::to_owned));
        self.ear.wait("private id", offered).await
    }

    /// How many CONNECT packets have come so far.
    pub fn connects(&self) -> usize {
        self.ear.state().connects.len()
    }

    /// How many private ids the server has offered so far.
    pub fn offers(&self) -> usize {
        self.ear.state().connects.iter().filter(|c| !c["pid"].is_null()).count()
    }

    /// Waits until the server closes the connection.
    pub async fn closed(&self) {
        self.ear.wait("end of the connection", |state| state.is_closed.then_some(())).await;
    }

    /// Whether the server has closed the connection.
    pub fn is_closed(&self) -> bool {
        self.ear.state().is_closed
    }

    /// Whether the server has disconnected the namespace.
    pub fn is_disconnected(&self) -> bool {
        self.ear.state().is_disconnected
    }

    /// Waits until the server disconnects the namespace.
    pub async fn disconnected(&self) {
        self.ear.wait("disconnect", |state| (state.is_disconnected).then_some(())).await;
    }

    /// Cuts the TCP connection without a word.
    pub fn cut(self) {
        self.wire.abort();
    }

    /// Leaves as a client does that closes its socket itself, and waits until the server has closed the connection.
    pub async fn close(self) {
        self.say("41".to_owned());
        self.say("1".to_owned());
        self.closed().await;
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.wire.abort();
        if !std::thread::panicking() {
            self.ear.check();
        }
    }
}

//! What to count the instructions of: so many handshakes, polls or events, without a network. The difference of two runs that differ in nothing
//! but the number, divided by it, is what one costs:
//!
//! ```sh
//! cargo bench -p engineioxide --bench instructions --no-run
//! valgrind --tool=callgrind --callgrind-out-file=/dev/null target/release/deps/instructions-… poll 1000
//! ```
//!
//! It builds on the crate that engineioxide takes the place of, too.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use engineioxide::{DisconnectReason, Socket, Str, handler::EngineIoHandler, service::EngineIoService};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower_service::Service;

/// As long as an ordinary message.
const EVENT: &str = r#"2["send-message",{"conversationId":7,"message":"shall we take the early train?","tempId":"temp-1700000000"}]"#;

/// Echoes, and keeps the newest session.
#[derive(Debug, Default)]
struct Handler {
    newest: Mutex<Option<Arc<Socket<()>>>>,
}

impl EngineIoHandler for Handler {
    type Data = ();

    fn on_connect(self: Arc<Self>, socket: Arc<Socket<()>>) {
        *self.newest.lock().expect("is sound") = Some(socket);
    }

    fn on_disconnect(&self, _: Arc<Socket<()>>, _: DisconnectReason) {}

    fn on_message(self: &Arc<Self>, text: Str, socket: Arc<Socket<()>>) {
        socket.emit(text).expect("there is room");
    }

    fn on_binary(self: &Arc<Self>, _: Bytes, _: Arc<Socket<()>>) {}
}

type Server = EngineIoService<Handler>;

/// The text of the answer to a request.
async fn ask(server: &mut Server, method: &str, sid: &str, body: &'static str) -> String {
    let request = Request::builder().method(method).uri(format!("/engine.io/?EIO=4&transport=polling{sid}"));
    let request = request.header("host", "chat.example").body(Full::new(Bytes::from_static(body.as_bytes()))).expect("valid");
    let answer: Response<_> = Service::<Request<Full<Bytes>>>::call(server, request).await.expect("answers");
    assert_eq!(answer.status(), 200);
    let bytes = answer.into_body().collect().await.expect("a body").to_bytes();
    String::from_utf8(bytes.to_vec()).expect("text")
}

async fn open(server: &mut Server) -> String {
    let open = ask(server, "GET", "", "").await;
    format!("&sid={}", open.split('"').nth(3).expect("an id"))
}

/// Begins polling sessions.
async fn handshakes(server: &mut Server, count: usize) {
    for _ in 0..count {
        open(server).await;
    }
}

/// Polls for one message at a time.
async fn polls(server: &mut Server, handler: &Handler, count: usize) {
    let sid = open(server).await;
    let socket = handler.newest.lock().expect("is sound").clone().expect("it has begun");
    for _ in 0..count {
        socket.emit(EVENT).expect("there is room");
        assert!(ask(server, "GET", &sid, "").await.ends_with(EVENT));
    }
}

/// Sends an event at a time on a websocket, and reads one.
async fn events(server: &mut Server, count: usize) {
    let (mut client, io) = tokio::io::duplex(1 << 16);
    let request = Request::get("/engine.io/?EIO=4&transport=websocket").body(()).expect("valid");
    let serving = Service::call(server, (io, request));
    tokio::spawn(async move { serving.await.ok() });
    let frame = |first: &[u8], masked: &[u8]| [first, masked, b"4", EVENT.as_bytes()].concat();
    let len = u8::try_from(EVENT.len() + 1).expect("it is short");
    let (says, hears) = (frame(&[0x81, 0x80 | len], &[0; 4]), frame(&[0x81, len], &[]));
    let mut heard = Vec::new();
    for _ in 0..count {
        client.write_all(&says).await.expect("it is open");
        while !heard.ends_with(&hears) {
            client.read_buf(&mut heard).await.expect("it is open");
        }
        heard.clear();
    }
}

fn main() {
    // `cargo test --all-targets` runs it without arguments.
    let arguments: Vec<_> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let [what, count] = &arguments[..] else { return println!("handshake|poll|event NUMBER") };
    let count = count.parse().expect("a number");
    let handler = Arc::new(Handler::default());
    let mut server = EngineIoService::new(handler.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async {
        match what.as_str() {
            "handshake" => handshakes(&mut server, count).await,
            "poll" => polls(&mut server, &handler, count).await,
            "event" => events(&mut server, count).await,
            other => panic!("{other} is not among handshake, poll, event"),
        }
    });
}

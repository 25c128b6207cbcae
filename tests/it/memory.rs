//! Clients that leave things unfinished: what they take of the memory of a server in a process of its own, and that nobody else notices.

use std::time::Duration;

use futures_util::SinkExt;
use serde_json::json;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_tungstenite::{connect_async, tungstenite::Message};

use crate::support::{Database, Process, TestApp};

/// How much more the server may hold.
const GROWTH: u64 = 20 << 20;
/// Whoever is silent for ten seconds is closed.
const CLOSED: Duration = Duration::from_secs(20);

async fn server() -> (TempDir, Process, TestApp) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let database = Database::create(folder.path()).await;
    let process = Process::start(folder.path(), &database.url);
    let app = TestApp::of(&process, database);
    (folder, process, app)
}

fn assert_little(process: &Process, before: u64) {
    let now = process.memory();
    assert!(now < before + GROWTH, "{} KiB before, {} KiB now", before >> 10, now >> 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_sockets_with_unfinished_attachments_take_little_memory() {
    let (_folder, mut process, app) = server().await;
    let (ann, bob, conversation) = app.pair().await;
    let b = app.socket(&bob).await;
    let (before, mut unfinished) = (process.memory(), Vec::new());
    for _ in 0..50 {
        let address = format!("ws://{}/socket.io/?EIO=4&transport=websocket", app.address);
        let (mut wire, _) = connect_async(address).await.expect("connects");
        wire.send(Message::text(format!("40{}", json!({"token": ann.token})))).await.expect("sends");
        let announced = "459-[\"send-message\",{\"message\":{\"_placeholder\":true,\"num\":0}}]";
        wire.send(Message::text(announced)).await.expect("sends");
        for _ in 0..8 {
            // Whoever announces attachments is closed.
            if wire.send(Message::binary(vec![7; 900_000])).await.is_err() {
                break;
            }
        }
        assert_little(&process, before);
        unfinished.push(wire);
    }
    b.send(conversation, "not concerned").await;
    assert_little(&process, before);
    process.assert_sound();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_slow_connections_take_little_memory_and_are_closed() {
    let (_folder, mut process, app) = server().await;
    let (ann, _, conversation) = app.pair().await;
    let a = app.socket(&ann).await;
    let (before, mut slow) = (process.memory(), Vec::new());
    let head = format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}", "y".repeat(2_000));
    let post = |path: &str, kind: &str| {
        format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: {kind}\r\ncontent-length: 900000\r\n\r\n{}", "z".repeat(5_000))
    };
    let starts =
        [head, post("/api/auth/traveller/login", "application/json"), post("/socket.io/?EIO=4&transport=polling&sid=x", "text/plain")];
    for start in starts.iter().cycle().take(500) {
        let mut connection = TcpStream::connect(app.address).await.expect("connects");
        connection.write_all(start.as_bytes()).await.expect("is sent");
        slow.push(connection);
    }
    a.send(conversation, "not concerned").await;
    assert_little(&process, before);
    for mut connection in slow {
        timeout(CLOSED, connection.read_to_end(&mut Vec::new())).await.expect("it is closed").ok();
    }
    a.send(conversation, "still not concerned").await;
    assert_little(&process, before);
    process.assert_sound();
}

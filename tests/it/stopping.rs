//! How a server in a process of its own ends when it is told to.

use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;
use tidings::clock;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::support::{DEADLINE, Database, Process, ROOMY, TestApp};

/// A server that is told to stop ends within this time.
const STOP: Duration = Duration::from_secs(5);

async fn server() -> (TempDir, Process, TestApp) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let database = Database::create(folder.path()).await;
    std::fs::write(folder.path().join("config.toml"), ROOMY).expect("the settings are written");
    let process = Process::start(folder.path(), &database.url);
    let app = TestApp::of(&process, database);
    (folder, process, app)
}

/// A connection on which something was said, and nothing follows.
async fn stuck(app: &TestApp, said: &str) -> TcpStream {
    let mut connection = TcpStream::connect(app.address).await.expect("connects");
    connection.write_all(said.as_bytes()).await.expect("is sent");
    connection
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_ends_the_server_in_time_and_with_success_however_stuck_its_clients_are() {
    let (_folder, mut process, app) = server().await;
    let (ann, bob, conversation) = app.pair().await;
    let (a, deaf) = (app.socket(&ann).await, app.socket(&bob).await);
    deaf.done("join-conversation", conversation).await;
    deaf.read(false);
    // More than the system buffers: the rest waits in the server.
    let long = "😀".repeat(9_000);
    for n in 0..250 {
        a.send(conversation, &format!("{n} {long}")).await;
    }
    let login = "POST /api/auth/traveller/login HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 900\r\n\r\n{";
    let upgrade = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
                   sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let mut all = Vec::new();
    for said in ["", "GET / HTTP/1.1\r\nhost", login, upgrade, "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nhost: x\r\n\r\n"] {
        all.push(stuck(&app, said).await);
    }
    let start = clock::instant();
    process.signal("TERM");
    assert_eq!(process.ended().await, Some(0), "{}", process.log());
    assert!(start.elapsed() < STOP, "it took {:?}", start.elapsed());
    a.closed().await;
    assert!(!a.is_disconnected(), "a client does not come back after a namespace disconnect");
    for mut connection in all {
        timeout(DEADLINE, connection.read_to_end(&mut Vec::new())).await.expect("the connection is closed").ok();
    }
    assert_eq!(app.database.one::<i64>("SELECT COUNT(*) FROM messages").await, 250, "what was acked is stored");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_the_server_at_once() {
    let (_folder, mut process, app) = server().await;
    let (ann, _, conversation) = app.pair().await;
    let a = app.socket(&ann).await;
    a.send(conversation, "stored").await;
    // As long as the tables are locked the first signal waits for what was accepted.
    app.database.lock().await;
    a.emit_asking("send-message", json!({"conversationId": conversation, "message": "not stored"}));
    a.fence().await;
    process.signal("TERM");
    a.closed().await;
    assert!(process.is_running(), "it waits for what is to be stored");
    let start = clock::instant();
    process.signal("TERM");
    assert_eq!(process.ended().await, Some(0));
    assert!(start.elapsed() < Duration::from_secs(1), "it took {:?}", start.elapsed());
    app.database.unlock().await;
}

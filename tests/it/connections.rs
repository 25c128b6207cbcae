//! Connections: how many an address may have, how often it may connect, and how long one is kept.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_tungstenite::{connect_async, tungstenite::Message};

use crate::limits::{SLOW, open_session, poll};
use crate::support::{DEADLINE, Database, Process, TestApp};

#[tokio::test]
async fn one_address_has_so_many_sockets_and_a_place_is_free_again_when_one_leaves() {
    let app = TestApp::with("[limits]\nsockets_per_address = 3").await;
    let ann = app.user("ann").await;
    let (one, _two, _guest) = (app.socket(&ann).await, app.socket(&ann).await, app.guest(&[]).await);
    for auth in [json!({"token": ann.token}), Value::Null] {
        let refused = app.connect(auth, &[]).await;
        assert!(refused.is_err_and(|why| why == "Too many connections from this address"));
    }
    one.close().await;
    let freed = async { while app.connect(json!({"token": ann.token}), &[]).await.is_err() {} };
    timeout(DEADLINE, freed).await.expect("a place is free");
}

#[tokio::test]
async fn one_address_has_as_many_sessions_that_are_no_sockets_and_they_are_free_again_in_the_end() {
    let app = TestApp::with("[limits]\nsockets_per_address = 3").await;
    let ann = app.user("ann").await;
    let socket = app.socket(&ann).await;
    let path = "/socket.io/?EIO=4&transport=polling";
    let sessions = [open_session(&app).await, open_session(&app).await, open_session(&app).await];
    let refused = poll(&app, path).await;
    assert_eq!((refused.status, refused.body["code"].as_str()), (429, Some("rate_limited")));
    assert!(refused.header("retry-after").is_some());
    assert_eq!(app.connect(json!({"token": ann.token}), &[]).await.err().as_deref(), Some("429"), "a websocket is a session, too");
    // Whoever says CONNECT is a socket and makes room for a session; whoever leaves the namespace and stays is none any more.
    let say = async |packet: &str| app.answer(app.request("POST", &sessions[0]).body(packet.to_owned())).await.status;
    let open = async || while poll(&app, path).await.status != 200 {};
    assert_eq!(say(&format!("40{}", json!({"token": ann.token}))).await, 200);
    timeout(DEADLINE, open()).await.expect("there is room for one more");
    assert_eq!(say("41").await, 200);
    let left = async { while !poll(&app, "/metrics").await.body.as_str().is_some_and(|text| text.contains("tidings_sockets 1\n")) {} };
    timeout(DEADLINE, left).await.expect("it left");
    assert_eq!(poll(&app, path).await.status, 429);
    socket.fence().await;
    timeout(SLOW, open()).await.expect("those who never said CONNECT have ended");
}

#[tokio::test]
async fn who_connects_too_often_gets_429_and_those_who_are_connected_stay() {
    let app = TestApp::with("[limits]\nhandshakes = { per_second = 1, burst = 4 }").await;
    let (ann, _, conversation) = app.pair().await;
    let a = app.socket(&ann).await;
    let mut refused = 0;
    for _ in 0..10 {
        let answer = app.answer(app.request("GET", "/socket.io/?EIO=4&transport=polling")).await;
        if answer.status == 429 {
            assert!(answer.header("retry-after").is_some());
            refused += 1;
        }
    }
    assert!(refused >= 5, "{refused} of 10 were refused");
    assert_eq!(app.connect(json!({"token": ann.token}), &[]).await.err().as_deref(), Some("429"));
    a.send(conversation, "still here").await;
}

#[tokio::test]
async fn connecting_again_and_again_on_one_websocket_counts_each_time() {
    let app = TestApp::with("[limits]\nhandshakes = { per_second = 1, burst = 5 }").await;
    let ann = app.user("ann").await;
    let a = app.socket(&ann).await;
    let (mut wire, _) = connect_async(format!("ws://{}/socket.io/?EIO=4&transport=websocket", app.address)).await.expect("connects");
    let mut connected = 0;
    let again_and_again = async {
        loop {
            if wire.send(Message::text("40")).await.is_err() {
                return;
            }
            loop {
                let Some(Ok(frame)) = wire.next().await else { return };
                let text = frame.to_text().unwrap_or_default();
                if text.starts_with("40") || text.starts_with("44") {
                    connected += usize::from(text.starts_with("40"));
                    break;
                }
            }
            assert!(connected < 20, "nobody counts");
            wire.send(Message::text("41")).await.ok();
        }
    };
    timeout(DEADLINE, again_and_again).await.expect("the connection is ended");
    assert!(connected >= 2, "{connected}");
    a.fence().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_connections_lock_nobody_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = Database::create(folder.path()).await;
    let process = Process::start_after("ulimit -n 256", folder.path(), &database.url, &[]);
    let app = TestApp::of(&process, database);
    let ann = app.user("ann").await;
    let a = app.socket(&ann).await;
    let (mut silent, mut idle) = (Vec::new(), Vec::new());
    for _ in 0..150 {
        silent.push(TcpStream::connect(app.address).await.expect("connects"));
        let mut connection = TcpStream::connect(app.address).await.expect("connects");
        connection.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("is sent");
        assert!(timeout(DEADLINE, connection.read(&mut [0; 4096])).await.expect("it is answered").is_ok_and(|n| n > 0));
        idle.push(connection);
    }
    for _ in 0..15 {
        assert_eq!(poll(&app, "/healthz").await.status, 200);
    }
    a.fence().await;
    app.socket(&ann).await.fence().await;
}

#[tokio::test]
async fn as_many_files_as_the_system_allows_are_taken() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = Database::create(folder.path()).await;
    let process = Process::start_after("ulimit -Sn 200", folder.path(), &database.url, &[]);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", process.id())).expect("Linux tells");
    let files = limits.lines().find(|line| line.starts_with("Max open files")).expect("it has a limit");
    let numbers: Vec<&str> = files.split_whitespace().skip(3).take(2).collect();
    assert!(numbers[0] == numbers[1] && numbers[0] != "200", "{files}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_is_kept_between_requests_for_as_long_as_each_answer_says() {
    let app = TestApp::start().await;
    let mut connection = TcpStream::connect(app.address).await.expect("connects");
    let mut some = [0; 4096];
    for _ in 0..2 {
        connection.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("is sent");
        let read = timeout(DEADLINE, connection.read(&mut some)).await.expect("it is answered").expect("it is open");
        let answer = String::from_utf8_lossy(&some[..read]).to_lowercase();
        assert!(answer.starts_with("http/1.1 200") && answer.contains("keep-alive: timeout=75\r\n"), "{answer}");
        assert!(timeout(Duration::from_secs(12), connection.read(&mut some)).await.is_err(), "it is not closed meanwhile");
    }
}

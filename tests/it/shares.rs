//! What a user may take up at a time, and what becomes of clients that do not take their answers.

use std::time::Duration;

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use crate::support::{DEADLINE, TestApp, User};

/// Who takes nothing for ten seconds is closed.
const CLOSED: Duration = Duration::from_secs(20);

/// Asks for something by a connection that holds little, and reads nothing.
async fn ask(app: &TestApp, user: &User, path: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    let mut stream = socket.connect(app.address).await.expect("connects");
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\r\n", user.token);
    stream.write_all(request.as_bytes()).await.expect("asks");
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_are_not_taken_count_for_their_user_until_they_are_closed() {
    let app = TestApp::with("[limits]\nrequests_per_user = 2\nanswer_bytes = 20000000").await;
    let (ann, bob, conversation) = app.pair().await;
    let b = app.socket(&bob).await;
    b.send(conversation, "long").await;
    app.database.copy_message(1, 400).await;
    app.database.run(&format!("UPDATE messages SET message_text = '{}'", "x".repeat(40_000))).await;
    let path = format!("/api/messaging/conversations/{conversation}/messages");
    let mut deaf = [ask(&app, &ann, &path).await, ask(&app, &ann, &path).await];
    for stream in &deaf {
        timeout(DEADLINE, stream.readable()).await.expect("it is answered").expect("it is open");
    }
    let refused = app.get("/api/messaging/unread-count", &ann).await;
    refused.refused(429, "rate_limited");
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    let of_browser = app.request("GET", "/api/messaging/conversations").bearer_auth(&ann.token).header("origin", "http://localhost:5173");
    let refused = app.answer(of_browser).await;
    assert_eq!((refused.status, &refused.body, refused.header("x-error-code")), (429, &json!([]), Some("rate_limited")));

    assert_eq!(app.get(&path, &bob).await.rows().len(), 401, "the other user is not concerned");
    b.send(conversation, "nor is this").await;
    // Whoever takes its answer, however long it is, has it.
    let mut slow = ask(&app, &bob, &path).await;
    let mut taken = vec![0; 1 << 16];
    for _ in 0..20 {
        assert!(slow.read(&mut taken).await.expect("reads") > 0);
    }
    for stream in &mut deaf {
        let closed = async {
            // It is closed while nothing is read.
            tokio::time::sleep(Duration::from_secs(12)).await;
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.ok();
            rest.len()
        };
        let length = timeout(CLOSED, closed).await.expect("it is closed");
        assert!(length < 16_000_000, "{length} bytes were kept for it");
    }
    let free = async { while app.get("/api/messaging/unread-count", &ann).await.status != 200 {} };
    timeout(DEADLINE, free).await.expect("its places are free again");
}

//! A whole connection: requests as bytes, behind hyper. Nothing may fail within the server, and a websocket is made of what asks for one only.

#![no_main]

use engineioxide_fuzz::{run, server};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use libfuzzer_sys::fuzz_target;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// What each request for a websocket must have.
const ASKED: [&str; 3] = ["websocket", "sec-websocket-key", "upgrade"];

fuzz_target!(|data: &[u8]| {
    let (service, recorder) = server();
    let answer = run(async {
        let (mut client, connection) = tokio::io::duplex(1 << 20);
        client.write_all(data).await.expect("there is room");
        client.shutdown().await.expect("it is open");
        http1::Builder::new().half_close(true).serve_connection(TokioIo::new(connection), service).with_upgrades().await.ok();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.expect("it ends");
        answer
    });
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1."), "{answer}");
    assert!(!answer.starts_with("HTTP/1.1 5") && !answer.contains("\nHTTP/1.1 5"), "{answer}");
    if answer.contains("HTTP/1.1 101 ") {
        let asked = String::from_utf8_lossy(data).to_ascii_lowercase();
        assert!(ASKED.iter().all(|word| asked.contains(word)) && recorder.sessions().0 > 0, "{asked}");
    }
});

//! Spans for a collector, in a build that can send them: what arrives there of a request and an event.

use std::{process::Command, time::Duration};

use axum::{Router, body::Bytes, http::HeaderMap, routing::post};
use tokio::{sync::mpsc, time::timeout};

use crate::support::{DEADLINE, Database, Process, TestApp};

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|part| part == text.as_bytes())
}

#[tokio::test]
async fn a_request_and_an_event_arrive_as_spans_without_any_text() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let collect = move |headers: HeaderMap, body: Bytes| async move {
        assert_eq!(headers["content-type"], "application/x-protobuf");
        tell.send(body).expect("the test listens");
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let collector = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/v1/traces", post(collect))).await });
    let folder = tempfile::tempdir().expect("a folder");
    let database = Database::create(folder.path()).await;
    let environment = [("OTEL_EXPORTER_OTLP_ENDPOINT", collector.as_str()), ("OTEL_BSP_SCHEDULE_DELAY", "60000")];
    let mut process = Process::start_with(folder.path(), &database.url, &environment);
    let app = TestApp::of(&process, database);
    let (ann, _, conversation) = app.pair().await;
    let a = app.socket(&ann).await;
    a.send(conversation, "the text that nobody exports").await;
    let request = app.request("GET", "/api/messaging/unread-count").bearer_auth(&ann.token).header("x-request-id", "the-id-of-ann");
    app.answer(request).await.ok();
    // Who stops sends off what is on its way.
    Command::new("kill").args(["-TERM", &process.id().to_string()]).status().expect("a signal can be sent");
    let mut all = Vec::new();
    let arrived = async {
        while let Some(some) = told.recv().await {
            all.extend_from_slice(&some);
            if contains(&all, "the-id-of-ann") {
                return;
            }
        }
    };
    timeout(DEADLINE, arrived).await.unwrap_or_else(|_| panic!("nothing arrives: {}", process.log()));
    for text in ["tidings", "request", "/api/messaging/unread-count", "event", "send-message"] {
        assert!(contains(&all, text), "{text} is missing");
    }
    for text in ["nobody exports", ann.token.as_str()] {
        assert!(!contains(&all, text), "{text}");
    }
    let ended = async {
        while process.is_running() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(DEADLINE, ended).await.expect("it stops");
}

#[tokio::test]
async fn a_collector_that_is_away_keeps_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = Database::create(folder.path()).await;
    let mut process = Process::start_with(folder.path(), &database.url, &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")]);
    let app = TestApp::of(&process, database);
    let (ann, _, conversation) = app.pair().await;
    app.socket(&ann).await.send(conversation, "hello").await;
    Command::new("kill").args(["-TERM", &process.id().to_string()]).status().expect("a signal can be sent");
    let ended = async {
        while process.is_running() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(DEADLINE, ended).await.expect("it stops");
}

//! The limits: exceeding one gives a code or closes that connection, never more.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::support::{DEADLINE, ROOMY, TestApp};

#[tokio::test]
async fn a_guest_that_says_too_much_is_told_to_wait_and_harms_nobody() {
    let app = TestApp::with("[limits]\nguest_events = { per_second = 1, burst = 3 }").await;
    let (ann, _, conversation) = app.pair().await;
    let guest = app.guest(&[("user-agent", "a browser")]).await;
    for _ in 0..3 {
        assert_eq!(guest.ask("user-online", ann.id).await["ok"], true);
    }
    let refused = guest.ask("user-online", ann.id).await;
    assert_eq!(refused["code"], "rate_limited", "{refused}");
    assert!(refused["retryAfterMs"].as_i64().is_some_and(|ms| ms > 0), "{refused}");
    app.guest(&[]).await.fence().await;
    app.socket(&ann).await.send(conversation, "not concerned").await;
}

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
async fn events_that_wait_are_bounded_by_their_bytes() {
    let app = TestApp::with(&ROOMY.replace("inbound_bytes = 1000000000", "inbound_bytes = 100000")).await;
    let (ann, _, conversation) = app.pair().await;
    let a = app.socket(&ann).await;
    let text = "x".repeat(9_000);
    let acks: Vec<u64> =
        (0..200).map(|_| a.emit_asking("send-message", json!({"conversationId": conversation, "message": text}))).collect();
    let (mut stored, mut refused) = (0, 0);
    for ack in acks {
        match a.acked(ack).await["code"].as_str() {
            None => stored += 1,
            Some("rate_limited") => refused += 1,
            Some(other) => panic!("{other}"),
        }
    }
    assert!(stored > 0 && stored + refused == 200, "{stored} stored, {refused} refused");
    assert_eq!(app.database.one::<i64>("SELECT COUNT(*) FROM messages").await, stored);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_whose_head_or_body_does_not_come_is_ended() {
    let app = TestApp::start().await;
    let whole = "POST /api/auth/traveller/login HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 900\r\n\r\n{";
    let polled = "POST /socket.io/?EIO=4&transport=polling&sid=none HTTP/1.1\r\nhost: x\r\ncontent-length: 900\r\n\r\n4";
    let ended = [&whole[..30], whole, polled].map(|start| {
        let (address, start) = (app.address, start.to_owned());
        tokio::spawn(async move {
            let mut connection = TcpStream::connect(address).await.expect("connects");
            connection.write_all(start.as_bytes()).await.expect("is sent");
            let mut answer = Vec::new();
            timeout(Duration::from_secs(20), connection.read_to_end(&mut answer)).await.map(drop)
        })
    });
    for connection in ended {
        connection.await.expect("no panic").expect("the connection is closed");
    }
}

//! The limits: exceeding one gives a code or closes that connection, never more.

use std::time::Duration;

use futures_util::StreamExt;
use serde_json::{Value, json};
use tidings::clock;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_tungstenite::{connect_async, tungstenite::Message};

use crate::support::{Answer, DEADLINE, ROOMY, TestApp};

/// What must happen after ten seconds happens within this time, and before a ping that nobody answers ends a connection.
pub const SLOW: Duration = Duration::from_secs(15);

/// A poll by a connection of its own: one that is kept would be closed while nothing is asked.
pub async fn poll(app: &TestApp, path: &str) -> Answer {
    app.answer(app.request("GET", path).header("connection", "close")).await
}

/// A polling session, as a path.
pub async fn open_session(app: &TestApp) -> String {
    let path = "/socket.io/?EIO=4&transport=polling";
    let Value::String(open) = poll(app, path).await.body else { panic!("it opens") };
    let open: Value = open.strip_prefix('0').and_then(|text| serde_json::from_str(text).ok()).expect("an open packet");
    format!("{path}&sid={}", open["sid"].as_str().expect("a session"))
}

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
async fn what_a_page_kept_while_it_was_offline_comes_through() {
    let app = TestApp::with("[limits]\ninbound_queue = 200").await;
    let (ann, bob, conversation) = app.pair().await;
    let (a, b) = (app.socket(&ann).await, app.socket(&bob).await);
    b.done("join-conversation", conversation).await;
    let mut acks = Vec::new();
    for n in 0..60 {
        for _ in 0..20 {
            a.emit("typing", json!({"conversationId": conversation, "userId": ann.id}));
        }
        acks.push(a.emit_asking("send-message", json!({"conversationId": conversation, "message": n.to_string()})));
        a.emit("stop-typing", json!({"conversationId": conversation, "userId": ann.id}));
    }
    for ack in acks {
        let answer = a.acked(ack).await;
        assert_eq!(answer["ok"], true, "{answer}");
    }
    for n in 0..60 {
        assert_eq!(b.heard("message-received").await["message_text"], n.to_string());
    }
}

#[tokio::test]
async fn little_is_read_of_who_has_shown_no_token() {
    let app = TestApp::with("[limits]\nlogins = 2").await;
    let long = "x".repeat(9_000);
    let login = json!({"email": "ann@test.example", "password": long});
    app.answer(app.request("POST", "/api/auth/traveller/login").json(&login)).await.refused(413, "too_large");
    let login = json!({"email": "ann@test.example", "password": "wrong"});
    app.answer(app.request("POST", "/api/auth/agency/login").json(&login)).await.refused(401, "unauthorized");
    let mut connection = TcpStream::connect(app.address).await.expect("connects");
    let head = "POST /api/auth/register HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 900\r\n\r\n{";
    connection.write_all(head.as_bytes()).await.expect("is sent");
    let mut answer = [0; 12];
    timeout(DEADLINE, connection.read_exact(&mut answer)).await.expect("it is answered").expect("it is open");
    assert_eq!(&answer, b"HTTP/1.1 429", "before the body has come");

    let session = open_session(&app).await;
    let mut connection = TcpStream::connect(app.address).await.expect("connects");
    let head = format!("POST {session} HTTP/1.1\r\nhost: x\r\ncontent-length: 900000\r\n\r\n40{{\"token\":\"{long}");
    connection.write_all(head.as_bytes()).await.expect("is sent");
    timeout(DEADLINE, connection.read_exact(&mut answer)).await.expect("it is answered").expect("it is open");
    assert_eq!(&answer, b"HTTP/1.1 200", "before the rest of a token has come that is too long to be one");
    // The library's first ping may come before it.
    let refusal = loop {
        let packets = app.answer(app.request("GET", &session)).await.body.to_string();
        if packets != "2" {
            break packets;
        }
    };
    assert!(refusal.contains("Token is not valid"), "{refusal}");
    let address = format!("ws://{}/socket.io/?EIO=4&transport=websocket", app.address);
    let (mut websocket, _) = connect_async(address).await.expect("connects");
    websocket.next().await.expect("the open packet").expect("the open packet");
    // The head of a frame of 983 040 bytes, of which none has come.
    websocket.get_mut().write_all(&[0x81, 0xff, 0, 0, 0, 0, 0, 15, 0, 0, 1, 2, 3, 4]).await.expect("is sent");
    let told = timeout(DEADLINE, websocket.next()).await.expect("in time").expect("a frame").expect("a frame");
    assert_eq!(told, Message::text("44{\"message\":\"Token is not valid\"}"));
    let guest = app.guest(&[]).await;
    guest.emit_raw(&json!(["user-online", {"userId": 1, "more": long}]).to_string());
    let error = guest.heard_before_the_end("error").await;
    assert!(error.is_some_and(|error| error.arguments[0]["code"] == "invalid_payload"));
    guest.closed().await;
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
            timeout(SLOW, connection.read_to_end(&mut answer)).await.map(drop)
        })
    });
    for connection in ended {
        connection.await.expect("no panic").expect("the connection is closed");
    }
}

/// Sends a start and then a byte each second, until the server ends the connection; what it answered.
async fn drip(app: &TestApp, start: String) -> String {
    let mut connection = TcpStream::connect(app.address).await.expect("connects");
    let (mut ear, mut mouth) = connection.split();
    let mut answer = Vec::new();
    let drip = async {
        mouth.write_all(start.as_bytes()).await.expect("is sent");
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        while mouth.write_all(b" ").await.is_ok() {
            tick.tick().await;
        }
        std::future::pending().await
    };
    let ended = async {
        tokio::select! {
            // What is sent to a closed connection resets it.
            end = ear.read_to_end(&mut answer) => drop(end),
            () = drip => {}
        }
    };
    timeout(SLOW, ended).await.expect("the connection is closed");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_drips_is_ended_on_both_transports() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let session = open_session(&app).await;
    let connect = format!("40{}", json!({"token": ann.token}));
    assert_eq!(app.answer(app.request("POST", &session).body(connect)).await.status, 200);
    let head = |path: &str, more: &str| format!("POST {path} HTTP/1.1\r\nhost: x\r\n{more}content-length: 900\r\n\r\n");
    let login = head("/api/auth/traveller/login", "content-type: application/json\r\n");
    let start = clock::instant();
    let (answered, _) = tokio::join!(drip(&app, login), drip(&app, head(&session, "")));
    assert!(answered.starts_with("HTTP/1.1 400") && answered.contains("\"code\":\"invalid_payload\""), "{answered}");
    assert!(start.elapsed() > Duration::from_secs(9), "not before its time: {:?}", start.elapsed());
    app.socket(&ann).await.fence().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_say_connect_in_time_is_closed_on_both_transports() {
    let app = TestApp::start().await;
    let address = format!("ws://{}/socket.io/?EIO=4&transport=websocket", app.address);
    let (mut wire, _) = connect_async(address).await.expect("connects");
    let (session, start) = (open_session(&app).await, clock::instant());
    timeout(SLOW, async { while let Some(Ok(_)) = wire.next().await {} }).await.expect("the websocket is closed");
    assert!(start.elapsed() > Duration::from_secs(9), "not before its time: {:?}", start.elapsed());
    // The first poll brings a ping.
    let over = async { while poll(&app, &session).await.status != 400 {} };
    timeout(SLOW, over).await.expect("the session is over");
}

#[tokio::test]
async fn an_event_may_be_so_long_and_have_no_attachments_on_both_transports() {
    let app = TestApp::with("[limits]\nevent_bytes = 2000").await;
    let (ann, _, conversation) = app.pair().await;
    let event = |length: usize| format!("421{}", json!(["send-message", {"conversationId": conversation, "message": "x".repeat(length)}]));
    let attached = "451-[\"send-message\",{\"message\":{\"_placeholder\":true,\"num\":0}}]".to_owned();
    let a = app.socket(&ann).await;
    a.frame(&event(1_800));
    assert_eq!(a.acked(1).await["ok"], true);
    for wrong in [event(2_100), attached] {
        let socket = app.socket(&ann).await;
        socket.frame(&wrong);
        socket.closed().await;
        let session = open_session(&app).await;
        let say = async |packet: &str| app.answer(app.request("POST", &session).body(packet.to_owned())).await.status;
        let heard = async |start: &str| {
            let come = async { while !poll(&app, &session).await.body.as_str().is_some_and(|packets| packets.contains(start)) {} };
            timeout(DEADLINE, come).await.expect("it is answered");
        };
        assert_eq!(say(&format!("40{}", json!({"token": ann.token}))).await, 200);
        heard("40{").await;
        assert_eq!(say(&event(1_700)).await, 200);
        heard("431[{\"ok\":true").await;
        let refused = say(&wrong).await;
        // A body that is too long is refused; one that makes no sense ends the session.
        let over = async { while poll(&app, &session).await.status != 400 {} };
        assert!(refused >= 400 || timeout(DEADLINE, over).await.is_ok(), "{refused} for {wrong:.80}");
    }
    a.fence().await;
}

#[tokio::test]
async fn a_body_may_be_so_long() {
    let app = TestApp::with("[limits]\nbody_bytes = 300").await;
    let ann = app.user("ann").await;
    let ticket = |length: usize| json!({"subject": "Help", "description": "x".repeat(length)});
    app.post("/api/messaging/support/tickets", &ann, ticket(300)).await.refused(413, "too_large");
    assert_eq!(app.post("/api/messaging/support/tickets", &ann, ticket(200)).await.status, 201);
}

#[tokio::test]
async fn one_join_may_name_so_many_rooms() {
    let app = TestApp::with(ROOMY).await;
    let (ann, _, conversation) = app.pair().await;
    let a = app.socket(&ann).await;
    a.refused("join-conversation", json!(vec![conversation; 101]), "invalid_payload").await;
    a.done("join-conversation", json!(vec![conversation; 100])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_takes_no_bytes_is_closed_within_thirty_seconds_and_is_offline_then() {
    let app = TestApp::with(ROOMY).await;
    let (ann, bob, conversation) = app.pair().await;
    let (a, deaf, other) = (app.socket(&ann).await, app.socket(&bob).await, app.socket(&ann).await);
    deaf.done("join-conversation", conversation).await;
    other.done("join-conversation", conversation).await;
    deaf.read(false);
    // More than the system buffers, and less than the queue holds here.
    let long = "😀".repeat(9_000);
    for n in 0..250 {
        // It would come late if the room were held up.
        a.send(conversation, &format!("{n} {long}")).await;
        assert_eq!(other.heard("message-received").await["message_text"].as_str().and_then(|t| t.split(' ').next()), Some(&*n.to_string()));
    }
    let sent = clock::instant();
    while other.heard_within(Duration::from_secs(32), "user-status-changed").await.arguments[0]
        != json!({"userId": bob.id, "status": "offline"})
    {}
    // With the two seconds for which a page may reload.
    assert!(sent.elapsed() < Duration::from_secs(32), "it took {:?}", sent.elapsed());
    deaf.read(true);
    deaf.closed().await;
    assert!(!deaf.is_disconnected(), "a client does not come back after a namespace disconnect");
}

//! Clients that misbehave, and a server that stops: nobody else is touched, and nothing that was acked is lost.

use serde_json::json;

use crate::support::{ROOMY, TestApp};

#[tokio::test]
async fn malformed_frames_harm_nobody_else() {
    let app = TestApp::with(ROOMY).await;
    let (ann, bob, conversation) = app.pair().await;
    let b = app.socket(&bob).await;
    b.done("join-conversation", conversation).await;
    let deep = format!("42[\"send-message\",{}{}]", "[".repeat(20_000), "]".repeat(20_000));
    let huge = format!("42[\"send-message\",{{\"conversationId\":{conversation},\"message\":\"{}\"}}]", "x".repeat(1_100_000));
    for frame in [
        "",
        "4",
        "42",
        "42[",
        "42{}",
        "42[]",
        "42[1]",
        "42[null]",
        "42\"x\"",
        "42[\"send-message\"",
        "42nonsense",
        "4299999999999999999999[\"x\"]",
        "42-1[\"x\"]",
        "421[]",
        "43",
        "431[]",
        "4399[1]",
        "44",
        "45",
        "451-[\"x\",{\"_placeholder\":true,\"num\":0}]",
        "46",
        "49",
        "40",
        "40{",
        "40/admin,{}",
        "41/admin,",
        "5",
        "6",
        "9",
        "0{}",
        "1",
        "42/x,[\"y\"]",
        "\0\0",
        deep.as_str(),
        huge.as_str(),
    ] {
        let a = app.socket(&ann).await;
        a.frame(frame);
        a.emit("send-message", json!({"conversationId": "x"}));
        // Whether this socket lives on depends on how wrong its frame is.
        assert_eq!(b.send(conversation, "still here").await["message_text"], "still here", "after {:.40}", frame);
        a.cut();
    }
    app.socket(&ann).await.send(conversation, "me too").await;
    let texts: Vec<String> = app.database.all("SELECT DISTINCT message_text FROM messages ORDER BY 1").await;
    assert_eq!(texts, ["me too", "still here"]);
}

#[tokio::test]
async fn an_event_just_below_the_limit_of_bytes_is_answered_like_any_other() {
    let app = TestApp::with(ROOMY).await;
    let (ann, _, conversation) = app.pair().await;
    let a = app.socket(&ann).await;
    let text = "x".repeat(990_000);
    a.refused("send-message", json!({"conversationId": conversation, "message": text}), "message_too_long").await;
    let many: Vec<i64> = (1..=100_000).collect();
    a.refused("join-conversation", json!(many), "invalid_payload").await;
    a.send(conversation, "all is well").await;
}

#[tokio::test]
async fn a_client_that_stops_reading_is_cut_off_by_its_transport_holds_up_nobody_and_recovers() {
    stops_reading(&ROOMY.replace("outbound_queue = 100000", "outbound_queue = 32")).await;
}

#[tokio::test]
async fn a_client_that_is_too_many_bytes_behind_is_cut_off_in_the_same_way() {
    stops_reading(&ROOMY.replace("outbound_bytes = 1000000000", "outbound_bytes = 500000")).await;
}

async fn stops_reading(settings: &str) {
    let app = TestApp::with(settings).await;
    let (ann, bob, conversation) = app.pair().await;
    let b = app.socket(&bob).await;
    let a = app.recovering_socket(&ann).await;
    a.done("join-conversation", conversation).await;
    let pid = a.pid().await;
    b.send(conversation, "heard").await;
    let offset = a.heard_whole("message-received").await.arguments[1].as_str().map(str::to_owned);
    a.read(false);
    let long = "😀".repeat(10_000);
    for n in 0..250 {
        b.send(conversation, &format!("{n} {}", &long[..39_900])).await;
    }
    a.read(true);
    a.closed().await;
    assert!(!a.is_disconnected(), "a client does not come back after a namespace disconnect");
    let before = a.so_far().iter().filter(|event| event.name == "message-received").count();
    assert!(before < 250, "it was cut off: {before}");
    // With a queue this short what was missed comes in several goes.
    let (mut offset, mut heard) = (offset, 0);
    while heard < 250 {
        let auth = json!({"token": ann.token, "recovery": true, "pid": pid, "offset": offset});
        let (back, before) = (app.connect(auth, &[]).await.expect("comes back"), heard);
        while heard < 250
            && let Some(event) = back.heard_before_the_end("message-received").await
        {
            let text = event.arguments[0]["message_text"].as_str().unwrap_or_default();
            assert_eq!(text.split(' ').next(), Some(heard.to_string().as_str()));
            offset = event.arguments[1].as_str().map(str::to_owned);
            heard += 1;
        }
        assert!(heard > before, "each time it gets further");
    }
}

#[tokio::test]
async fn a_server_that_stops_stores_what_it_acked_and_closes_transports_not_namespaces() {
    let mut app = TestApp::with(ROOMY).await;
    let (ann, bob, conversation) = app.pair().await;
    let (a, b) = (app.socket(&ann).await, app.socket(&bob).await);
    b.done("join-conversation", conversation).await;
    for n in 0..300 {
        a.emit("send-message", json!({"conversationId": conversation, "message": n.to_string()}));
    }
    b.heard("message-received").await;
    app.stop().await;
    a.closed().await;
    b.closed().await;
    assert!(!a.is_disconnected() && !b.is_disconnected());
    let heard = 1 + b.so_far().iter().filter(|event| event.name == "message-received").count();
    let stored: Vec<String> = app.database.all("SELECT message_text FROM messages ORDER BY id").await;
    assert!(stored.len() >= heard, "{heard} were announced, {} are stored", stored.len());
    assert!(stored.iter().enumerate().all(|(n, text)| *text == n.to_string()), "in order, without a gap");
}

#[tokio::test]
async fn a_server_that_stops_sends_its_clients_away_one_after_the_other() {
    let mut app = TestApp::with(ROOMY).await;
    let ann = app.user("ann").await;
    let mut sockets = Vec::new();
    for _ in 0..55 {
        sockets.push(app.socket(&ann).await);
    }
    let leaving = async {
        let closed = futures_util::future::select_all(sockets.iter().map(|socket| Box::pin(socket.closed())));
        closed.await;
        assert!(sockets.iter().any(|socket| !socket.is_closed()), "not all at once");
        for socket in &sockets {
            socket.closed().await;
            assert!(!socket.is_disconnected());
        }
    };
    tokio::join!(app.stop(), leaving);
}

#[tokio::test]
async fn what_express_takes_is_taken_a_mark_before_json_a_slash_at_the_end_and_a_number_with_a_point() {
    let app = TestApp::start().await;
    let (ann, bob) = (app.user("ann").await, app.user("bob").await);
    let route = "/api/messaging/conversations";
    let post =
        |path: &str, body: String| app.request("POST", path).bearer_auth(&ann.token).header("content-type", "application/json").body(body);
    let answer = app.answer(post(route, format!("\u{feff}{{\"otherUserId\": {}}}", bob.id))).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    for body in [format!("{{\"otherUserId\": {}.0}}", bob.id), format!("{{\"otherUserId\": \"{}\"}}", bob.id)] {
        let again = app.answer(post(route, body)).await;
        assert_eq!((again.status, &again.body["id"]), (200, &answer.body["id"]), "{again:?}");
    }
    let id = &answer.body["id"];
    let ack = app.socket(&ann).await.done("send-message", serde_json::json!({"conversationId": 1.0, "message": "hi"})).await;
    assert_eq!(&ack["message"]["conversation_id"], id);
    // A documented answer, by a path with a slash at its end.
    for path in [
        format!("{route}/"),
        format!("{route}/?limit=1"),
        format!("{route}/{id}/messages/"),
        "/api/auth/me/".into(),
        "/api/user/search/?query=b".into(),
    ] {
        let answer = app.request("GET", &path).bearer_auth(&ann.token).send().await.expect("the server answers");
        assert_eq!(answer.status(), 200, "{path}");
    }
    for path in [format!("{route}//"), "/api/messaging/".into(), "/api/messaging/nowhere/".into()] {
        let answer = app.request("GET", &path).bearer_auth(&ann.token).send().await.expect("the server answers");
        assert_eq!(answer.status(), 404, "{path}");
    }
}

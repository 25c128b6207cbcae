//! Direct messages: who hears them in which form, what is refused and how, and how a repeated send is recognised.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{ROOMY, TestApp, millis};

const NONCE: &str = "temp-1700000000000";

fn message(conversation: i64, text: &str) -> Value {
    json!({"conversationId": conversation, "message": text})
}

fn marked(conversation: i64, text: &str, temp_id: impl Into<Value>) -> Value {
    json!({"conversationId": conversation, "message": text, "tempId": temp_id.into()})
}

async fn rows(app: &TestApp) -> i64 {
    app.database.one("SELECT COUNT(*) FROM messages").await
}

#[tokio::test]
async fn a_message_is_heard_by_the_followers_and_the_sending_socket_once_each() {
    let app = TestApp::start().await;
    let (ann, bob, conversation) = app.pair().await;
    let (a, b, elsewhere) = (app.socket(&ann).await, app.socket(&bob).await, app.socket(&bob).await);
    b.done("join-conversation", conversation).await;
    let ack = a.done("send-message", json!({"conversationId": conversation, "message": "hi", "tempId": "t1", "senderId": bob.id})).await;
    let told = a.heard("message-received").await;
    assert_eq!(ack["message"], told, "the ack shows the message as it is told");
    assert_eq!(b.heard("message-received").await, told);
    millis(&told["created_at"]);
    assert_eq!(
        told,
        json!({
            "id": told["id"], "conversation_id": conversation, "conversationId": conversation, "sender_id": ann.id, "senderId": ann.id,
            "receiver_id": bob.id, "message_text": "hi", "is_read": false, "read_at": null, "created_at": told["created_at"], "tempId": "t1",
        })
    );
    let answer = b.send(conversation, "hello").await;
    assert_eq!((&answer["sender_id"], &answer["receiver_id"]), (&json!(bob.id), &json!(ann.id)), "the other way too");
    assert_eq!(a.heard("message-received").await["id"], answer["id"], "who sent has it open");
    for socket in [&a, &b] {
        socket.rest_of("message-received").await.iter().for_each(|m| assert_eq!(m["id"], answer["id"], "not twice"));
    }
    assert_eq!(elsewhere.rest_of("message-received").await, [] as [Value; 0], "who does not follow hears nudges only");
    assert_eq!(elsewhere.heard("conversation-updated").await, json!({"conversationId": conversation}));
}

#[tokio::test]
async fn a_send_without_ack_is_answered_by_events_alone() {
    let app = TestApp::start().await;
    let (ann, _, conversation) = app.pair().await;
    let a = app.socket(&ann).await;
    a.emit("send-message", json!({"conversationId": conversation.to_string(), "message": "an id may be a string"}));
    assert_eq!(a.heard("message-received").await["message_text"], "an id may be a string");
    a.emit("send-message", message(conversation, " "));
    assert_eq!(a.heard("error").await["code"], "empty_message");
}

#[tokio::test]
async fn a_refused_send_says_why_by_message_failed_error_and_ack_and_stores_nothing() {
    let app = TestApp::start().await;
    let (ann, bob, conversation) = app.pair().await;
    let (carl, dora) = (app.user("carl").await, app.user("dora").await);
    let foreign = app.conversation(&carl, &dora).await;
    let (a, b) = (app.socket(&ann).await, app.socket(&bob).await);
    b.done("join-conversation", conversation).await;
    b.rest().await;
    for (payload, code) in [
        (message(conversation, ""), "empty_message"),
        (message(conversation, " \t\n\u{3000}"), "empty_message"),
        (message(conversation, &"x".repeat(10_001)), "message_too_long"),
        (message(conversation, "a\0b"), "invalid_payload"),
        (message(foreign, "let me in"), "forbidden"),
        (message(999_999, "anybody?"), "not_found"),
        (json!({"conversationId": conversation}), "invalid_payload"),
        (json!({"conversationId": conversation, "message": 5}), "invalid_payload"),
        (json!({"conversationId": conversation, "message": {"text": "x"}}), "invalid_payload"),
        (json!({"message": "where?"}), "invalid_payload"),
        (json!({"conversationId": "7 OR 1=1", "message": "x"}), "invalid_payload"),
        (json!({"conversationId": -1, "message": "x"}), "invalid_payload"),
        (json!("nonsense"), "invalid_payload"),
        (Value::Null, "invalid_payload"),
    ] {
        let mut payload = payload;
        if let Some(fields) = payload.as_object_mut() {
            fields.insert("tempId".into(), json!("t1"));
        }
        let ack = a.refused("send-message", payload.clone(), code).await;
        let failed = a.heard("message-failed").await;
        assert_eq!((&failed["code"], &failed["error"]), (&ack["code"], &ack["error"]), "{payload}");
        if payload.is_object() {
            assert_eq!(failed["tempId"], "t1");
        }
        if payload["conversationId"].as_i64() > Some(0) {
            assert_eq!(failed["conversationId"], payload["conversationId"]);
        }
    }
    assert_eq!(rows(&app).await, 0);
    assert_eq!(b.rest().await, []);
}

#[tokio::test]
async fn a_text_is_kept_exactly_as_sent() {
    let app = TestApp::start().await;
    let (ann, bob, conversation) = app.pair().await;
    let (a, b) = (app.socket(&ann).await, app.socket(&bob).await);
    b.done("join-conversation", conversation).await;
    for text in [
        "  not trimmed \n",
        "<script>alert(1)</script> & \"quotes\" 'too' \\ backslash",
        "👩‍👩‍👧‍👦 🏳️‍🌈 ½ ﷽ Z͑ͫ̓ͪ̂ͫ̽͏̴",
        "%_!'; DROP TABLE messages; --",
        "\u{feff}\u{200b}\u{1}\u{7f}\u{2028}",
        "{\"conversationId\":1}",
    ] {
        assert_eq!(a.send(conversation, text).await["message_text"], text);
        assert_eq!(b.heard("message-received").await["message_text"], text);
        let history = app.get(&format!("/api/messaging/conversations/{conversation}/messages"), &bob).await.rows();
        assert_eq!(history.last().map(|m| &m["message_text"]), Some(&json!(text)));
    }
}

#[tokio::test]
async fn a_length_is_counted_in_code_points() {
    let app = TestApp::start().await;
    let (ann, _, conversation) = app.pair().await;
    let a = app.socket(&ann).await;
    let longest = "😀".repeat(10_000);
    assert_eq!(a.send(conversation, &longest).await["message_text"], longest);
    a.refused("send-message", message(conversation, &format!("{longest}!")), "message_too_long").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_temp_id_fifty_times_at_once_from_several_sockets_is_one_message() {
    let app = TestApp::with(ROOMY).await;
    let (ann, bob, conversation) = app.pair().await;
    let b = app.socket(&bob).await;
    b.done("join-conversation", conversation).await;
    let sockets = join_all((0..5).map(|_| app.socket(&ann))).await;
    let sends = (0..50).map(|n| sockets[n % 5].ask("send-message", marked(conversation, "once", NONCE)));
    let acks = join_all(sends).await;
    assert!(acks.iter().all(|ack| ack["ok"] == true && ack["message"] == acks[0]["message"]), "{acks:?}");
    assert_eq!(rows(&app).await, 1);
    assert_eq!(b.rest_of("message-received").await.len(), 1, "the other one hears it once");
    for socket in &sockets {
        let heard = socket.rest_of("message-received").await;
        assert!(!heard.is_empty() && heard.iter().all(|m| *m == acks[0]["message"]), "each sending socket is answered with the stored one");
    }
}

#[tokio::test]
async fn a_repetition_is_recognised_after_a_restart_and_told_to_nobody_else() {
    let mut app = TestApp::start().await;
    let (ann, bob, conversation) = app.pair().await;
    let first = app.socket(&ann).await.done("send-message", marked(conversation, "once", NONCE)).await;
    app.restart().await;
    let (a, b) = (app.socket(&ann).await, app.socket(&bob).await);
    b.done("join-conversation", conversation).await;
    b.rest().await;
    assert_eq!(a.done("send-message", marked(conversation, "once", NONCE)).await, first);
    assert_eq!(a.heard("message-received").await, first["message"]);
    assert_eq!(b.rest_of("message-received").await, [] as [Value; 0]);
    assert_eq!(rows(&app).await, 1);
}

#[tokio::test]
async fn a_temp_id_identifies_a_send_of_one_sender_in_one_conversation_with_one_text() {
    let app = TestApp::start().await;
    let (ann, bob, conversation) = app.pair().await;
    let other = app.conversation(&ann, &app.user("carl").await).await;
    let (a, b) = (app.socket(&ann).await, app.socket(&bob).await);
    a.done("send-message", marked(conversation, "hi", NONCE)).await;
    for (socket, place, text, temp_id) in [
        (&a, conversation, "another text", NONCE),
        (&a, conversation, "hi ", NONCE),
        (&a, other, "hi", NONCE),
        (&b, conversation, "hi", NONCE),
        (&a, conversation, "hi", "TEMP-1700000000000"),
    ] {
        let before = rows(&app).await;
        socket.done("send-message", marked(place, text, temp_id)).await;
        assert_eq!(rows(&app).await, before + 1, "{text:?} {temp_id} is another message");
        socket.done("send-message", marked(place, text, temp_id)).await;
        assert_eq!(rows(&app).await, before + 1, "{text:?} {temp_id} again is not");
    }
}

#[tokio::test]
async fn a_temp_id_that_is_too_short_too_long_or_no_string_is_only_echoed() {
    let app = TestApp::start().await;
    let (ann, _, conversation) = app.pair().await;
    let a = app.socket(&ann).await;
    for (temp_id, identifies) in [
        (json!("12345678901"), false),
        (json!("123456789012"), true),
        (json!("x".repeat(64)), true),
        (json!("x".repeat(65)), false),
        (json!("ééééééééééé"), false),
        (json!("éééééééééééé"), true),
        (json!("😀".repeat(64)), true),
        (json!(1_700_000_000_000_i64), false),
        (json!(0.5), false),
        (json!(""), false),
    ] {
        let before = rows(&app).await;
        for _ in 0..2 {
            assert_eq!(a.done("send-message", marked(conversation, "x", temp_id.clone())).await["message"]["tempId"], temp_id);
            assert_eq!(a.heard("message-received").await["tempId"], temp_id);
        }
        assert_eq!(rows(&app).await, before + if identifies { 1 } else { 2 }, "{temp_id}");
    }
    let (before, escaped) = (rows(&app).await, "\\u00e9".repeat(64));
    for _ in 0..2 {
        a.emit_raw(&format!("[\"send-message\",{{\"conversationId\":{conversation},\"message\":\"x\",\"tempId\":\"{escaped}\"}}]"));
        assert_eq!(a.heard("message-received").await["tempId"], "é".repeat(64));
    }
    a.done("send-message", marked(conversation, "x", "é".repeat(64))).await;
    assert_eq!(rows(&app).await, before + 1, "however it is escaped");
    a.rest().await;
    let told = a.done("send-message", marked(conversation, "x", Value::Null)).await;
    assert_eq!(told["message"].get("tempId"), None, "none sent, none echoed");
}

#[tokio::test]
async fn a_refused_send_succeeds_with_the_same_temp_id_when_it_is_told_to_come_back() {
    let app = TestApp::with("[limits]\nsends = { per_second = 5, burst = 1 }").await;
    let (ann, _, conversation) = app.pair().await;
    let a = app.socket(&ann).await;
    a.send(conversation, "one").await;
    let ack = a.ask("send-message", marked(conversation, "two", NONCE)).await;
    assert_eq!(ack["code"], "rate_limited");
    let told = std::time::Duration::from_millis(ack["retryAfterMs"].as_u64().expect("a number"));
    tokio::time::sleep(told).await;
    a.done("send-message", marked(conversation, "two", NONCE)).await;
    assert_eq!(rows(&app).await, 2);
}

#[tokio::test]
async fn a_user_who_sends_too_fast_is_told_when_to_come_back_and_others_are_not_touched() {
    let app = TestApp::with("[limits]\nsends = { per_second = 10, burst = 40 }").await;
    let (ann, bob, conversation) = app.pair().await;
    let sockets = [app.socket(&ann).await, app.socket(&ann).await];
    let mut acks = Vec::new();
    for n in 0..100 {
        acks.push((n % 2, sockets[n % 2].emit_asking("send-message", marked(conversation, "x", n))));
    }
    let (mut stored, mut limited) = (0, 0);
    for (at, ack) in acks {
        let ack = sockets[at].acked(ack).await;
        if ack["ok"] == true {
            stored += 1;
        } else {
            limited += 1;
            assert_eq!(ack["code"], "rate_limited");
            assert!((1..=100).contains(&ack["retryAfterMs"].as_u64().unwrap_or_default()), "at ten a second: {ack}");
            let failed = sockets[at].heard("message-failed").await;
            assert_eq!((&failed["code"], failed["retryAfterMs"].is_u64()), (&json!("rate_limited"), true), "{failed}");
            assert_eq!(sockets[at].heard("error").await["code"], "rate_limited");
        }
    }
    assert!((40..80).contains(&stored), "a burst of 40, over all sockets of the user: {stored} stored, {limited} limited");
    assert_eq!(rows(&app).await, stored);
    app.socket(&bob).await.send(conversation, "I have not said a word yet").await;
}

#[tokio::test]
async fn half_a_character_is_stored_and_told_as_the_replacement_character() {
    let app = TestApp::start().await;
    let (ann, bob, conversation) = app.pair().await;
    let (a, b) = (app.socket(&ann).await, app.socket(&bob).await);
    b.done("join-conversation", conversation).await;
    a.emit_raw(&format!(r#"["send-message",{{"conversationId":{conversation},"message":"cut \ud83d","tempId":"half-of-one-\ud83d"}}]"#));
    let told = a.heard("message-received").await;
    assert_eq!((&told["message_text"], &told["tempId"]), (&json!("cut \u{fffd}"), &json!("half-of-one-\u{fffd}")));
    assert_eq!(b.heard("message-received").await["message_text"], "cut \u{fffd}");
    let history = app.get(&format!("/api/messaging/conversations/{conversation}/messages"), &bob).await.rows();
    assert_eq!(history[0]["message_text"], "cut \u{fffd}");
    let body = r#"{"subject":"\ude00 lost","description":"a whole \ud83d\ude00"}"#;
    let request = app.request("POST", "/api/messaging/support/tickets").bearer_auth(&ann.token);
    let ticket = app.answer(request.header("content-type", "application/json").body(body)).await.body;
    assert_eq!((&ticket["subject"], &ticket["description"]), (&json!("\u{fffd} lost"), &json!("a whole 😀")));
    a.refused("send-message", json!({"conversationId": conversation, "message": "a\0"}), "invalid_payload").await;
}

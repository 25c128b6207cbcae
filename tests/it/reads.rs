//! Marks: what they change, what they answer, who hears of them.

use std::time::Duration;

use serde_json::{Value, json};
use tidings::clock::instant;

use crate::support::{TestApp, id, millis};

#[tokio::test]
async fn a_mark_reads_what_the_caller_received_and_nothing_else() {
    let app = TestApp::start().await;
    let (ann, bob, conversation) = app.pair().await;
    let other = app.conversation(&ann, &app.user("carl").await).await;
    let (a, b) = (app.socket(&ann).await, app.socket(&bob).await);
    let received =
        [id(&b.send(conversation, "one").await), id(&b.send(conversation, "two").await), id(&b.send(conversation, "three").await)];
    let own = id(&a.send(conversation, "mine").await);
    let read = async || app.database.all::<i64>("SELECT id FROM messages WHERE is_read AND read_at IS NOT NULL ORDER BY id").await;
    for (payload, updated, ids, now_read) in [
        (json!(own), 0, vec![], vec![]),
        (json!(received[0]), 1, vec![received[0]], vec![received[0]]),
        (json!(received[0]), 0, vec![], vec![received[0]]),
        (
            json!({"messageId": received[2].to_string(), "conversationId": conversation}),
            1,
            vec![received[2]],
            vec![received[0], received[2]],
        ),
        (json!({"conversationId": conversation.to_string()}), 1, vec![received[1]], received.to_vec()),
        (json!({"conversationId": conversation}), 0, vec![], received.to_vec()),
        (json!({"conversationId": other}), 0, vec![], received.to_vec()),
    ] {
        let ack = a.done("mark-as-read", payload.clone()).await;
        assert_eq!((&ack["updated"], read().await), (&json!(updated), now_read), "{payload}");
        if updated > 0 {
            assert_eq!(ack["messageIds"], json!(ids), "{payload}");
        }
    }
    a.refused("mark-as-read", json!({"messageId": received[0], "conversationId": other}), "not_found").await;
    a.refused("mark-as-read", json!({"messageId": 999_999, "conversationId": conversation}), "not_found").await;
    for nonsense in [json!("x"), json!({}), Value::Null, json!({"messageId": "x"}), json!({"conversationId": []}), json!(-1)] {
        a.refused("mark-as-read", nonsense, "invalid_payload").await;
    }
    assert_eq!(app.get("/api/messaging/unread-count", &bob).await.ok()["unreadCount"], 1, "the other's mark does not read mine");
}

#[tokio::test]
async fn a_mark_is_told_to_the_room_once_but_not_to_the_readers_own_sockets() {
    let app = TestApp::start().await;
    let (ann, bob, conversation) = app.pair().await;
    let (a, a_too, b, idle) = (app.socket(&ann).await, app.socket(&ann).await, app.socket(&bob).await, app.socket(&bob).await);
    for socket in [&a, &a_too, &b] {
        socket.done("join-conversation", conversation).await;
    }
    idle.send(app.conversation(&bob, &app.user("carl").await).await, "elsewhere").await;
    let one = id(&b.send(conversation, "one").await);
    let two = id(&b.send(conversation, "two").await);
    a.done("mark-as-read", json!({"conversationId": conversation})).await;
    let told = b.heard("message-read").await;
    millis(&told["read_at"]);
    let expected = json!({
        "messageId": two, "conversationId": conversation, "readerId": ann.id, "read_at": told["read_at"], "messageIds": [one, two],
    });
    assert_eq!(told, expected);
    let stored = app.get(&format!("/api/messaging/conversations/{conversation}/messages"), &bob).await.rows();
    assert_eq!(stored[0]["read_at"], told["read_at"]);
    a.done("mark-as-read", json!({"conversationId": conversation})).await;
    for socket in [&a, &a_too, &b, &idle] {
        assert_eq!(socket.rest_of("message-read").await, [] as [Value; 0], "nothing changed, nothing told");
    }
}

#[tokio::test]
async fn marking_by_rest_answers_the_number_and_is_told_like_the_event() {
    let app = TestApp::start().await;
    let (ann, bob, conversation) = app.pair().await;
    let (a, b) = (app.socket(&ann).await, app.socket(&bob).await);
    let path = format!("/api/messaging/conversations/{conversation}/mark-read");
    b.send(conversation, "one").await;
    b.send(conversation, "two").await;
    assert_eq!(app.post(&path, &ann, Value::Null).await.ok(), json!({"message": "Messages marked as read", "updated": 2}));
    assert_eq!(b.heard("message-read").await["messageIds"].as_array().map(Vec::len), Some(2));
    assert_eq!(app.put(&path, &ann, json!({})).await.ok()["updated"], 0);
    let bare = app.request("POST", &path).bearer_auth(&ann.token);
    assert_eq!(app.answer(bare).await.ok()["updated"], 0, "without a body, too");
    assert_eq!(b.rest_of("message-read").await, [] as [Value; 0]);
    a.fence().await;
}

#[tokio::test]
async fn badges_of_the_reader_are_nudged_a_little_later_where_the_conversation_is_not_open() {
    let app = TestApp::start().await;
    let (ann, bob, conversation) = app.pair().await;
    let b = app.socket(&bob).await;
    for name in ["carl", "dora"] {
        b.send(conversation, "hi").await;
        let (open, badge) = (app.socket(&ann).await, app.socket(&ann).await);
        open.done("join-conversation", conversation).await;
        let start = instant();
        if name == "carl" {
            app.post(&format!("/api/messaging/conversations/{conversation}/mark-read"), &ann, Value::Null).await.ok();
        } else {
            open.done("mark-as-read", json!({"conversationId": conversation})).await;
        }
        assert_eq!(badge.heard("conversation-updated").await, json!({"conversationId": conversation}));
        assert!(start.elapsed() >= Duration::from_millis(150), "not at once: a client refetches by itself when it marks");
        let new = app.conversation(&ann, &app.user(name).await).await;
        assert_eq!(open.heard("conversation-updated").await, json!({"conversationId": new}), "the open chat does not flicker");
    }
}

#[tokio::test]
async fn a_mark_of_very_many_counts_all_and_names_the_newest_thousand() {
    let app = TestApp::start().await;
    let (ann, bob, conversation) = app.pair().await;
    let b = app.socket(&bob).await;
    b.send(conversation, "1").await;
    app.database.copy_message(1, 1499).await;
    app.database.run("UPDATE messages SET is_read = NULL WHERE id % 2 = 0").await;
    let ack = app.socket(&ann).await.done("mark-as-read", json!({"conversationId": conversation})).await;
    assert_eq!(ack["updated"], 1500, "a null flag is unread, too");
    let told = b.heard("message-read").await;
    let expected: Vec<i64> = (501..=1500).collect();
    assert_eq!((&told["messageIds"], &told["messageId"]), (&json!(expected), &json!(1500)));
    assert_eq!(app.get("/api/messaging/unread-count", &ann).await.ok()["unreadCount"], 0);
}

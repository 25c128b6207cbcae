//! When the database cannot be written for a while: what is accepted is stored or refused, never lost and never stored twice.

use serde_json::json;

use crate::support::{ROOMY, TestApp};

#[tokio::test]
async fn while_the_database_is_locked_writes_are_refused_as_unavailable_and_a_retry_is_stored_once() {
    let app = TestApp::with(ROOMY).await;
    let (ann, bob, conversation) = app.pair().await;
    let (a, b) = (app.socket(&ann).await, app.socket(&bob).await);
    b.done("join-conversation", conversation).await;
    let carl = app.user("carl").await;
    let send = || json!({"conversationId": conversation, "message": "hello?", "tempId": "temp-1700000000000"});

    app.database.lock().await;
    let (opened, sent) =
        tokio::join!(app.post("/api/messaging/conversations", &ann, json!({"otherUserId": carl.id})), a.ask("send-message", send()),);
    opened.refused(503, "unavailable");
    assert!(opened.header("retry-after").is_some());
    assert_eq!(sent["code"], "unavailable", "{sent}");
    assert_eq!(a.heard("message-failed").await["code"], "unavailable");
    assert_eq!(a.heard("error").await["code"], "unavailable");
    assert_eq!(app.get("/api/messaging/conversations", &ann).await.rows().len(), 1, "what was stored can be read");
    app.database.unlock().await;

    assert_eq!(b.rest_of("message-received").await.len(), 0, "nothing was announced");
    a.done("send-message", send()).await;
    assert_eq!(a.done("send-message", send()).await["message"]["message_text"], "hello?");
    assert_eq!(b.rest_of("message-received").await.len(), 1);
    assert_eq!(app.database.one::<i64>("SELECT COUNT(*) FROM messages").await, 1);
}

#[tokio::test]
async fn a_lock_shorter_than_the_patience_is_not_noticed() {
    let app = TestApp::with(ROOMY).await;
    let (ann, _, conversation) = app.pair().await;
    let a = app.socket(&ann).await;
    app.database.lock().await;
    let acks: Vec<u64> =
        (0..20).map(|n| a.emit_asking("send-message", json!({"conversationId": conversation, "message": n.to_string()}))).collect();
    // Reading is possible meanwhile, on the same socket's behalf.
    app.get(&format!("/api/messaging/conversations/{conversation}/messages"), &ann).await.rows();
    app.database.unlock().await;
    for (n, ack) in acks.into_iter().enumerate() {
        assert_eq!(a.acked(ack).await["message"]["message_text"], n.to_string());
    }
}

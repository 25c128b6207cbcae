//! The order of messages: of one socket, of several, in the database, on the wire and in the acks.

use serde_json::json;

use crate::support::{ROOMY, TestApp};

const MANY: usize = 2000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_socket_sends_is_stored_heard_and_acked_in_its_order() {
    let app = TestApp::with(ROOMY).await;
    let (ann, bob, conversation) = app.pair().await;
    let (sender, follower) = (app.socket(&ann).await, app.socket(&bob).await);
    follower.done("join-conversation", conversation).await;
    let acks: Vec<u64> = (0..MANY)
        .map(|n| sender.emit_asking("send-message", json!({"conversationId": conversation, "message": n.to_string(), "tempId": n})))
        .collect();

    let sent: Vec<String> = (0..MANY).map(|n| n.to_string()).collect();
    let mut ids = Vec::new();
    for (n, ack) in acks.into_iter().enumerate() {
        let message = &sender.acked(ack).await["message"];
        assert_eq!((&message["message_text"], &message["tempId"]), (&json!(sent[n]), &json!(n)));
        ids.push(message["id"].as_i64().expect("an id"));
    }
    assert!(ids.is_sorted_by(|a, b| a < b), "later messages have higher ids");
    let stored: Vec<String> = app.database.all("SELECT message_text FROM messages ORDER BY id").await;
    assert!(stored == sent, "stored in order");
    for socket in [&sender, &follower] {
        let heard: Vec<i64> = socket.rest_of("message-received").await.iter().filter_map(|m| m["id"].as_i64()).collect();
        assert!(heard == ids, "heard in order, once each");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_follower_hears_several_senders_in_the_order_of_the_ids() {
    let app = TestApp::with(ROOMY).await;
    let (ann, bob, conversation) = app.pair().await;
    let mut sockets = Vec::new();
    for user in [&ann, &bob, &ann, &bob] {
        let socket = app.socket(user).await;
        socket.done("join-conversation", conversation).await;
        sockets.push(socket);
    }
    let mut acks = Vec::new();
    for n in 0..100 {
        for (who, socket) in sockets.iter().enumerate() {
            acks.push((who, socket.emit_asking("send-message", json!({"conversationId": conversation, "message": format!("{who}:{n}")}))));
        }
    }
    for (who, ack) in acks {
        assert_eq!(sockets[who].acked(ack).await["ok"], true);
    }
    let stored: Vec<i64> = app.database.all("SELECT id FROM messages ORDER BY id").await;
    assert_eq!(stored.len(), 400);
    for socket in &sockets {
        let heard: Vec<i64> = socket.rest_of("message-received").await.iter().filter_map(|m| m["id"].as_i64()).collect();
        assert!(heard == stored, "heard in the order of the ids, once each");
    }
    for who in 0..4 {
        let own: Vec<String> =
            app.database.all(&format!("SELECT message_text FROM messages WHERE message_text LIKE '{who}:%' ORDER BY id")).await;
        assert!(own == (0..100).map(|n| format!("{who}:{n}")).collect::<Vec<_>>(), "each sender's own order is kept");
    }
}

#[tokio::test]
async fn what_is_emitted_the_moment_the_socket_is_connected_is_not_lost() {
    let app = TestApp::with(ROOMY).await;
    let (ann, _, conversation) = app.pair().await;
    let socket = app.socket(&ann).await;
    for n in 0..50 {
        socket.emit("send-message", json!({"conversationId": conversation, "message": n.to_string()}));
    }
    for n in 0..50 {
        assert_eq!(socket.heard("message-received").await["message_text"], n.to_string());
    }
}

#[tokio::test]
async fn a_full_inbound_queue_refuses_with_a_code_and_stores_nothing_of_it() {
    let app = TestApp::with(&ROOMY.replace("inbound_queue = 100000", "inbound_queue = 2")).await;
    let (ann, _, conversation) = app.pair().await;
    let socket = app.socket(&ann).await;
    let acks: Vec<u64> = (0..300)
        .map(|n| socket.emit_asking("send-message", json!({"conversationId": conversation, "message": n.to_string(), "tempId": n})))
        .collect();
    let mut kept = Vec::new();
    for (n, ack) in acks.into_iter().enumerate() {
        let ack = socket.acked(ack).await;
        if ack["ok"] == true {
            kept.push(n.to_string());
        } else {
            assert_eq!(ack["code"], "rate_limited", "{ack}");
            assert!(ack["retryAfterMs"].as_u64() > Some(0), "{ack}");
            let failed = socket.heard("message-failed").await;
            assert_eq!((&failed["code"], &failed["tempId"]), (&json!("rate_limited"), &json!(n)), "{failed}");
        }
    }
    let stored: Vec<String> = app.database.all("SELECT message_text FROM messages ORDER BY id").await;
    assert_eq!(stored, kept, "what was acked is stored, in order, and nothing else");
}

//! Where a room stands: what is stored while a socket joins, and what becomes of remembered positions when the database is put back under them.

use serde_json::{Value, json};

use crate::nodes::{becomes, two_nodes};
use crate::recovery::{back, following, message, texts};
use crate::support::{ROOMY, Socket, TestApp, User};

/// Joins again and again beside a sender: each message is in the history or is heard.
async fn joins_beside_a_sender(sending: &TestApp, joining: &TestApp) {
    let (ann, bob, conversation) = sending.pair().await;
    let (a, b) = (sending.socket(&ann).await, joining.socket(&bob).await);
    b.done("join-conversation", conversation).await;
    for round in 0..200 {
        b.done("leave-conversation", conversation).await;
        b.rest().await;
        let sends: Vec<u64> = (0..8)
            .map(|n| a.emit_asking("send-message", json!({"conversationId": conversation, "message": format!("{round} {n}")})))
            .collect();
        let join = b.emit_asking("join-conversation", conversation);
        let path = format!("/api/messaging/conversations/{conversation}/messages?limit=20");
        assert_eq!(b.acked(join).await["ok"], true);
        let history = joining.get(&path, &bob).await.ok();
        let mut newest = 0;
        for send in sends {
            newest = a.acked(send).await["message"]["id"].as_i64().expect("an id");
        }
        let mark = a.send(conversation, "mark").await["id"].as_i64().expect("an id");
        let mut known: Vec<i64> = history.as_array().expect("a list").iter().filter_map(|m| m["id"].as_i64()).collect();
        while known.last() != Some(&mark) {
            known.push(b.heard("message-received").await["id"].as_i64().expect("an id"));
        }
        let stored: Vec<i64> = sending.database.all(&format!("SELECT id FROM messages WHERE id > {newest} - 8 AND id <= {newest}")).await;
        assert!(stored.iter().all(|id| known.contains(id)), "round {round}: {stored:?} are stored, {known:?} known");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_stored_while_a_socket_joins_is_in_the_history_or_heard() {
    let app = TestApp::with(ROOMY).await;
    joins_beside_a_sender(&app, &app).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_node_stores_while_a_socket_joins_is_in_the_history_or_heard() {
    let Some((_redis, one, two)) = two_nodes().await else { return };
    joins_beside_a_sender(&one, &two).await;
}

async fn say(socket: &Socket, ticket: i64, text: &str) -> i64 {
    let ack = socket.done("send-support-message", json!({"ticketId": ticket, "message": text})).await;
    ack["message"]["id"].as_i64().expect("an id")
}

async fn tell(socket: &Socket, conversation: i64, text: &str) -> i64 {
    socket.send(conversation, text).await["id"].as_i64().expect("an id")
}

#[tokio::test]
async fn what_is_stored_after_a_backup_was_restored_is_told_whatever_its_id() {
    let app = TestApp::with(ROOMY).await;
    let (ann, bob, conversation) = app.pair().await;
    let (ticket, admin) = (app.ticket(&ann).await, app.admin("root").await);
    let (b, r) = (app.socket(&bob).await, app.socket(&admin).await);
    r.done("join-support", ticket).await;
    let (away, pid, old) = {
        let (away, pid, _) = following(&app, &ann, &b, conversation).await;
        for n in 0..5 {
            tell(&b, conversation, &format!("lost {n}")).await;
        }
        let mut offset = String::new();
        for _ in 0..5 {
            offset = message(&away).await.1;
        }
        (away, pid, offset)
    };
    let (a, here, _) = following(&app, &ann, &b, conversation).await;
    a.done("join-support", ticket).await;
    for n in 0..5 {
        say(&r, ticket, &format!("lost {n}")).await;
        a.heard("support-message-received").await;
    }
    away.cut();
    app.database.put_back("messages", 1).await;
    app.database.put_back("support_messages", 1).await;

    assert_eq!(tell(&b, conversation, "new 1").await, 2, "an id is given out again");
    let (text, offset) = message(&a).await;
    assert_eq!(text, "new 1");
    assert_eq!(say(&r, ticket, "new").await, 2);
    assert_eq!(a.heard("support-message-received").await["message_text"], "new");
    a.cut();
    tell(&b, conversation, "new 2").await;
    let a = back(&app, &ann, &here, Some(&offset)).await;
    assert_eq!(texts(&a).await, ["new 2"], "its position has gone back with the tables");

    let away = back(&app, &ann, &pid, Some(&old)).await;
    let told = texts(&away).await;
    assert!(told.ends_with(&["new 1".to_owned(), "new 2".to_owned()]), "{told:?}: a position that the tables do not reach is void");
    tell(&b, conversation, "new 3").await;
    assert_eq!(texts(&away).await, ["new 3"]);
}

#[tokio::test]
async fn after_a_restored_backup_every_node_tells_what_is_new() {
    let Some((_redis, one, two)) = two_nodes().await else { return };
    let (ann, bob, conversation) = one.pair().await;
    let (ticket, admin) = (one.ticket(&ann).await, one.admin("root").await);
    let (a, b, r) = (one.socket(&ann).await, two.socket(&bob).await, two.socket(&admin).await);
    for socket in [&a, &b] {
        socket.done("join-conversation", conversation).await;
    }
    r.done("join-support", ticket).await;
    for n in 0..5 {
        tell(&a, conversation, &format!("lost {n}")).await;
        say(&a, ticket, &format!("lost {n}")).await;
        b.heard("message-received").await;
        r.heard("support-message-received").await;
    }
    one.database.put_back("messages", 2).await;
    one.database.put_back("support_messages", 4).await;
    for n in 0..8 {
        let (sender, text) = (if n % 2 == 0 { &a } else { &b }, format!("new {n}"));
        tell(sender, conversation, &text).await;
        say(&a, ticket, &text).await;
        assert_eq!(b.heard("message-received").await["message_text"], text);
        assert_eq!(r.heard("support-message-received").await["message_text"], text);
    }
    for socket in [&b, &r] {
        assert_eq!(socket.rest_of("message-received").await, [] as [Value; 0], "nothing twice");
        assert_eq!(socket.rest_of("support-message-received").await, [] as [Value; 0], "nothing twice");
    }
}

/// The session of a socket that has followed a conversation and is gone.
async fn left_in(app: &TestApp, user: &User, conversation: i64) -> String {
    let left = app.recovering_socket(user).await;
    left.done("join-conversation", conversation).await;
    crate::recovery::saved(app, &left).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_a_restored_backup_nor_what_a_client_says_keeps_a_node_from_what_it_missed() {
    let Some((mut redis, one, two)) = two_nodes().await else { return };
    let (ann, bob, conversation) = one.pair().await;
    let a = one.socket(&ann).await;
    let pid = left_in(&two, &bob, conversation).await;
    // The first to follow the room on this node lies.
    let _liar = back(&two, &bob, &pid, Some(&format!("c{conversation}@9000000000000000"))).await;
    let b = two.socket(&bob).await;
    b.done("join-conversation", conversation).await;
    for put_back in [false, true] {
        for n in 0..3 {
            tell(&a, conversation, &format!("before {n}")).await;
            b.heard("message-received").await;
        }
        redis.kill();
        becomes(&one, "degraded").await;
        becomes(&two, "degraded").await;
        if put_back {
            one.database.put_back("messages", 1).await;
        }
        tell(&a, conversation, "meanwhile").await;
        redis.run().await;
        assert_eq!(b.heard("message-received").await["message_text"], "meanwhile");
        becomes(&one, "ok").await;
        becomes(&two, "ok").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_shares_a_conversation_with_news_is_nudged_however_much_a_node_has_missed() {
    let Some((mut redis, one, two)) = two_nodes().await else { return };
    let (ann, bob, conversation) = one.pair().await;
    let (carl, dora) = (one.user("carl").await, one.user("dora").await);
    let later = one.conversation(&carl, &dora).await;
    let (a, c) = (one.socket(&ann).await, one.socket(&carl).await);
    let (b, d) = (two.socket(&bob).await, two.socket(&dora).await);
    let first = tell(&a, conversation, "before").await;
    b.heard("conversation-updated").await;
    redis.kill();
    becomes(&one, "degraded").await;
    becomes(&two, "degraded").await;
    one.database.copy_message(first, 2500).await;
    tell(&c, later, "after all of them").await;
    redis.run().await;
    assert_eq!(b.heard("conversation-updated").await["conversationId"], conversation);
    assert_eq!(d.heard("conversation-updated").await["conversationId"], later);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_socket_has_missed_is_what_was_stored_after_it_entered_the_room_and_not_told_live() {
    let app = TestApp::with(ROOMY).await;
    let (ann, bob, conversation) = app.pair().await;
    let a = app.socket(&ann).await;
    let ids = |messages: &[Value]| messages.iter().map(|m| m["id"].as_i64().expect("an id")).collect::<Vec<_>>();
    for round in 0..150 {
        let b = app.recovering_socket(&bob).await;
        let sends: Vec<u64> = (0..8)
            .map(|n| a.emit_asking("send-message", json!({"conversationId": conversation, "message": format!("{round} {n}")})))
            .collect();
        assert_eq!(b.ask("join-conversation", conversation).await["ok"], true);
        let path = format!("/api/messaging/conversations/{conversation}/messages?limit=20");
        let history = ids(app.get(&path, &bob).await.ok().as_array().expect("a list"));
        let mut stored = Vec::new();
        for send in sends {
            stored.push(a.acked(send).await["message"]["id"].as_i64().expect("an id"));
        }
        let mark = tell(&a, conversation, "mark").await;
        let mut live = Vec::new();
        while live.last() != Some(&mark) {
            live.push(b.heard("message-received").await["id"].as_i64().expect("an id"));
        }
        let in_neither: Vec<i64> = stored.into_iter().filter(|id| !history.contains(id) && !live.contains(id)).collect();
        assert_eq!(in_neither, [] as [i64; 0], "round {round}");
        let pid = b.pid().await;
        b.cut();
        // It has kept no offset: it gets again what is newer than its join.
        let b = back(&app, &bob, &pid, None).await;
        let replayed = ids(&b.rest_of("message-received").await);
        let of_before: Vec<i64> = replayed.into_iter().filter(|id| !live.contains(id)).collect();
        assert_eq!(of_before, [] as [i64; 0], "round {round}: it was in the history when the room was entered");
        b.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_offset_that_is_ahead_takes_nothing_from_others_who_follow_the_room_on_that_node() {
    let Some((mut redis, one, two)) = two_nodes().await else { return };
    let (ann, bob, conversation) = one.pair().await;
    let a = one.socket(&ann).await;
    let pid = left_in(&two, &bob, conversation).await;
    let newest = tell(&a, conversation, "before").await;
    let _liar = back(&two, &bob, &pid, Some(&format!("c{conversation}@{}", newest + 3))).await;
    let b = two.socket(&bob).await;
    b.done("join-conversation", conversation).await;
    redis.kill();
    becomes(&one, "degraded").await;
    becomes(&two, "degraded").await;
    for n in 0..6 {
        tell(&a, conversation, &format!("missed {n}")).await;
    }
    redis.run().await;
    for n in 0..6 {
        assert_eq!(b.heard("message-received").await["message_text"], format!("missed {n}"));
    }
}

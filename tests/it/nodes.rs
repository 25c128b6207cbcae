//! Several nodes over one database and one Redis behave as one server: also when Redis is away, and when a node dies.

use std::{collections::BTreeSet, process::Command, time::Duration};

use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::{DEADLINE, Database, Process, ROOMY, RedisServer, Socket, TestApp, User};

/// The settings of a node.
pub fn settings(redis: &RedisServer) -> String {
    format!("redis_url = \"{}\"\n{ROOMY}", redis.url())
}

/// Two nodes, and their Redis.
pub async fn two_nodes() -> Option<(RedisServer, TestApp, TestApp)> {
    let redis = RedisServer::start().await?;
    let one = TestApp::with(&settings(&redis)).await;
    let two = one.another().await;
    for node in [&one, &two] {
        becomes(node, "ok").await;
    }
    Some((redis, one, two))
}

/// Waits until a node says this of itself.
pub async fn becomes(node: &TestApp, status: &str) {
    let asking = async { while node.answer(node.request("GET", "/readyz")).await.ok()["status"] != status {} };
    timeout(DEADLINE * 3, asking).await.unwrap_or_else(|_| panic!("the node becomes {status}"));
}

fn texts(messages: &[Value]) -> Vec<String> {
    messages.iter().map(|m| m["message_text"].as_str().expect("a text").to_owned()).collect()
}

/// The texts of the next messages that a socket hears.
async fn hears(socket: &Socket, count: usize) -> Vec<String> {
    let mut messages = Vec::new();
    for _ in 0..count {
        messages.push(socket.heard("message-received").await);
    }
    texts(&messages)
}

#[tokio::test]
async fn what_happens_on_one_node_is_heard_on_the_other() {
    let Some((_redis, one, two)) = two_nodes().await else { return };
    let (ann, bob, conversation) = one.pair().await;
    let admin = one.admin("root").await;
    let (a, b, r) = (one.socket(&ann).await, two.socket(&bob).await, two.socket(&admin).await);
    assert_eq!(a.heard("user-online").await["userId"], bob.id);
    a.done("join-conversation", conversation).await;
    b.done("join-conversation", conversation).await;

    a.done("send-message", json!({"conversationId": conversation, "message": "hi", "tempId": "temp-1"})).await;
    let message = b.heard("message-received").await;
    assert_eq!((&message["message_text"], &message["tempId"]), (&json!("hi"), &json!("temp-1")));
    assert_eq!(b.heard("conversation-updated").await["conversationId"], conversation);
    b.done("mark-as-read", json!({"conversationId": conversation})).await;
    assert_eq!(a.heard("message-read").await["messageId"], message["id"]);

    a.done("typing", json!({"conversationId": conversation})).await;
    assert_eq!(b.heard("user-typing").await["userId"], ann.id);
    let late = two.socket(&bob).await;
    late.done("join-conversation", conversation).await;
    assert_eq!(late.heard("user-typing").await["userId"], ann.id, "who joins later is told, too");
    a.done("stop-typing", json!({"conversationId": conversation})).await;
    assert_eq!(b.heard("user-stopped-typing").await["userId"], ann.id);

    let ticket = one.ticket(&ann).await;
    assert_eq!(r.heard("ticket-updated").await["created"], true);
    a.done("join-support", ticket).await;
    r.done("join-support", ticket).await;
    r.done("send-support-message", json!({"ticketId": ticket, "message": "how can I help?"})).await;
    assert_eq!(a.heard("support-message-received").await["message_text"], "how can I help?");
    assert_eq!(a.heard("ticket-updated").await["status"], "in_progress");

    // A conversation that is opened on one node makes contacts on both.
    let carl = one.user("carl").await;
    let c = two.socket(&carl).await;
    one.conversation(&ann, &carl).await;
    assert_eq!(a.heard("user-online").await["userId"], carl.id);
    assert_eq!(c.heard("user-online").await["userId"], ann.id);
}

#[tokio::test]
async fn a_user_with_sockets_on_two_nodes_goes_offline_when_both_are_gone() {
    let Some((_redis, one, two)) = two_nodes().await else { return };
    let (ann, bob, _) = one.pair().await;
    let b = two.socket(&bob).await;
    let (here, there) = (one.socket(&ann).await, two.socket(&ann).await);
    assert_eq!(b.heard("user-online").await["userId"], ann.id);
    here.close().await;
    let other = one.socket(&ann).await;
    other.close().await;
    // A message by the same way as the news of the nodes comes after all that they have said.
    there.close().await;
    assert_eq!(b.heard("user-offline").await["userId"], ann.id);
    let heard = b.rest().await;
    let changes: Vec<_> =
        heard.iter().filter(|event| event.name == "user-status-changed").map(|event| &event.arguments[0]["status"]).collect();
    assert_eq!(changes, ["online", "offline"], "once each");
}

#[tokio::test]
async fn a_node_that_comes_later_knows_who_is_online_and_one_that_stops_takes_them_along() {
    let Some((_redis, one, mut two)) = two_nodes().await else { return };
    let (ann, bob, _) = one.pair().await;
    let _a = two.socket(&ann).await;
    let three = one.another().await;
    becomes(&three, "ok").await;
    let b = three.socket(&bob).await;
    knows(&b, &[&ann]).await;
    two.stop().await;
    assert_eq!(b.heard("user-offline").await["userId"], ann.id);
}

#[tokio::test]
async fn a_guest_is_corroborated_by_a_request_to_another_node() {
    let Some((_redis, one, two)) = two_nodes().await else { return };
    let (ann, bob, conversation) = one.pair().await;
    let agent = [("user-agent", "a browser")];
    let before = two.guest(&agent).await;
    before.emit("user-online", json!({"userId": ann.id}));
    before.fence().await;
    one.answer(one.request("GET", "/api/messaging/unread-count").bearer_auth(&ann.token).header("user-agent", "a browser")).await.ok();
    let b = one.socket(&bob).await;
    let nudged = async {
        loop {
            b.send(conversation, "are you there?").await;
            if !before.rest_of("conversation-updated").await.is_empty() {
                return;
            }
        }
    };
    timeout(DEADLINE, nudged).await.expect("the claim counts after the request");
    let after = two.guest(&agent).await;
    after.emit("user-online", json!({"userId": ann.id}));
    after.fence().await;
    b.send(conversation, "hello?").await;
    assert_eq!(after.heard("conversation-updated").await, json!({}), "and a claim after it at once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_that_store_in_one_conversation_at_once_tell_every_follower_each_message_once_in_order() {
    let Some((_redis, one, two)) = two_nodes().await else { return };
    let (ann, bob, conversation) = one.pair().await;
    let (a, b) = (one.socket(&ann).await, two.socket(&bob).await);
    let (c, d) = (one.socket(&bob).await, two.socket(&ann).await);
    for socket in [&a, &b, &c, &d] {
        socket.done("join-conversation", conversation).await;
    }
    let send = async |socket: &Socket, name: &str| {
        for round in 0..20 {
            let ask =
                |n| socket.emit_asking("send-message", json!({"conversationId": conversation, "message": format!("{name} {round} {n}")}));
            for ack in (0..10).map(ask).collect::<Vec<_>>() {
                assert_eq!(socket.acked(ack).await["ok"], true);
            }
        }
    };
    tokio::join!(send(&a, "ann"), send(&b, "bob"));
    let stored: Vec<String> = one.database.all("SELECT message_text FROM messages ORDER BY id").await;
    assert_eq!(stored.len(), 400);
    for socket in [&a, &b, &c, &d] {
        assert_eq!(hears(socket, 400).await, stored);
        assert_eq!(socket.rest_of("message-received").await.len(), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_redis_is_away_each_node_serves_its_own_and_heals_when_it_is_back() {
    let Some((mut redis, one, two)) = two_nodes().await else { return };
    let (ann, bob, conversation) = one.pair().await;
    let ticket = one.ticket(&ann).await;
    let admin = one.admin("root").await;
    let (a, near, far) = (one.socket(&ann).await, one.socket(&bob).await, two.socket(&bob).await);
    let idle = two.socket(&bob).await;
    let r = two.socket(&admin).await;
    for socket in [&a, &near, &far] {
        socket.done("join-conversation", conversation).await;
    }
    r.done("join-support", ticket).await;
    a.send(conversation, "before").await;
    assert_eq!(hears(&far, 1).await, ["before"]);
    idle.heard("conversation-updated").await;

    redis.kill();
    becomes(&one, "degraded").await;
    becomes(&two, "degraded").await;
    assert_eq!(one.metric("tidings_up{part=\"redis\"}").await, 0.0);
    for n in 0..5 {
        a.send(conversation, &n.to_string()).await;
    }
    a.done("send-support-message", json!({"ticketId": ticket, "message": "help"})).await;
    assert_eq!(hears(&near, 6).await.len(), 6, "those of the same node hear at once");
    far.done("typing", json!({"conversationId": conversation})).await;
    assert_eq!(far.rest_of("message-received").await.len(), 0);
    let fresh = two.user("dora").await;
    two.socket(&fresh).await.fence().await;

    redis.run().await;
    assert_eq!(hears(&far, 5).await, ["0", "1", "2", "3", "4"], "what was missed, in order");
    assert_eq!(r.heard("support-message-received").await["message_text"], "help");
    idle.heard("conversation-updated").await;
    becomes(&one, "ok").await;
    becomes(&two, "ok").await;
    let parts = (one.metric("tidings_up{part=\"redis\"}").await, one.metric("tidings_reconnections_total{part=\"redis\"}").await);
    assert_eq!(parts, (1.0, 1.0));
    a.send(conversation, "after").await;
    assert_eq!(hears(&far, 1).await, ["after"]);
    for socket in [&far, &near, &a] {
        let rest = texts(&socket.rest_of("message-received").await);
        let twice: BTreeSet<&String> = rest.iter().filter(|text| *text == "before").collect();
        assert!(rest.len() == BTreeSet::from_iter(&rest).len() && (rest.is_empty() || twice.len() < 2), "nothing twice: {rest:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_connected_to_a_node_that_is_killed_recovers_on_another_and_goes_offline_otherwise() {
    let Some(redis) = RedisServer::start().await else { return };
    let two = TestApp::with(&settings(&redis)).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("config.toml"), settings(&redis)).expect("the settings are written");
    let process = Process::start(folder.path(), &two.database.url);
    let one = TestApp::of(&process, Database::beside(&two.database).await);
    becomes(&one, "ok").await;
    let (ann, bob, conversation) = two.pair().await;
    let carl = two.user("carl").await;
    two.conversation(&bob, &carl).await;
    let (a, b, _c) = (one.recovering_socket(&ann).await, two.socket(&bob).await, one.socket(&carl).await);
    a.done("join-conversation", conversation).await;
    b.done("join-conversation", conversation).await;
    let pid = crate::recovery::saved(&two, &a).await;
    b.send(conversation, "heard").await;
    let offset = a.heard_whole("message-received").await.arguments[1].clone();
    knows(&b, &[&ann, &carl]).await;

    drop(process);
    b.send(conversation, "missed 1").await;
    b.send(conversation, "missed 2").await;
    let a = back(&two, &ann, &pid, &offset).await;
    assert_eq!(hears(&a, 2).await, ["missed 1", "missed 2"]);
    b.send(conversation, "after").await;
    assert_eq!(hears(&a, 1).await, ["after"]);
    assert_eq!(a.rest_of("message-received").await.len(), 0);

    // Ann came back in time; Carl did not.
    let offline = b.heard_within(Duration::from_secs(30), "user-offline").await;
    assert_eq!(offline.arguments[0]["userId"], carl.id);
}

/// Waits until a socket is told that these users are online.
async fn knows(socket: &Socket, users: &[&User]) {
    let told = async {
        loop {
            socket.emit("user-online", Value::Null);
            let online = socket.heard("online-users").await;
            let online = online.as_array().expect("a list");
            if users.iter().all(|user| online.contains(&json!(user.id))) {
                return;
            }
        }
    };
    timeout(DEADLINE, told).await.expect("they are online");
}

async fn back(node: &TestApp, user: &User, pid: &str, offset: &Value) -> Socket {
    let auth = json!({"token": user.token, "recovery": true, "pid": pid, "offset": offset});
    node.connect(auth, &[]).await.expect("comes back")
}

#[tokio::test]
async fn a_client_that_moves_to_another_node_takes_its_socket_along() {
    let Some((_redis, one, two)) = two_nodes().await else { return };
    let (ann, bob, conversation) = one.pair().await;
    let (a, b) = (one.recovering_socket(&ann).await, two.socket(&bob).await);
    a.done("join-conversation", conversation).await;
    let pid = crate::recovery::saved(&two, &a).await;
    b.send(conversation, "heard").await;
    let offset = a.heard_whole("message-received").await.arguments[1].clone();
    let moved = back(&two, &ann, &pid, &offset).await;
    a.closed().await;
    b.send(conversation, "after").await;
    assert_eq!(hears(&moved, 1).await, ["after"]);
}

#[tokio::test]
async fn several_nodes_on_an_sqlite_file_are_refused_with_a_reason() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let database = Database::sqlite(folder.path()).await;
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
    command.current_dir(folder.path()).env("DATABASE_URL", &database.url).env("REDIS_URL", "redis://:password@127.0.0.1:1");
    let output = command.output().expect("the program runs");
    let sentence = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && sentence.contains("several nodes cannot share an SQLite file"), "{sentence}");
    assert!(!sentence.contains("password"), "{sentence}");
}

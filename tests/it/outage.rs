//! When the database cannot be written for a while: what is accepted is stored or refused, never lost and never stored twice.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use serde_json::json;
use tokio::time::timeout;

use crate::support::{Break, CUT_OFF, DEADLINE, Database, DatabaseServer, ROOMY, Socket, TestApp, Wire};

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

/// A server over a database of its own, on a database server of this test or by a wire to it.
pub async fn app_on(url: &str) -> TestApp {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let database = Database::on(url).await;
    TestApp::over(database, folder, ROOMY).await
}

/// What became of messages that were sent one after the other, each as soon as the last one was answered.
#[derive(Default)]
struct Sent {
    stored: Vec<String>,
    failed: Vec<String>,
}

impl Sent {
    /// Sends `name`-numbered messages until `enough`.
    async fn until(mut self, socket: &Socket, conversation: i64, name: &str, enough: &AtomicBool) -> Self {
        for n in 0.. {
            let text = format!("{name} {n}");
            let ack = socket.ask("send-message", json!({"conversationId": conversation, "message": text})).await;
            match ack["code"].as_str() {
                None => self.stored.push(text),
                Some("unavailable") => self.failed.push(text),
                Some(_) => panic!("{ack}"),
            }
            if enough.load(Ordering::Relaxed) {
                break;
            }
            tokio::task::yield_now().await;
        }
        self
    }
}

/// What was acknowledged is there once and was heard once, in order; what failed is not.
async fn check(app: &TestApp, conversation: i64, sent: &[Sent], heard: &Socket) {
    let sql = format!("SELECT message_text FROM messages WHERE conversation_id = {conversation} ORDER BY id");
    let rows: Vec<String> = app.database.all(&sql).await;
    let mut stored: Vec<&String> = sent.iter().flat_map(|s| &s.stored).collect();
    let mut found: Vec<&String> = rows.iter().collect();
    stored.sort();
    found.sort();
    assert!(stored == found, "{} were acknowledged, {} are stored", stored.len(), found.len());
    let failed: BTreeSet<&String> = sent.iter().flat_map(|s| &s.failed).collect();
    assert!(!rows.iter().any(|row| failed.contains(row)), "what failed is not stored");
    let heard: Vec<_> = heard.rest_of("message-received").await.into_iter().map(|m| m["message_text"].clone()).collect();
    assert!(heard == rows, "{} were heard, {} are stored", heard.len(), rows.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_database_server_is_down_sockets_stay_typing_and_presence_go_on_and_nothing_is_lost() {
    let Some(mut server) = DatabaseServer::start().await else { return };
    let app = app_on(&server.url()).await;
    let (ann, bob, conversation) = app.pair().await;
    let (carl, dora) = (app.user("carl").await, app.user("dora").await);
    app.conversation(&bob, &carl).await;
    let (one, two, b, c) = (app.socket(&ann).await, app.socket(&ann).await, app.socket(&bob).await, app.socket(&carl).await);
    // Who types where nothing is followed yet follows it from then on, and for that the database is asked.
    for socket in [&one, &two, &b] {
        socket.done("join-conversation", conversation).await;
    }
    let enough = AtomicBool::new(false);
    let outage = async {
        until(|| async { app.database.one::<i64>("SELECT COUNT(*) FROM messages").await > 0 }).await;
        server.kill();
        // Within two seconds it is known that there is no database …
        until(|| async { app.answer(app.request("GET", "/readyz")).await.status == 503 }).await;
        until(|| async { app.get("/api/messaging/conversations", &ann).await.status == 503 }).await;
        let refused = app.get("/api/messaging/conversations", &ann).await;
        refused.refused(503, "unavailable");
        assert!(refused.header("retry-after").is_some());
        let refused = app.post("/api/messaging/conversations", &ann, json!({"otherUserId": carl.id})).await;
        refused.refused(503, "unavailable");
        // … and what needs none goes on.
        one.done("typing", json!({"conversationId": conversation})).await;
        assert_eq!(b.heard("user-typing").await["userId"], ann.id);
        c.close().await;
        assert_eq!(b.heard("user-offline").await["userId"], carl.id);
        let c = app.socket(&carl).await;
        let online = async { while b.heard("user-online").await["userId"] != carl.id {} };
        timeout(DEADLINE, online).await.expect("bob hears that carl is back");
        one.refused("mark-as-read", json!({"conversationId": conversation}), "unavailable").await;
        // Who has not been seen lately cannot be let in: told so, or cut off where a client comes back by itself only then.
        assert!(app.connect(json!({"token": dora.token}), &[]).await.is_err_and(|why| why.contains("temporarily unavailable")));
        let page = app.connect(json!({"token": dora.token, "recovery": true}), &[]).await;
        assert_eq!(page.err().as_deref(), Some(CUT_OFF));
        server.run().await;
        // A moment later everything works, without a restart.
        let back = async {
            while app.get("/api/messaging/conversations", &ann).await.status != 200 {}
            while app.answer(app.request("GET", "/readyz")).await.status != 200 {}
        };
        timeout(Duration::from_secs(2), back).await.expect("it is back within two seconds");
        c.send(app.conversation(&bob, &carl).await, "I am back").await;
        enough.store(true, Ordering::Relaxed);
    };
    let (one, two, ()) = tokio::join!(
        Sent::default().until(&one, conversation, "one", &enough),
        Sent::default().until(&two, conversation, "two", &enough),
        outage
    );
    assert!(one.failed.len() + two.failed.len() > 2, "some failed");
    check(&app, conversation, &[one, two], &b).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_server_that_hangs_is_away_until_it_answers_again() {
    let Some(server) = DatabaseServer::start().await else { return };
    let app = app_on(&server.url()).await;
    let (ann, bob, conversation) = app.pair().await;
    let (a, b) = (app.socket(&ann).await, app.socket(&bob).await);
    b.done("join-conversation", conversation).await;
    let enough = AtomicBool::new(false);
    let outage = async {
        until(|| async { app.database.one::<i64>("SELECT COUNT(*) FROM messages").await > 0 }).await;
        server.freeze(true);
        until(|| async { app.answer(app.request("GET", "/readyz")).await.status == 503 }).await;
        let asked = timeout(Duration::from_secs(5), app.get("/api/messaging/unread-count", &bob)).await;
        asked.expect("it fails within five seconds").refused(503, "unavailable");
        let sent =
            timeout(Duration::from_secs(5), b.ask("send-message", json!({"conversationId": conversation, "message": "hello?"}))).await;
        assert_eq!(sent.expect("it fails within five seconds")["code"], "unavailable");
        assert_eq!(app.metric("tidings_up{part=\"database\"}").await, 0.0);
        server.freeze(false);
        let back = async { while app.get("/api/messaging/unread-count", &bob).await.status != 200 {} };
        timeout(Duration::from_secs(2), back).await.expect("it is back within two seconds");
        assert!(app.metric("tidings_reconnections_total{part=\"database\"}").await > 0.0);
        until(|| async { app.metric("tidings_up{part=\"database\"}").await == 1.0 }).await;
        enough.store(true, Ordering::Relaxed);
    };
    let (sent, ()) = tokio::join!(Sent::default().until(&a, conversation, "ann", &enough), outage);
    check(&app, conversation, &[sent], &b).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_is_lost_is_looked_up_before_it_is_answered() {
    let Some(server) = DatabaseServer::start().await else { return };
    let wire = Wire::to(&server).await;
    let app = app_on(&wire.url()).await;
    let (ann, bob, conversation) = app.pair().await;
    let ticket = app.ticket(&ann).await;
    let (a, b) = (app.socket(&ann).await, app.socket(&bob).await);
    b.done("join-conversation", conversation).await;
    a.send(conversation, "before").await;
    let read = |code: Option<&str>| json!({"ok": code.is_none(), "code": code});
    for (when, code) in [(Break::After, None), (Break::Before, Some("unavailable"))] {
        let expected = read(code);
        for (socket, name, payload) in [
            (&a, "send-message", json!({"conversationId": conversation, "message": format!("{when:?}")})),
            (&a, "send-support-message", json!({"ticketId": ticket, "message": format!("{when:?}")})),
            (&b, "mark-as-read", json!({"conversationId": conversation})),
        ] {
            wire.break_at_commit(when);
            let ack = socket.ask(name, payload).await;
            wire.broken().await;
            assert_eq!(json!({"ok": ack["ok"], "code": ack["code"]}), expected, "{name} {when:?}");
        }
        let (status, carl) = (if code.is_none() { 201 } else { 503 }, app.user("carl").await);
        let fields = json!({"username": "dora", "email": format!("{when:?}@test.example"), "password": "a good password"});
        let requests = [
            ("/api/messaging/conversations", json!({"otherUserId": carl.id})),
            ("/api/messaging/support/tickets", json!({"subject": format!("{when:?}"), "description": "It broke"})),
            ("/api/auth/register", fields),
        ];
        for (path, body) in requests {
            wire.break_at_commit(when);
            let answer = app.post(path, &ann, body).await;
            wire.broken().await;
            assert_eq!(answer.status, status, "{path} {when:?}: {answer:?}");
        }
        a.send(conversation, "between").await;
    }
    assert_eq!(app.database.one::<i64>("SELECT COUNT(*) FROM conversations").await, 2);
    assert_eq!(app.database.all::<String>("SELECT subject FROM support_tickets").await, ["Help", "After"]);
    assert_eq!(app.database.one::<i64>("SELECT COUNT(*) FROM users WHERE username = 'dora'").await, 1);
    let texts: Vec<String> = app.database.all("SELECT message_text FROM messages ORDER BY id").await;
    assert_eq!(texts, ["before", "After", "between", "between"]);
    assert_eq!(b.rest_of("message-received").await.len(), texts.len(), "each was heard once");
    assert_eq!(app.database.all::<String>("SELECT message_text FROM support_messages").await, ["After"]);
    let read: Vec<String> = app.database.all("SELECT message_text FROM messages WHERE read_at IS NOT NULL ORDER BY id").await;
    assert_eq!(read, ["before", "After"]);
}

/// Asks until it is so.
pub async fn until<F: Future<Output = bool>>(is_so: impl Fn() -> F) {
    let asking = async {
        while !is_so().await {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, asking).await.expect("it becomes so");
}

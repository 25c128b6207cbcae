//! Writes: what was accepted is done and told, whoever went away; users take turns; and no job is so large that others wait for it.

use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, net::TcpStream, time::timeout};

use crate::support::{DEADLINE, Database, DatabaseServer, ROOMY, TestApp, User};

/// Sends a request and goes away when the writer is at it, while the database is locked.
async fn ask_and_go(app: &TestApp, method: &str, path: &str, user: &User, body: Value) {
    app.database.lock().await;
    let body = body.to_string();
    let head = format!("{method} /api/messaging{path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n", user.token);
    let request = format!("{head}content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let mut connection = TcpStream::connect(app.address).await.expect("connects");
    connection.write_all(request.as_bytes()).await.expect("is sent");
    until_metric(app, "tidings_writer_busy_seconds", |busy| busy > 0.0).await;
    drop(connection);
    // By then the server has heard of it.
    for _ in 0..3 {
        app.answer(app.request("GET", "/healthz")).await.ok();
    }
    app.database.unlock().await;
}

async fn until_metric(app: &TestApp, sample: &str, is_so: impl Fn(f64) -> bool) {
    let asking = async { while !is_so(app.metric(sample).await) {} };
    timeout(DEADLINE, asking).await.unwrap_or_else(|_| panic!("{sample} does not become so"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_accepted_is_told_though_the_client_goes_away_before_it_is_stored() {
    let app = TestApp::with(ROOMY).await;
    let (ann, bob, conversation) = app.pair().await;
    let (carl, root) = (app.user("carl").await, app.admin("root").await);
    let ticket = app.ticket(&ann).await;
    let (a, b, c, r) = (app.socket(&ann).await, app.socket(&bob).await, app.socket(&carl).await, app.socket(&root).await);
    a.done("join-conversation", conversation).await;
    a.done("join-support", ticket).await;
    a.send(conversation, "read me").await;
    a.rest().await;

    ask_and_go(&app, "POST", &format!("/conversations/{conversation}/mark-read"), &bob, json!({})).await;
    assert_eq!(a.heard("message-read").await["readerId"], bob.id);
    b.heard("conversation-updated").await;

    ask_and_go(&app, "PUT", &format!("/support/tickets/{ticket}/status"), &root, json!({"status": "resolved"})).await;
    assert_eq!(a.heard("ticket-updated").await["status"], "resolved");

    ask_and_go(&app, "POST", &format!("/support/tickets/{ticket}/respond"), &root, json!({"message": "done"})).await;
    assert_eq!(a.heard("support-message-received").await["message_text"], "done");

    r.rest().await;
    ask_and_go(&app, "POST", "/support/tickets", &bob, json!({"subject": "Help", "description": "It broke"})).await;
    assert_eq!(r.heard("ticket-updated").await["created"], true);

    ask_and_go(&app, "POST", "/conversations", &ann, json!({"otherUserId": carl.id})).await;
    assert_eq!(c.heard("user-online").await["userId"], ann.id, "they are contacts");
    c.heard("conversation-updated").await;

    // A socket's event goes on as well.
    app.database.lock().await;
    b.emit("send-message", json!({"conversationId": conversation, "message": "and gone"}));
    until_metric(&app, "tidings_writer_busy_seconds", |busy| busy > 0.0).await;
    b.cut();
    app.database.unlock().await;
    while a.heard("message-received").await["message_text"] != "and gone" {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_messages_are_marked_in_pieces_between_which_others_have_their_turn() {
    let app = TestApp::with(ROOMY).await;
    let (ann, bob, conversation) = app.pair().await;
    let (a, b) = (app.socket(&ann).await, app.socket(&bob).await);
    let first = a.send(conversation, "1").await["id"].as_i64().expect("an id");
    app.database.copy_message(first, 6_999).await;
    for socket in [&a, &b] {
        socket.done("join-conversation", conversation).await;
    }
    b.rest().await;
    app.database.lock().await;
    let marking = b.emit_asking("mark-as-read", json!({"conversationId": conversation}));
    until_metric(&app, "tidings_writer_busy_seconds", |busy| busy > 0.0).await;
    let sending = a.emit_asking("send-message", json!({"conversationId": conversation, "message": "in between"}));
    until_metric(&app, "tidings_queue_items{queue=\"writer\"}", |waiting| waiting == 1.0).await;
    app.database.unlock().await;
    assert_eq!(b.acked(marking).await["updated"], 7_000);
    let before: Vec<_> = b.so_far().into_iter().filter(|event| event.name == "message-received").collect();
    assert_eq!(before.len(), 1, "the message did not wait for all of them");
    let sent = a.acked(sending).await["message"]["id"].clone();
    let read = a.heard("message-read").await;
    let newest: Vec<i64> = app.database.all("SELECT id FROM messages WHERE message_text <> 'in between' ORDER BY id DESC LIMIT 1000").await;
    let told: Vec<i64> = read["messageIds"].as_array().expect("ids").iter().rev().filter_map(Value::as_i64).collect();
    assert!(told == newest && read["messageId"] == newest[0], "the newest thousand are told");
    assert!(a.rest_of("message-read").await.is_empty(), "once");
    let unread: Vec<i64> = app.database.all("SELECT id FROM messages WHERE is_read = FALSE").await;
    assert_eq!(json!(unread), json!([sent]), "what came meanwhile is not read");
    let moments: i64 = app.database.one("SELECT COUNT(DISTINCT read_at) FROM messages WHERE read_at IS NOT NULL").await;
    assert_eq!(moments, 1, "they were read at one moment");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_take_turns_whatever_they_write() {
    let app = TestApp::with(&format!("{ROOMY}writer_batch = 8\n")).await;
    let (ann, root) = (app.user("ann").await, app.admin("root").await);
    let (busy, conversation) = (app.user("busy").await, app.conversation(&ann, &root).await);
    let (a, r) = (app.socket(&ann).await, app.socket(&root).await);
    r.done("join-conversation", conversation).await;
    let first = a.send(conversation, "before").await;
    r.rest().await;
    let ticket = |n: usize| {
        let body = json!({"subject": format!("Help {n}"), "description": "It broke"});
        app.request("POST", "/api/messaging/support/tickets").bearer_auth(&busy.token).json(&body).send()
    };
    app.database.lock().await;
    let burst = async { futures_util::future::join_all((0..24).map(ticket)).await };
    let send = async {
        until_metric(&app, "tidings_queue_items{queue=\"writer\"}", |waiting| waiting == 23.0).await;
        let ack = a.emit_asking("send-message", json!({"conversationId": conversation, "message": "after"}));
        until_metric(&app, "tidings_queue_items{queue=\"writer\"}", |waiting| waiting == 24.0).await;
        app.database.unlock().await;
        a.acked(ack).await
    };
    let (answers, ack) = tokio::join!(burst, send);
    assert!(answers.into_iter().all(|answer| answer.is_ok_and(|answer| answer.status() == 201)), "nothing is refused for being late");
    assert!(ack["message"]["id"].as_i64() > first["id"].as_i64(), "{ack}");
    let heard: Vec<String> = r.rest().await.into_iter().map(|event| event.name).collect();
    let at = heard.iter().filter(|name| *name != "conversation-updated").position(|name| name == "message-received");
    assert!(at.is_some_and(|at| at <= 4), "one message waits for one turn of the other user, not for the whole burst: {heard:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_has_only_so_many_writes_in_the_queue_and_others_theirs() {
    let app = TestApp::with(&ROOMY.replace("writer_queue_per_user = 100000", "writer_queue_per_user = 5")).await;
    let (ann, bob, conversation) = app.pair().await;
    let (a, b) = (app.socket(&ann).await, app.socket(&bob).await);
    let message = |text: &str| json!({"conversationId": conversation, "message": text});
    b.done("join-conversation", conversation).await;
    a.done("join-conversation", conversation).await;
    app.database.lock().await;
    let first = a.emit_asking("send-message", message("first"));
    until_metric(&app, "tidings_writer_busy_seconds", |busy| busy > 0.0).await;
    let flood: Vec<u64> = (0..20).map(|n| a.emit_asking("send-message", message(&n.to_string()))).collect();
    let other = b.emit_asking("send-message", message("of another"));
    until_metric(&app, "tidings_queue_items{queue=\"writer\"}", |waiting| waiting == 21.0).await;
    app.database.unlock().await;
    assert_eq!(a.acked(first).await["ok"], true);
    assert_eq!(b.acked(other).await["ok"], true);
    let mut codes = Vec::new();
    for ack in flood {
        codes.push(a.acked(ack).await["code"].clone());
    }
    assert_eq!(codes, [vec![Value::Null; 5], vec![json!("rate_limited"); 15]].concat());
    assert_eq!(app.database.one::<i64>("SELECT COUNT(*) FROM messages").await, 7, "what was refused is not stored");
    assert_eq!(app.metric("tidings_rate_limited_total{limit=\"writer_queue\"}").await, 15.0);
}

#[tokio::test]
async fn what_is_over_the_rate_is_refused_before_anything_is_read_or_written() {
    let app = TestApp::with("[limits]\nsends = { per_second = 1, burst = 1 }\nwrites = { per_second = 1, burst = 1 }").await;
    let (ann, bob) = (app.user("ann").await, app.user("bob").await);
    let conversation = app.conversation(&ann, &bob).await;
    let a = app.recovering_socket(&bob).await;
    let unknown = [("send-message", "conversationId"), ("send-support-message", "ticketId")];
    let to_nobody = unknown.iter().cycle().take(20).map(|(event, id)| a.emit_asking(event, json!({*id: 999_999, "message": "to nobody"})));
    let acks: Vec<u64> = to_nobody.collect();
    let last = a.emit_asking("send-message", json!({"conversationId": conversation, "message": "one more"}));
    let mut refused = 0;
    for ack in acks {
        refused += usize::from(a.acked(ack).await["code"] == "rate_limited");
    }
    assert!(refused > 10, "{refused} of 20 were refused before it was looked for what is not there");
    if a.acked(last).await["code"] == "rate_limited" {
        let saved: i64 = app.database.one("SELECT COUNT(*) FROM recovery_sessions").await;
        assert_eq!(saved, 0, "what is refused is no join");
    }
    // Nor is it looked for the user: this one does not exist.
    app.database.run(&format!("DELETE FROM users WHERE id = {}", ann.id)).await;
    let open = || app.post("/api/messaging/conversations", &ann, json!({"otherUserId": bob.id}));
    let answers = futures_util::future::join_all((0..20).map(|_| open())).await;
    assert!(answers.iter().filter(|answer| answer.status == 429).count() > 10, "{answers:?}");
}

#[tokio::test]
async fn what_a_socket_follows_is_saved_at_once_and_when_it_changes_too_often_once_a_second() {
    let app = TestApp::with(ROOMY).await;
    let (ann, bob, one) = app.pair().await;
    let carl = app.user("carl").await;
    let two = app.conversation(&ann, &carl).await;
    let a = app.recovering_socket(&ann).await;
    a.done("join-conversation", one).await;
    let pid = crate::recovery::saved(&app, &a).await;
    let before = app.metric("tidings_writer_batch_jobs_sum").await;
    for n in 0..101 {
        a.done("join-conversation", if n % 2 == 0 { two } else { one }).await;
    }
    let jobs = app.metric("tidings_writer_batch_jobs_sum").await - before;
    assert!(jobs < 30.0, "{jobs} writes for a hundred joins");
    // The last one is not lost, though the socket is.
    a.cut();
    let last = async {
        while !app
            .database
            .one::<String>(&format!("SELECT follows FROM recovery_sessions WHERE pid = '{pid}'"))
            .await
            .starts_with(&format!("c{two}@"))
        {}
    };
    timeout(DEADLINE, last).await.expect("what it followed last is saved");
    let c = app.socket(&carl).await;
    c.send(two, "missed").await;
    let back = app.connect(json!({"token": ann.token, "recovery": true, "pid": pid}), &[]).await.expect("it comes back");
    assert_eq!(back.heard("message-received").await["message_text"], "missed");
    app.socket(&bob).await.fence().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_is_no_larger_than_what_the_database_takes_and_what_alone_is_fails_alone() {
    let Some(server) = DatabaseServer::start().await else { return };
    let database = Database::on(&server.url()).await;
    if !database.url.starts_with("mysql") {
        return;
    }
    database.run("SET GLOBAL max_allowed_packet = 1048576").await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let app = TestApp::over(database, folder, &format!("{ROOMY}[messages]\nmax_length = 700000\n")).await;
    let (ann, bob, conversation) = app.pair().await;
    let (a, b) = (app.socket(&ann).await, app.socket(&bob).await);
    b.done("join-conversation", conversation).await;
    let send = |text: String| a.emit_asking("send-message", json!({"conversationId": conversation, "message": text}));
    app.database.lock().await;
    let mut acks = vec![send("first".to_owned())];
    until_metric(&app, "tidings_writer_busy_seconds", |busy| busy > 0.0).await;
    acks.extend((0..40).map(|_| send("😀".repeat(10_000))));
    until_metric(&app, "tidings_queue_items{queue=\"writer\"}", |waiting| waiting >= 40.0).await;
    app.database.unlock().await;
    let large = send("x".repeat(600_000));
    for ack in acks {
        assert_eq!(a.acked(ack).await["ok"], true);
    }
    assert_eq!(a.acked(large).await["code"], "message_too_long");
    assert_eq!(b.rest_of("message-received").await.len(), 41);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_waits_too_long_for_a_lock_of_somebody_else_fails_alone() {
    let app = TestApp::with(ROOMY).await;
    if app.database.url.starts_with("sqlite") {
        return; // It locks nothing but the whole file.
    }
    let (ann, bob, conversation) = app.pair().await;
    let (root, ticket) = (app.admin("root").await, app.ticket(&ann).await);
    let a = app.socket(&ann).await;
    app.database.run("START TRANSACTION").await;
    app.database.all::<i64>(&format!("SELECT id FROM support_tickets WHERE id = {ticket} FOR UPDATE")).await;
    let path = format!("/api/messaging/support/tickets/{ticket}/status");
    let change = app.put(&path, &root, json!({"status": "resolved"}));
    let send = async {
        until_metric(&app, "tidings_writer_busy_seconds", |busy| busy > 0.0).await;
        a.send(conversation, "waits, and is not refused").await
    };
    let (changed, _) = tokio::join!(change, send);
    changed.refused(503, "unavailable");
    app.database.run("COMMIT").await;
    assert_eq!(app.put(&path, &root, json!({"status": "resolved"})).await.status, 200);
    app.socket(&bob).await.send(conversation, "as well").await;
}

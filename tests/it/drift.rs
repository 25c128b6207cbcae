//! Adopted databases that years have changed: values that no type holds, tables in narrow character sets, rows of conversations that are gone.
//! They run on MariaDB, where such databases are, but for what can happen anywhere.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Database, Process, ROOMY, TestApp, User, legacy, legacy::*, program, token};

async fn over(database: Database) -> TestApp {
    TestApp::over(database, tempfile::tempdir().expect("a temporary folder"), ROOMY).await
}

fn user(id: i64) -> User {
    User { id, name: String::new(), token: token(id, Some("traveller"), Duration::from_secs(3600)) }
}

fn admin(id: i64) -> User {
    User { id, name: String::new(), token: token(id, Some("admin"), Duration::from_secs(3600)) }
}

/// Lets the connection of the test write what MariaDB calls invalid.
async fn lax(database: &Database) {
    database.run("SET SESSION sql_mode = 'ANSI_QUOTES'").await;
}

#[tokio::test]
async fn a_value_that_cannot_be_read_is_null_and_hinders_nobody() {
    let Some(database) = legacy::database().await else { return };
    lax(&database).await;
    for bad in [
        "UPDATE users SET dateOfBirth = '1990-00-00', \"isProfileCompleted\" = 7 WHERE id = 1",
        "UPDATE users SET dateOfBirth = '0000-00-00', created_at = 0 WHERE id = 2",
        "UPDATE conversations SET created_at = '0000-00-00 00:00:00', last_message_at = '2024-00-00 00:00:00' WHERE id IN (1, 4)",
        "UPDATE messages SET created_at = '0000-00-00 00:00:00', read_at = '2023-02-00 00:00:00', is_read = is_read * 7",
        "UPDATE support_tickets SET created_at = '0000-00-00 00:00:00', updated_at = '2024-13-00 00:00:00'",
        "UPDATE support_messages SET created_at = '0000-00-00 00:00:00', is_admin = -3 WHERE is_admin = 1",
    ] {
        database.run(bad).await;
    }
    let app = over(database).await;
    let me = app.get("/api/auth/me", &user(ANN)).await.ok();
    assert_eq!((&me["user"]["dateOfBirth"], &me["user"]["isProfileCompleted"]), (&Value::Null, &json!(1)));
    // The reads of those who come at once are one statement.
    let (ann, bob) = (user(ANN), user(BOB));
    let all = futures_util::future::join_all((0..20).map(|n| app.get("/api/auth/me", if n % 2 == 0 { &ann } else { &bob }))).await;
    assert!(all.iter().all(|answer| answer.status == 200), "{all:?}");
    let inbox = app.get("/api/messaging/conversations", &ann).await.rows();
    assert_eq!(inbox.len(), 4);
    let shown = inbox.iter().find(|row| row["id"] == ANN_BOB).expect("it is there");
    assert_eq!((&shown["created_at"], &shown["unread_count"]), (&json!("1970-01-01T00:00:00.000Z"), &json!(2)));
    let history = app.get(&format!("/api/messaging/conversations/{ANN_BOB}/messages"), &ann).await.rows();
    assert_eq!((history.len(), &history[0]["is_read"], &history[0]["read_at"]), (5, &json!(true), &Value::Null));
    let tickets = app.get("/api/messaging/support/tickets/admin/all", &admin(BOB)).await.rows();
    assert_eq!((tickets.len(), &tickets[0]["updated_at"]), (4, &json!("1970-01-01T00:00:00.000Z")));
    let ticket = app.get("/api/messaging/support/tickets/1", &ann).await.ok();
    assert_eq!(ticket["messages"][2]["is_admin"], true);
    let socket = app.socket(&ann).await;
    assert_eq!(socket.done("mark-as-read", json!({"conversationId": ANN_BOB})).await["updated"], 2);
    let answered = app.post("/api/messaging/support/tickets/1/respond", &admin(BOB), json!({"message": "here"})).await.ok();
    assert_eq!(answered["success"], true);
}

#[tokio::test]
async fn what_a_narrow_table_cannot_hold_is_refused_and_not_quoted_in_the_log() {
    let Some(database) = legacy::database().await else { return };
    lax(&database).await;
    for (table, charset) in [("messages", "latin1"), ("users", "utf8mb3"), ("support_tickets", "utf8mb3"), ("support_messages", "latin1")] {
        database.run(&format!("ALTER TABLE {table} CONVERT TO CHARACTER SET {charset}")).await;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let doctor = program(&[], folder.path(), &database.url).arg("doctor").output().expect("it runs");
    let doctor = String::from_utf8(doctor.stdout).expect("text");
    let advice = "ALTER TABLE messages CONVERT TO CHARACTER SET utf8mb4";
    assert!(doctor.contains("messages.message_text (latin1)") && doctor.contains(advice), "{doctor}");
    let mut process = Process::start(folder.path(), &database.url);
    let app = TestApp::of(&process, database);
    let (ann, bob) = (app.socket(&user(ANN)).await, app.socket(&user(BOB)).await);
    bob.done("join-conversation", ANN_BOB).await;
    for text in ["🦜 squawk", "Жук", "fine again"] {
        let ack = ann.emit_asking("send-message", json!({"conversationId": ANN_BOB, "message": text}));
        let acked = ann.acked(ack).await;
        assert_eq!(acked["code"].as_str(), (text != "fine again").then_some("invalid_payload"), "{text}: {acked}");
    }
    assert_eq!(bob.heard("message-received").await["message_text"], "fine again");
    let post = async |path: &str, body: Value| app.post(path, &user(ANN), body).await;
    let ticket = json!({"subject": "🦜", "description": "squawk"});
    post("/api/messaging/support/tickets", ticket).await.refused(400, "invalid_payload");
    let login = async |email: &str| post("/api/auth/traveller/login", json!({"email": email, "password": PASSWORD})).await;
    login("🦜@example.test").await.refused(401, "unauthorized");
    let account = |name: &str, email: &str| json!({"username": name, "email": email, "password": "a password", "role": "traveller"});
    post("/api/auth/register", account("parrot", "🦜@example.test")).await.refused(400, "invalid_payload");
    post("/api/auth/register", account("parrot 🦜", "parrot@example.test")).await.refused(400, "invalid_payload");
    assert_eq!(app.get("/api/user/search?query=🦜", &user(ANN)).await.rows(), [] as [Value; 0]);
    assert_eq!(app.get("/api/messaging/conversations?search=🦜", &user(ANN)).await.rows(), [] as [Value; 0]);
    let log = process.log();
    assert!(!["xF0", "xD0", "🦜", "squawk", "parrot"].iter().any(|quoted| log.contains(quoted)), "{log}");
    process.assert_sound();
}

#[tokio::test]
async fn only_what_a_user_can_open_is_counted_as_unread() {
    let app = TestApp::with(ROOMY).await;
    let (ann, bob, conversation) = app.pair().await;
    let carl = app.user("carl").await;
    let sent = app.socket(&bob).await.send(conversation, "hello").await;
    // Each is one more message that Ann has received.
    let elsewhere = app.conversation(&bob, &carl).await;
    app.database.copy_message(sent["id"].as_i64().expect("an id"), 2).await;
    app.database.run(&format!("UPDATE messages SET conversation_id = {elsewhere} WHERE message_text = '2'")).await;
    let unread = async || app.get("/api/messaging/unread-count", &ann).await.ok()["unreadCount"].clone();
    let rows = async || {
        let inbox = app.get("/api/messaging/conversations", &ann).await.rows();
        json!(inbox.iter().map(|row| row["unread_count"].as_i64().expect("a number")).sum::<i64>())
    };
    assert_eq!((unread().await, rows().await), (json!(2), json!(2)), "not what stands where she takes no part");
    app.database.orphan_messages(conversation).await;
    assert_eq!((unread().await, rows().await), (json!(0), json!(0)), "nor what stands in a conversation that is gone");
    let doctor = program(&[], std::path::Path::new("/"), &app.database.url).arg("doctor").output().expect("it runs");
    let doctor = String::from_utf8(doctor.stdout).expect("text");
    for found in ["2 messages whose conversation is gone", "1 messages to a user who has no part"] {
        assert!(doctor.contains(found), "{found} in {doctor}");
    }
}

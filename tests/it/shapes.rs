//! Adopted tables in shapes of their own: they are served, with what is lacking added, or refused in one sentence before anything is changed.
//! They run on MariaDB, where such tables are, but for what can happen anywhere.

use std::time::Duration;

use sea_orm::DbBackend;
use serde_json::json;

use crate::support::{Database, DatabaseServer, ROOMY, TestApp, User, backend, id, legacy, program, refusal, token};

const ANN: i64 = 1;
const BOB: i64 = 2;

fn user(id: i64, role: &str) -> User {
    User { id, name: String::new(), token: token(id, Some(role), Duration::from_secs(3600)) }
}

/// Two users with a conversation, a message and a ticket, who use all of it. The tables are as the test made them.
async fn is_served(database: Database) {
    for (id, name) in [(ANN, "ann"), (BOB, "bob")] {
        let columns = "id, username, email, password, role";
        database.run(&format!("INSERT INTO users ({columns}) VALUES ({id}, '{name}', '{name}@example.test', '-', 'traveller')")).await;
    }
    let mut app = TestApp::over(database, tempfile::tempdir().expect("a folder"), ROOMY).await;
    let (ann, bob, admin) = (user(ANN, "traveller"), user(BOB, "traveller"), user(BOB, "admin"));
    let conversation = app.conversation(&ann, &bob).await;
    let (a, b) = (app.socket(&ann).await, app.socket(&bob).await);
    b.done("join-conversation", conversation).await;
    let sent = a.send(conversation, "hello").await;
    assert_eq!(b.heard("message-received").await["id"], sent["id"]);
    let inbox = app.get("/api/messaging/conversations", &bob).await.rows();
    assert_eq!((inbox.len(), &inbox[0]["unread_count"], &inbox[0]["other_user_name"]), (1, &json!(1), &json!("ann")));
    assert_eq!(app.get("/api/messaging/unread-count", &bob).await.ok()["unreadCount"], 1);
    assert_eq!(b.done("mark-as-read", json!({"conversationId": conversation})).await["updated"], 1);
    let history = app.get(&format!("/api/messaging/conversations/{conversation}/messages"), &ann).await.rows();
    assert_eq!((history.len(), &history[0]["sender_id"], &history[0]["is_read"]), (1, &json!(ANN), &json!(true)));
    let ticket = app.post("/api/messaging/support/tickets", &ann, json!({"subject": "s", "description": "d"})).await;
    let path = format!("/api/messaging/support/tickets/{}", id(&ticket.body));
    app.post(&format!("{path}/respond"), &admin, json!({"message": "here", "newStatus": "resolved"})).await.ok();
    let ticket = app.get(&path, &ann).await.ok();
    assert_eq!((&ticket["status"], &ticket["messages"][0]["is_admin"]), (&json!("resolved"), &json!(true)));
    assert_eq!(app.get("/api/auth/me", &ann).await.ok()["user"]["username"], "ann");
    app.restart().await;
    assert_eq!(app.socket(&ann).await.send(conversation, "again").await["conversation_id"], conversation);
}

#[tokio::test]
async fn ids_may_be_whole_numbers_of_any_width_and_sign() {
    for kind in ["int(10) unsigned", "bigint(20) unsigned", "mediumint(8)", "bigint(20)"] {
        let Some(database) = legacy::tables(|schema| schema.replace("int(11)", kind)).await else { return };
        is_served(database).await;
    }
}

#[tokio::test]
async fn tables_that_are_missing_are_made_to_fit_those_that_are_there() {
    for kind in ["int(11)", "int(10) unsigned"] {
        let without = |schema: &str| {
            let made =
                |statement: &&str| !["CREATE TABLE `messages`", "CREATE TABLE `support_messages`"].iter().any(|s| statement.contains(s));
            schema.split(";\n").filter(made).collect::<Vec<_>>().join(";\n").replace("int(11)", kind)
        };
        let Some(database) = legacy::tables(without).await else { return };
        is_served(database).await;
    }
}

#[tokio::test]
async fn columns_that_may_be_null_are_added_where_they_are_missing() {
    let missing =
        ["`verified`", "`avatar`", "`dateOfBirth`", "`isProfileCompleted`", "`read_at`", "`category`", "`is_admin`", "`priority`"];
    let without = |schema: &str| {
        let kept = |line: &&str| !missing.iter().any(|column| line.trim_start().starts_with(column));
        schema.lines().filter(kept).collect::<Vec<_>>().join("\n")
    };
    let Some(database) = legacy::tables(without).await else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let status = program(&[], folder.path(), &database.url).args(["migrate", "--status"]).output().expect("it runs");
    let status = String::from_utf8(status.stdout).expect("text");
    assert!(status.contains("would add column users.verified") && status.contains("would add column messages.read_at"), "{status}");
    assert!(!status.contains("column users.email"), "{status}");
    is_served(database).await;
}

#[tokio::test]
async fn what_cannot_be_served_is_refused_in_one_sentence_before_anything_is_changed() {
    type Drift = fn(&str) -> String;
    let first_generation: Drift = |schema| {
        let renamed = schema.replace("`username` varchar(100)", "`name` varchar(100)");
        renamed.lines().filter(|line| !line.contains("`receiver_id`")).collect::<Vec<_>>().join("\n")
    };
    let cases: [(Drift, &[&str]); 4] = [
        (first_generation, &["the table messages has no column receiver_id", "the table users has no column username (it has id, name,"]),
        (
            |schema| schema.replace("TABLE `users`", "TABLE `Users`"),
            &["the table users is called Users here: RENAME TABLE `Users` TO `users`"],
        ),
        (
            |schema| schema.replacen("`id` int(11) NOT NULL AUTO_INCREMENT", "`id` varchar(36) NOT NULL", 1),
            &["the column users.id is of type varchar(36), but must hold a whole number"],
        ),
        (
            |schema| schema.replace("  `message_text` longtext NOT NULL,", "  `message_text` longtext NOT NULL,\n  `tenant` int NOT NULL,"),
            &["the column messages.tenant wants a value in each new row", "give it a default"],
        ),
    ];
    for (drift, clauses) in cases {
        let Some(database) = legacy::tables(drift).await else { return };
        let before = legacy::schema(&database).await;
        let folder = tempfile::tempdir().expect("a folder");
        let said = refusal(program(&[], folder.path(), &database.url).arg("serve"));
        assert_eq!(refusal(program(&[], folder.path(), &database.url).arg("migrate")), said);
        let output = |arguments: &[&str]| {
            let output = program(&[], folder.path(), &database.url).args(arguments).output().expect("it runs");
            String::from_utf8(output.stdout).expect("text")
        };
        let (status, doctor) = (output(&["migrate", "--status"]), output(&["doctor"]));
        for clause in clauses {
            assert!(said.contains(clause) && status.contains(clause), "{clause} in {said} and {status}");
            let found = clause.split(": RENAME").next().unwrap_or_default();
            assert!(doctor.contains(found) && doctor.contains("problem  tables"), "{clause} in {doctor}");
        }
        assert_eq!(legacy::schema(&database).await, before, "nothing was changed");
    }
}

#[tokio::test]
async fn a_table_whose_name_has_capitals_is_named_where_names_are_told_apart_by_them() {
    if backend() != DbBackend::Postgres {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let database = Database::create(folder.path()).await;
    database.run("CREATE TABLE \"Messages\" (id BIGSERIAL PRIMARY KEY)").await;
    let said = refusal(program(&[], folder.path(), &database.url).arg("serve"));
    assert!(said.contains("the table messages is called Messages here: ALTER TABLE \"Messages\" RENAME TO \"messages\""), "{said}");
}

#[tokio::test]
async fn an_index_that_is_there_under_another_name_is_not_made_twice() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = Database::create(folder.path()).await;
    let run = |arguments: &[&str]| {
        let output = program(&[], folder.path(), &database.url).args(arguments).output().expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    run(&["migrate"]);
    let on = if backend() == DbBackend::MySql { " ON messages" } else { "" };
    database.run(&format!("DROP INDEX idx_messages_unread{on}")).await;
    database.run("CREATE INDEX mine ON messages (receiver_id, is_read, conversation_id)").await;
    database.run("DELETE FROM seaql_migrations WHERE version = 'm2026_11_02_additions'").await;
    assert!(!run(&["migrate", "--status"]).contains("would add"));
    run(&["migrate"]);
    let indexes = match backend() {
        DbBackend::MySql => {
            "SELECT COUNT(DISTINCT index_name) FROM information_schema.statistics WHERE table_schema = DATABASE() AND table_name = 'messages' \
             AND column_name = 'receiver_id'"
        }
        DbBackend::Postgres => "SELECT COUNT(*) FROM pg_indexes WHERE tablename = 'messages' AND indexdef LIKE '%receiver_id%'",
        _ => "SELECT COUNT(*) FROM sqlite_master WHERE type = 'index' AND sql LIKE '%messages%receiver_id%'",
    };
    assert_eq!(database.one::<i64>(indexes).await, 1);
}

#[tokio::test]
async fn rows_of_an_old_format_and_long_words_are_indexed_all_the_same() {
    if backend() != DbBackend::MySql {
        return;
    }
    let Some(server) = DatabaseServer::start().await else { return };
    let database = Database::on(&server.url()).await;
    database.run("SET GLOBAL innodb_default_row_format = compact").await;
    let tickets = "CREATE TABLE support_tickets (id int AUTO_INCREMENT PRIMARY KEY, user_id int NOT NULL, subject varchar(255) NOT NULL, description \
                   longtext NOT NULL, category varchar(255), status varchar(255) DEFAULT 'open', priority text, created_at datetime, updated_at datetime)";
    database.run(tickets).await;
    let folder = tempfile::tempdir().expect("a folder");
    let migrated = program(&[], folder.path(), &database.url).arg("migrate").output().expect("it runs");
    assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
    is_served(database).await;
}

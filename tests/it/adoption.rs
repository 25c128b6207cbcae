//! A legacy database, adopted: nothing of it changes, all of it is served, and the legacy backend may go on writing beside the server.
//! These tests run on MariaDB, where that database is, whichever database the others run on; on MySQL when the others do.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Value, json};

use crate::support::{Database, ROOMY, TestApp, User, legacy, legacy::*, token};

/// A server over a legacy database; nothing when there is no MariaDB for the tests.
async fn adopted() -> Option<TestApp> {
    Some(over(legacy::database().await?).await)
}

async fn over(database: Database) -> TestApp {
    TestApp::over(database, tempfile::tempdir().expect("a temporary folder"), ROOMY).await
}

fn user(id: i64) -> User {
    user_with_role(id, "traveller")
}

fn user_with_role(id: i64, role: &str) -> User {
    User { id, name: String::new(), token: token(id, Some(role), Duration::from_secs(3600)) }
}

async fn inbox(app: &TestApp, id: i64, query: &str) -> Vec<Value> {
    app.get(&format!("/api/messaging/conversations{query}"), &user(id)).await.rows()
}

async fn history(app: &TestApp, id: i64, conversation: i64) -> Vec<Value> {
    app.get(&format!("/api/messaging/conversations/{conversation}/messages"), &user(id)).await.rows()
}

async fn unread(app: &TestApp, id: i64) -> Value {
    app.get("/api/messaging/unread-count", &user(id)).await.ok()["unreadCount"].take()
}

#[tokio::test]
async fn the_schema_and_the_rows_are_as_before_but_for_added_columns_indexes_and_tables() {
    let Some(database) = legacy::database().await else { return };
    let (before, rows) = (legacy::schema(&database).await, database.everything().await);
    let mut app = over(database).await;
    app.restart().await;
    let after = legacy::schema(&app.database).await;
    let gone: Vec<&String> = before.iter().filter(|line| !after.contains(line)).collect();
    assert_eq!(gone, [] as [&String; 0], "nothing was removed or changed");
    let added: Vec<&String> = after.iter().filter(|line| !before.contains(line)).collect();
    for line in &added {
        let is_own = [" send_key ", "index ", " recovery_sessions ", " banned_users ", " database_identity ", " seaql_migrations "]
            .iter()
            .any(|own| line.contains(own));
        assert!(is_own, "{line} was added");
    }
    assert!(
        !added.iter().any(|line| line.starts_with("column messages send_key") && line.contains(" NO ")),
        "the legacy backend writes none"
    );
    // The added column is shown as one more value at the end of a row.
    let now: BTreeSet<String> = app.database.everything().await.into_iter().map(|row| row.trim_end_matches(", NULL").to_owned()).collect();
    let lost: Vec<&String> = rows.iter().filter(|row| !now.contains(row.trim_end_matches(", NULL"))).collect();
    assert_eq!(lost, [] as [&String; 0], "no row was rewritten");
}

#[tokio::test]
async fn conversations_in_either_order_of_the_pair_and_with_users_who_are_gone_are_in_the_inbox() {
    let Some(app) = adopted().await else { return };
    let rows = inbox(&app, ANN, "").await;
    let ids: Vec<i64> = rows.iter().map(|row| row["id"].as_i64().expect("an id")).collect();
    assert_eq!(ids, [ANN_GONE, AGENCY_ANN, ANN_BOB, UNDATED], "equal moments by id, no moment at all last");
    let of = |id: i64| rows.iter().find(|row| row["id"] == id).expect("is there");
    assert_eq!((&of(ANN_BOB)["other_user_name"], &of(ANN_BOB)["unread_count"]), (&json!("🦜 bob Ж"), &json!(2)));
    assert_eq!((&of(AGENCY_ANN)["user1_id"], &of(AGENCY_ANN)["other_user_id"]), (&json!(AGENCY), &json!(AGENCY)));
    assert_eq!((&of(ANN_GONE)["other_user_id"], &of(ANN_GONE)["other_user_name"]), (&json!(GONE), &json!("Unknown user")));
    assert_eq!(of(AGENCY_ANN)["last_message_at"], "2024-02-29T23:59:59.000Z");
    assert_eq!(of(UNDATED)["last_message"], Value::Null);
    let mut paged = Vec::new();
    let mut query = "?limit=1".to_owned();
    while let [row] = inbox(&app, ANN, &query).await.as_slice() {
        query = format!("?limit=1&before={}&before_id={}", row["last_message_at"].as_str().expect("a moment"), row["id"]);
        paged.push(row["id"].as_i64().expect("an id"));
        assert!(paged.len() <= ids.len(), "{paged:?} at {query}");
    }
    assert_eq!(paged, ids, "page by page it is the same");
    assert_eq!(unread(&app, ANN).await, 3);
}

#[tokio::test]
async fn messages_of_one_second_with_null_flags_and_of_any_script_are_in_the_history_in_the_order_of_their_ids() {
    let Some(app) = adopted().await else { return };
    let rows = history(&app, ANN, ANN_BOB).await;
    let texts: Vec<&str> = rows.iter().map(|row| row["message_text"].as_str().expect("a text")).collect();
    let expected = ["first", "👩‍👩‍👧‍👦 𝔘𝔫𝔦 \u{202e}rtl", "a null flag is unread", "read, nobody knows when", "of the same second"];
    assert_eq!(texts, expected);
    let flags: Vec<&Value> = rows.iter().map(|row| &row["is_read"]).collect();
    assert_eq!(flags, [&json!(true), &json!(false), &json!(false), &json!(true), &json!(false)]);
    assert_eq!((&rows[0]["read_at"], &rows[0]["created_at"]), (&json!("2024-02-29T23:59:59.000Z"), &json!("2024-02-28T00:00:00.000Z")));
    assert_eq!(history(&app, ANN, ANN_GONE).await[0]["sender_id"], GONE);
    app.get(&format!("/api/messaging/conversations/{ANN_BOB}/messages"), &user(AGENCY)).await.refused(403, "forbidden");
    assert_eq!(unread(&app, ANN).await, 3);
    let marked = app.post(&format!("/api/messaging/conversations/{ANN_BOB}/mark-read"), &user(ANN), json!({})).await.ok();
    assert_eq!(marked["updated"], 2, "a null flag is unread");
    assert_eq!(unread(&app, ANN).await, 1);
}

#[tokio::test]
async fn tickets_of_unknown_words_are_shown_as_they_are_and_known_ones_in_their_form() {
    let Some(app) = adopted().await else { return };
    let admin = user_with_role(BOB, "admin");
    let all = app.get("/api/messaging/support/tickets/admin/all", &admin).await.rows();
    let words = |row: &Value| ["category", "status", "priority"].map(|name| row[name].as_str().unwrap_or("-").to_owned());
    let shown: Vec<[String; 3]> = all.iter().map(words).collect();
    let expected = [
        ["general", "open", "low"],
        ["Weather", "Escalated", "urgent!"],
        ["general", "open", "medium"],
        ["booking", "in_progress", "high"],
    ];
    assert_eq!(shown, expected.map(|row| row.map(str::to_owned)));
    assert_eq!(all[0]["user_name"], Value::Null, "its owner is gone");
    for (query, ids) in [("status=in_progress", vec![1]), ("category=Booking", vec![1]), ("status=open", vec![4, 2])] {
        let found = app.get(&format!("/api/messaging/support/tickets/admin/all?{query}"), &admin).await.rows();
        assert_eq!(found.iter().map(|row| row["id"].as_i64().expect("an id")).collect::<Vec<_>>(), ids, "{query}");
    }
    let ticket = app.get("/api/messaging/support/tickets/1", &user(ANN)).await.ok();
    let messages = ticket["messages"].as_array().expect("an array");
    assert_eq!(messages.iter().map(|m| &m["is_admin"]).collect::<Vec<_>>(), [&json!(false), &json!(false), &json!(true)]);
    assert_eq!(messages[0]["message_text"], "help 🆘");
}

#[tokio::test]
async fn two_thousand_conversations_are_one_answer_and_each_is_counted_right() {
    let Some(app) = adopted().await else { return };
    let (mut seen, mut query) = (BTreeSet::new(), String::new());
    loop {
        let rows = inbox(&app, BUSY, &query).await;
        let Some(last) = rows.last() else { break };
        query = format!("?before={}&before_id={}", last["last_message_at"].as_str().expect("a moment"), last["id"]);
        assert!(rows.iter().all(|row| row["unread_count"] == 1), "one of two is unread");
        seen.extend(rows.iter().map(|row| row["id"].as_i64().expect("an id")));
    }
    assert_eq!(seen, (100..100 + CROWD_SIZE).collect());
    assert_eq!(unread(&app, BUSY).await, CROWD_SIZE);
}

#[tokio::test]
async fn what_is_announced_is_what_is_stored_also_where_the_tables_keep_whole_seconds() {
    let Some(app) = adopted().await else { return };
    let socket = app.socket(&user(ANN)).await;
    let sent = socket.send(ANN_BOB, "now").await;
    assert!(sent["created_at"].as_str().is_some_and(|moment| moment.ends_with(".000Z")), "{sent}");
    assert_eq!(history(&app, ANN, ANN_BOB).await.last(), Some(&sent));
    let opened = app.post("/api/messaging/conversations", &user(BOB), json!({"otherUserId": BUSY})).await;
    assert_eq!(opened.status, 201);
    let listed = inbox(&app, BUSY, "?limit=1").await.remove(0);
    assert_eq!((&listed["id"], &listed["created_at"]), (&opened.body["id"], &opened.body["created_at"]));
    let stored =
        format!("SELECT CONCAT_WS(' ', user1_id, user2_id, trip_id, user_low, user_high) FROM conversations WHERE id = {}", listed["id"]);
    assert_eq!(app.database.one::<String>(&stored).await, format!("{BOB} {BUSY} 0 {BOB} {BUSY}"));
}

#[tokio::test]
async fn a_pair_that_exists_in_the_other_order_gets_no_second_conversation() {
    let Some(app) = adopted().await else { return };
    app.database.run(&format!("UPDATE users SET verified = 1 WHERE id = {AGENCY}")).await;
    for (one, other) in [(ANN, AGENCY), (AGENCY, ANN)] {
        let answer = app.post("/api/messaging/conversations", &user(one), json!({"otherUserId": other})).await;
        assert_eq!((answer.status, &answer.body["id"]), (200, &json!(AGENCY_ANN)));
    }
}

#[tokio::test]
async fn an_agency_logs_in_once_an_admin_has_verified_it() {
    let Some(app) = adopted().await else { return };
    let login = async |door: &str, email: &str| {
        let request = app.request("POST", &format!("/api/auth/{door}/login"));
        app.answer(request.json(&json!({"email": email, "password": PASSWORD}))).await
    };
    let refused = login("agency", "agency@example.test").await;
    refused.refused(403, "forbidden");
    assert_eq!(refused.body["error"], "Pending admin approval");
    assert_eq!(login("agency", "verified@example.test").await.ok()["userId"], VERIFIED);
    assert_eq!(login("traveller", "ann@example.test").await.ok()["userId"], ANN, "whatever the case of the address");
    app.database.run(&format!("UPDATE users SET verified = 1 WHERE id = {AGENCY}")).await;
    assert_eq!(login("agency", "agency@example.test").await.ok()["userId"], AGENCY);
}

#[tokio::test]
async fn what_the_legacy_backend_writes_beside_is_seen_and_no_count_drifts() {
    let Some(app) = adopted().await else { return };
    let (ann, bob) = (app.socket(&user(ANN)).await, app.socket(&user(BOB)).await);
    let legacy = Database::beside(&app.database).await;
    let writing = async {
        for n in 0..60 {
            legacy::send(&legacy, ANN_BOB, BOB, ANN, &format!("legacy {n}")).await;
            if n % 10 == 0 {
                let marks = "SET is_read = 1, read_at = NOW() WHERE is_read = 0";
                legacy.run(&format!("UPDATE messages {marks} AND receiver_id = {BOB} AND conversation_id = {ANN_BOB}")).await;
            }
        }
    };
    let sending = async {
        for n in 0..60 {
            bob.send(ANN_BOB, &format!("ours {n}")).await;
            ann.send(ANN_BOB, &format!("answer {n}")).await;
        }
    };
    tokio::join!(writing, sending);
    let rows = history(&app, ANN, ANN_BOB).await;
    let count = |start: &str| rows.iter().filter(|row| row["message_text"].as_str().is_some_and(|text| text.starts_with(start))).count();
    assert_eq!((count("legacy "), count("ours "), count("answer ")), (60, 60, 60));
    let mine = inbox(&app, ANN, "").await.remove(0);
    assert_eq!((&mine["id"], &mine["unread_count"]), (&json!(ANN_BOB), &json!(122)));
    assert_eq!(unread(&app, ANN).await, 123, "and one in another conversation");
    let last = &rows[rows.len() - 1];
    assert_eq!(mine["last_message"], last["message_text"]);
    legacy.run(&format!("UPDATE messages SET is_read = 1, read_at = NOW() WHERE receiver_id = {ANN}")).await;
    assert_eq!(unread(&app, ANN).await, 0, "it is counted, not remembered");
    legacy.run(&format!("INSERT INTO conversations (user1_id, user2_id, trip_id) VALUES ({BOB}, {VERIFIED}, 3)")).await;
    assert_eq!(inbox(&app, VERIFIED, "").await.len(), 1, "a conversation that it opens is there");
}

#[tokio::test]
async fn what_an_agency_says_of_itself_is_kept_and_what_is_too_long_for_its_column_is_refused() {
    let Some(database) = legacy::database().await else { return };
    database.run("ALTER TABLE users MODIFY website varchar(20)").await;
    let app = over(database).await;
    let register = async |website: &str| {
        let profile = json!({"phone": "+351 21 000 0000", "website": website, "address": "Rua do Mar 7", "description": "Whales 🐋"});
        let mut account = json!({"username": "azores", "email": "azores@example.test", "password": "secret", "role": "agency"});
        account.as_object_mut().expect("an object").extend(profile.as_object().expect("an object").clone());
        app.answer(app.request("POST", "/api/auth/register").json(&account)).await
    };
    register("https://a-long-name.example").await.refused(400, "invalid_payload");
    assert_eq!(app.database.one::<i64>("SELECT COUNT(*) FROM users WHERE username = 'azores'").await, 0);
    assert_eq!(register("https://a.example").await.status, 201);
    let row = "SELECT CONCAT_WS('|', phone, website, address, description) FROM users WHERE username = 'azores'";
    assert_eq!(app.database.one::<String>(row).await, "+351 21 000 0000|https://a.example|Rua do Mar 7|Whales 🐋");
}

#[tokio::test]
async fn an_address_that_only_the_database_takes_for_that_of_an_account_is_not_its_own() {
    let Some(app) = adopted().await else { return };
    let login = async |email: &str| {
        let body = json!({"email": email, "password": PASSWORD});
        app.answer(app.request("POST", "/api/auth/traveller/login").json(&body)).await.status
    };
    let found: i64 = app.database.one("SELECT COUNT(*) FROM users WHERE email = 'bußy@example.test'").await;
    assert_eq!((found, login("bußy@example.test").await), (1, 401), "it would be guessed at under many names");
    assert_eq!(login(" BUSY@example.test").await, 200);
}

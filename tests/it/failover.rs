//! Connections to a server that is not what it was: no primary any more, or reached through a pooler that forgets.

use std::collections::BTreeSet;

use sea_orm::DbBackend;
use serde_json::json;
use tokio::time::timeout;

use crate::outage::{app_on, until};
use crate::support::{DEADLINE, Database, DatabaseServer, Pooler, ROOMY, TestApp, absent, program, refusal, server_url};

/// The sessions of the server under test.
async fn sessions(database: &Database, backend: DbBackend) -> BTreeSet<String> {
    let sql = if backend == DbBackend::MySql {
        "SELECT CAST(id AS CHAR) FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()"
    } else {
        "SELECT pid::text FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    };
    database.all::<String>(sql).await.into_iter().collect()
}

/// Lets new sessions write, or only read. Those that there are stay what they are, as the connections to a demoted server do.
async fn let_write(database: &Database, backend: DbBackend, on: bool) {
    if backend == DbBackend::MySql {
        return database.run(&format!("SET GLOBAL TRANSACTION READ {}", if on { "WRITE" } else { "ONLY" })).await;
    }
    let name: String = database.one("SELECT current_database()::text").await;
    database.run(&format!("ALTER DATABASE {name} SET default_transaction_read_only = {}", if on { "off" } else { "on" })).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_to_a_server_that_is_read_only_are_given_up_and_readiness_shows_it() {
    let Some(server) = DatabaseServer::start().await else { return };
    let app = app_on(&server.url()).await;
    let (ann, bob, conversation) = app.pair().await;
    let carl = app.user("carl").await;
    let a = app.socket(&ann).await;
    a.send(conversation, "before").await;
    let_write(&app.database, server.backend, false).await;
    for session in sessions(&app.database, server.backend).await {
        let end =
            if server.backend == DbBackend::MySql { format!("KILL {session}") } else { format!("SELECT pg_terminate_backend({session})") };
        app.database.run(&end).await;
    }
    // Nobody writes, and yet it is known.
    until(|| async {
        let ready = app.answer(app.request("GET", "/readyz")).await;
        ready.status == 503 && ready.body["database"] == "read-only"
    })
    .await;
    a.refused("send-message", json!({"conversationId": conversation, "message": "too early"}), "unavailable").await;
    app.post("/api/messaging/conversations", &ann, json!({"otherUserId": carl.id})).await.refused(503, "unavailable");
    let inbox = || app.get("/api/messaging/conversations", &bob);
    tokio::join!(inbox(), inbox(), inbox(), inbox());
    let misplaced = sessions(&app.database, server.backend).await;

    let_write(&app.database, server.backend, true).await;
    until(|| async { app.answer(app.request("GET", "/readyz")).await.status == 200 }).await;
    until(|| async { a.ask("send-message", json!({"conversationId": conversation, "message": "at last"})).await["ok"] == true }).await;
    for n in 0..20 {
        a.send(conversation, &format!("{n}")).await;
    }
    assert_eq!(app.post("/api/messaging/conversations", &ann, json!({"otherUserId": carl.id})).await.status, 201);
    // Who reads is led to the right server, too: the wrong one would not know what is new.
    let renewed = async {
        while !sessions(&app.database, server.backend).await.is_disjoint(&misplaced) {
            inbox().await.rows();
        }
    };
    timeout(DEADLINE, renewed).await.expect("no connection of before is left");
    assert!(app.metric("tidings_reconnections_total{part=\"database\"}").await > 0.0);
    let texts: Vec<String> = app.database.all("SELECT message_text FROM messages WHERE message_text = 'too early'").await;
    assert_eq!(texts, [] as [String; 0], "what was refused is not stored");
}

/// A fresh PostgreSQL database, and the URL under which a pooler has it; nothing, and a printed reason, when they are not there.
async fn pooled(settings: &str) -> Option<(Database, Pooler, String)> {
    let Some(url) = server_url("TIDINGS_TEST_POSTGRES") else {
        absent("there is no PostgreSQL (TIDINGS_TEST_POSTGRES)");
        return None;
    };
    let pooler = Pooler::start(&url, settings).await?;
    let database = Database::on(&url).await;
    let name: String = database.one("SELECT current_database()::text").await;
    let url = pooler.url(&name);
    Some((database, pooler, url))
}

#[tokio::test]
async fn a_pooler_that_forgets_prepared_statements_is_refused_at_start_and_named_by_the_doctor() {
    let Some((_database, _pooler, url)) = pooled("pool_mode = transaction").await else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let said = refusal(&mut program(&[], folder.path(), &url));
    assert!(said.contains("cannot be opened") && said.contains("max_prepared_statements"), "{said}");
    let output = program(&[], folder.path(), &url).arg("doctor").output().expect("the program runs");
    let found = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.code() == Some(1) && found.contains("max_prepared_statements"), "{found}");
}

#[tokio::test]
async fn a_pooler_that_keeps_a_connection_for_each_session_is_as_good_as_none() {
    let Some((mut database, _pooler, url)) = pooled("pool_mode = session").await else { return };
    database.url = url;
    let app = TestApp::over(database, tempfile::tempdir().expect("a temporary folder"), ROOMY).await;
    let (ann, _, conversation) = app.pair().await;
    app.socket(&ann).await.send(conversation, "by way of a pooler").await;
}

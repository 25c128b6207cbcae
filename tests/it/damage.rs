//! SQLite files that are no good: refused at start with what to do; and a file that goes bad under a running server. These tests run on
//! SQLite, whichever database the others run on.

use std::{
    fs,
    io::{Seek, SeekFrom, Write},
    path::PathBuf,
};

use serde_json::json;
use tempfile::TempDir;

use crate::support::{Database, Process, ROOMY, TestApp, program, refusal};

const PAGE: usize = 4096;

/// A database with messages, whose server has stopped.
async fn database() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let database = Database::sqlite(folder.path()).await;
    let mut app = TestApp::over(database, tempfile::tempdir().expect("a temporary folder"), ROOMY).await;
    let (ann, _, conversation) = app.pair().await;
    let first = app.socket(&ann).await.send(conversation, "hello").await;
    app.database.copy_message(first["id"].as_i64().expect("an id"), 3000).await;
    app.stop().await;
    app.database.run("PRAGMA wal_checkpoint(TRUNCATE)").await;
    let file = folder.path().join("test.db");
    drop(app);
    assert!(fs::metadata(&file).expect("a file").len() > 20 * PAGE as u64);
    (folder, file)
}

#[tokio::test]
async fn a_damaged_file_is_refused_at_start_with_how_to_restore_a_backup() {
    let (folder, file) = database().await;
    let good = fs::read(&file).expect("a file");
    let with = |at: usize, bytes: &[u8]| {
        let mut bad = good.clone();
        bad[at..at + bytes.len()].copy_from_slice(bytes);
        bad
    };
    for (name, bytes, complaint) in [
        ("a header of garbage", with(0, &[0xAA; 100]), "is not an SQLite database"),
        ("a text", b"Dear diary, today I was a database.\n".repeat(200), "is not an SQLite database"),
        ("cut off at a page", good[..good.len() / 2 / PAGE * PAGE].to_vec(), "is damaged"),
        ("cut off within a page", good[..good.len() - PAGE - 100].to_vec(), "is damaged"),
        ("a page overwritten in the middle", with(good.len() / 2 / PAGE * PAGE, &[0xAA; PAGE]), "is damaged"),
        ("the last page overwritten", with(good.len() - PAGE, &[0xAA; PAGE]), "is damaged"),
        ("the schema overwritten", with(100, &[0xAA; 1000]), "is damaged"),
    ] {
        fs::write(&file, &bytes).expect("the file is written");
        let said = refusal(&mut program(&[], folder.path(), "sqlite://test.db"));
        for part in ["test.db", complaint, "stop every tidings", "test.db-wal and test.db-shm away", "copy a backup"] {
            assert!(said.contains(part), "{name}: {said}");
        }
        assert_eq!(fs::read(&file).expect("a file"), bytes, "{name}: it is left as it is");
    }
}

#[tokio::test]
async fn a_folder_a_missing_folder_and_no_name_at_all_are_refused_with_what_to_do() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::create_dir(folder.path().join("data")).expect("a folder");
    for (url, advice) in [
        ("sqlite://data", "data is a folder: name a file in DATABASE_URL"),
        ("sqlite://none/test.db", "let its folder exist"),
        ("sqlite://", "must name a file"),
        ("sqlite:", "must name a file"),
    ] {
        let said = refusal(&mut program(&[], folder.path(), url));
        assert!(said.contains(advice), "{url}: {said}");
    }
}

#[tokio::test]
async fn a_file_that_goes_bad_under_a_running_server_fails_what_needs_it_and_is_logged_once() {
    let (folder, file) = database().await;
    let url = format!("sqlite://{}", file.display());
    let mut process = Process::start(folder.path(), &url);
    let app = TestApp::of(&process, Database::sqlite(folder.path()).await);
    let (ann, bob) = (app.user("carl").await, app.user("dora").await);
    let conversation = app.conversation(&ann, &bob).await;
    let a = app.socket(&ann).await;
    a.send(conversation, "stored").await;
    app.database.run("PRAGMA wal_checkpoint(TRUNCATE)").await;
    let root: i64 = app.database.one("SELECT rootpage FROM sqlite_schema WHERE name = 'messages'").await;
    let mut bad = fs::OpenOptions::new().write(true).open(&file).expect("a file");
    bad.seek(SeekFrom::Start((root as u64 - 1) * PAGE as u64)).expect("a place");
    bad.write_all(&[0xAA; PAGE]).expect("the page is written");
    // What the server has in memory it has to read anew after a write of somebody else.
    app.database.run("CREATE TABLE other (id INTEGER)").await;
    for _ in 0..3 {
        a.refused("send-message", json!({"conversationId": conversation, "message": "lost"}), "unavailable").await;
        let history = app.get(&format!("/api/messaging/conversations/{conversation}/messages"), &ann).await;
        history.refused(503, "unavailable");
    }
    assert_eq!(app.get("/api/auth/me", &ann).await.ok()["user"]["username"], "carl", "what is whole is served");
    assert!(process.is_running());
    let log = process.log();
    assert_eq!(log.matches("the database file is damaged").count(), 1, "{log}");
    assert!(log.contains("restore a backup") && log.matches("ERROR").count() == 1, "{log}");
}

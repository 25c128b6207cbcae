//! What is done to a database at start: once, also when several nodes start at the same moment, and not at all by who only asks.

use std::{path::Path, process::Command};

use crate::support::{Database, TestApp};

const STEPS: [&str; 5] = ["m2026_11_01_tables", "m2026_11_02_additions", "m2026_11_23_bans", "m2026_11_28_columns", "m2026_11_28_identity"];

fn tidings(folder: &Path, url: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
    command.args(arguments).current_dir(folder).env_clear().env("DATABASE_URL", url).env("RUST_LOG", "error");
    command
}

fn says(command: &mut Command) -> String {
    let output = command.output().expect("the program runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("it speaks UTF-8")
}

#[tokio::test]
async fn nodes_that_start_at_the_same_moment_on_an_empty_database_take_turns() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let database = Database::create(folder.path()).await;
    let starting: Vec<_> = (0..4)
        .map(|_| tidings(folder.path(), &database.url, &["migrate"]).stderr(std::process::Stdio::piped()).spawn().expect("starts"))
        .collect();
    for node in starting {
        let output = node.wait_with_output().expect("the program runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let steps: Vec<String> = database.all("SELECT version FROM seaql_migrations ORDER BY version").await;
    assert_eq!(steps, STEPS, "each step was taken once");
}

#[tokio::test]
async fn the_status_says_what_would_be_added_and_changes_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let database = Database::create(folder.path()).await;
    let status = || says(&mut tidings(folder.path(), &database.url, &["migrate", "--status"]));
    let before = status();
    for line in
        ["pending m2026_11_01_tables", "would add table messages (id, conversation_id", "would add column messages.send_key", "index"]
    {
        assert!(before.contains(line), "{line} in {before}");
    }
    assert_eq!(database.everything().await, [] as [String; 0]);
    assert_eq!(status(), before, "nothing was done");
    says(&mut tidings(folder.path(), &database.url, &["migrate"]));
    assert_eq!(status(), STEPS.map(|step| format!("applied {step}\n")).concat());
}

#[tokio::test]
async fn the_status_of_a_file_that_is_not_there_does_not_make_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let before = says(&mut tidings(folder.path(), "sqlite://none.db", &["migrate", "--status"]));
    assert!(before.contains("pending m2026_11_01_tables"), "{before}");
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0);
}

#[tokio::test]
async fn a_database_of_which_some_tables_are_there_gets_the_others() {
    let users = "CREATE TABLE users (id INTEGER PRIMARY KEY, username VARCHAR(100) NOT NULL, avatar VARCHAR(255), \"firstName\" VARCHAR(100), \
                 \"lastName\" VARCHAR(100), \"dateOfBirth\" DATE, email VARCHAR(150) NOT NULL, password VARCHAR(255) NOT NULL, \
                 \"isProfileCompleted\" BOOLEAN, verified BOOLEAN, role VARCHAR(20), created_at TIMESTAMP NULL, updated_at TIMESTAMP NULL)";
    let folder = tempfile::tempdir().expect("a temporary folder");
    let database = Database::create(folder.path()).await;
    database.run(users).await;
    let app = TestApp::over(database, folder, "").await;
    assert_eq!(app.database.one::<i64>("SELECT COUNT(*) FROM messages").await, 0);
}

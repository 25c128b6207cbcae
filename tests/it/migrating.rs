//! What somebody sees who waits for the schema of a large database to be brought up to date.

use std::{
    io::{BufRead, BufReader},
    process::Stdio,
};

use sea_orm::DbBackend;

use crate::support::{DEADLINE, Database, backend, program, say};

/// A database with 32 768 messages and none of the additions.
async fn large(folder: &std::path::Path) -> Database {
    let database = Database::create(folder).await;
    let id = match backend() {
        DbBackend::MySql => "BIGINT PRIMARY KEY AUTO_INCREMENT",
        DbBackend::Postgres => "BIGSERIAL PRIMARY KEY",
        _ => "INTEGER PRIMARY KEY AUTOINCREMENT",
    };
    let columns = "conversation_id BIGINT NOT NULL, sender_id BIGINT NOT NULL, receiver_id BIGINT NOT NULL, message_text TEXT NOT NULL, is_read BOOLEAN";
    database.run(&format!("CREATE TABLE messages (id {id}, {columns})")).await;
    database.run(&format!("CREATE TABLE conversations (id {id}, user1_id BIGINT NOT NULL, user2_id BIGINT NOT NULL)")).await;
    let names = "conversation_id, sender_id, receiver_id, message_text, is_read";
    database.run(&format!("INSERT INTO messages ({names}) VALUES (1, 1, 2, 'one of many', FALSE)")).await;
    for _ in 0..15 {
        database.run(&format!("INSERT INTO messages ({names}) SELECT {names} FROM messages")).await;
    }
    if backend() == DbBackend::MySql {
        database.all::<String>("ANALYZE TABLE messages").await;
    }
    database
}

/// The number after `about` in a line.
fn about(line: &str) -> u64 {
    let number = line.split_once(" about ").and_then(|(_, rest)| rest.split(' ').next());
    number.and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("no number of rows in {line}"))
}

#[tokio::test]
async fn a_migration_says_what_it_adds_to_how_many_rows_and_how_long_the_rest_may_take() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = large(folder.path()).await;
    let run = |arguments: &[&str]| {
        let output = program(&[], folder.path(), &database.url).args(arguments).output().expect("the program runs");
        let said = [output.stdout, output.stderr].map(|said| String::from_utf8(said).expect("text"));
        assert!(output.status.success(), "{said:?}");
        said
    };
    let [status, _] = run(&["migrate", "--status"]);
    let line = status.lines().find(|line| line.contains("index idx_messages_unread")).expect("the index is named");
    assert!((20_000..50_000).contains(&about(line)), "{line}");

    let [end, log] = run(&["migrate"]);
    assert_eq!(end.lines().last(), Some("The schema is up to date."));
    let mut lines = log.lines();
    let mut next = |part: &str| lines.find(|line| line.contains(part)).unwrap_or_else(|| panic!("no {part} in its turn in {log}"));
    next("taking a step of the schema step=\"m2026_11_02_additions\" additions=13");
    let first = next("3 of 13: adding index idx_messages_conversation on messages (conversation_id, id) to about");
    assert!((20_000..50_000).contains(&about(first)) && !first.contains("left"), "{first}");
    next("3 of 13: added index idx_messages_conversation");
    let second = next("4 of 13: adding index idx_messages_unread");
    assert!(second.contains("; 33 % are done, about ") && second.contains(" s are left"), "{second}");
    let took = next("took a step of the schema step=\"m2026_11_02_additions\"");
    assert!(took.contains("took_ms="), "{took}");
    assert!(!log.contains('\u{1b}'), "no colours in a file: {log}");
}

#[tokio::test]
async fn a_migration_that_takes_long_says_that_it_goes_on() {
    if backend() == DbBackend::Sqlite {
        return say("SQLite's file is nobody else's for long: nothing holds a migration up");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let database = large(folder.path()).await;
    database.lock_tables(&["conversations", "messages"]).await;
    let mut migrating =
        program(&[], folder.path(), &database.url).arg("migrate").stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
    // It is read to its end: a program whose words nobody takes is ended.
    let (told, mut lines) = tokio::sync::mpsc::unbounded_channel();
    let said = BufReader::new(migrating.stderr.take().expect("a pipe")).lines();
    std::thread::spawn(move || said.map_while(Result::ok).for_each(|line| drop(told.send(line))));
    let word = async { while lines.recv().await.is_some_and(|line| !line.contains("still being brought up to date, for ")) {} };
    let in_time = tokio::time::timeout(DEADLINE, word).await;
    assert!(migrating.try_wait().expect("it can be waited for").is_none(), "it waits for the lock");
    database.unlock().await;
    assert!(in_time.is_ok(), "it said nothing");
    let ended = tokio::task::spawn_blocking(move || migrating.wait());
    assert!(ended.await.expect("no panic").expect("it can be waited for").success());
}

//! What `tidings doctor` finds with the database and Redis. What it finds elsewhere is tested by `rest/cli.test.mjs` and beside its code.

use sea_orm::DbBackend;

use crate::support::{Database, RedisServer, backend, is_mysql, program};

/// The lines of findings, and whether there is a problem.
fn doctor(folder: &std::path::Path, url: &str, more: &[(&str, &str)]) -> (Vec<String>, bool) {
    let output = program(&[], folder, url).arg("doctor").envs(more.iter().copied()).output().expect("the program runs");
    let said = String::from_utf8(output.stdout).expect("text");
    assert!(!said.contains(crate::support::SECRET) && !said.contains("topsecret"), "{said}");
    (said.lines().map(str::to_owned).collect(), output.status.code() == Some(1))
}

fn has(lines: &[String], level: &str, about: &str, part: &str) -> bool {
    lines.iter().any(|line| line.starts_with(&format!("{level:<8} {about:<13} ")) && line.contains(part))
}

#[tokio::test]
async fn it_names_the_database_its_clock_and_the_pending_steps_and_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = Database::create(folder.path()).await;
    database.run("CREATE TABLE visits (id INTEGER)").await;
    let before = database.everything().await;
    let (lines, is_problem) = doctor(folder.path(), &database.url, &[]);
    assert!(has(&lines, "warning", "migrations", "pending: m2026_11_01_tables, m2026_11_02_additions"), "{lines:#?}");
    assert!(lines.iter().any(|line| line.trim_start().starts_with("→") && line.contains("tidings migrate --status")), "{lines:#?}");
    assert!(!is_problem, "{lines:#?}");
    assert_eq!(database.everything().await, before);
    let product = match backend() {
        DbBackend::MySql if is_mysql() => "MySQL",
        DbBackend::MySql => "MariaDB",
        DbBackend::Postgres => "PostgreSQL 1",
        _ => "SQLite 3.",
    };
    assert!(has(&lines, "ok", "database", product), "{lines:#?}");
    if backend() != DbBackend::Sqlite {
        assert!(has(&lines, "ok", "clock", "the database's"), "{lines:#?}");
        assert!(has(&lines, "warning", "database", "commits are not durable"), "the servers of the tests are quick: {lines:#?}");
    }
    assert!(program(&[], folder.path(), &database.url).arg("migrate").output().expect("it runs").status.success());
    let (lines, _) = doctor(folder.path(), &database.url, &[]);
    assert!(has(&lines, "ok", "migrations", "steps are taken"), "{lines:#?}");
    database.run("UPDATE seaql_migrations SET version = 'm2099_01_01_later' WHERE version = 'm2026_11_23_bans'").await;
    let (lines, is_problem) = doctor(folder.path(), &database.url, &[]);
    assert!(is_problem && has(&lines, "problem", "migrations", "does not know"), "{lines:#?}");
}

#[tokio::test]
async fn a_database_that_is_not_there_is_a_problem_and_its_password_is_not_told() {
    let folder = tempfile::tempdir().expect("a folder");
    for url in ["mysql://u:topsecret@127.0.0.1:1/d", "postgres://u:topsecret@127.0.0.1:1/d", "sqlite://nowhere/t.db"] {
        let (lines, is_problem) = doctor(folder.path(), url, &[]);
        assert!(is_problem && has(&lines, "problem", "database", ""), "{url}: {lines:#?}");
    }
}

#[tokio::test]
async fn a_damaged_file_is_a_problem() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("t.db");
    std::fs::write(&file, "no database at all, but long enough to have a header of a hundred bytes ".repeat(20)).expect("is written");
    let (lines, is_problem) = doctor(folder.path(), &format!("sqlite://{}", file.display()), &[]);
    assert!(is_problem && lines.iter().any(|line| line.contains("is not an SQLite database")), "{lines:#?}");
}

#[tokio::test]
async fn redis_is_asked_who_listens_and_one_that_is_away_is_a_problem() {
    if backend() == DbBackend::Sqlite {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let database = Database::create(folder.path()).await;
    let (lines, is_problem) = doctor(folder.path(), &database.url, &[("REDIS_URL", "redis://:topsecret@127.0.0.1:1")]);
    assert!(is_problem && has(&lines, "problem", "redis", "does not answer"), "{lines:#?}");
    let Some(redis) = RedisServer::start().await else { return };
    let (lines, _) = doctor(folder.path(), &database.url, &[("REDIS_URL", &redis.url())]);
    assert!(has(&lines, "ok", "redis", "0 nodes listen on the channel tidings") && has(&lines, "ok", "clock", "Redis's"), "{lines:#?}");
}

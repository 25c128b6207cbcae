//! What is SQLite's own about opening: how its file is opened, whether it is whole, and what to do when it is not. How it is copied stands in
//! `backup`.

use std::{path::Path, time::Duration};

use sea_orm::sqlx::{self, Connection};
use sea_orm::{ConnectOptions, ConnectionTrait, DatabaseConnection, DbBackend, DbErr, RuntimeErr, Statement};

use super::failure::{describe, sqlite_code};
use crate::clock;

/// How long a statement waits for a connection to SQLite, and then for the lock of its file: together less than the 5 s after which an event
/// must have failed.
pub(super) const PATIENCE: Duration = Duration::from_millis(2400);
/// What every connection to a file is told.
pub(super) const PRAGMAS: [(&str, &str); 6] = [
    ("journal_mode", "wal"),
    ("synchronous", "full"),
    ("foreign_keys", "on"),
    // What a statement may have to take back is kept in memory, not in a file of its own.
    ("temp_store", "memory"),
    // The log is folded into the file every 16 MB, not in the middle of every few batches.
    ("wal_autocheckpoint", "4000"),
    // When it begins anew, what it was longer than that is given back.
    ("journal_size_limit", "16777216"),
];
/// For how long a starting server looks for damage in the file, so that a large one does not keep it from serving. A backup looks at all.
const LOOK: Duration = Duration::from_secs(2);
/// After how many steps of SQLite's machine the time is asked.
const STEPS: i32 = 100_000;

/// How connections to a file are opened.
pub fn options(url: &str, connections: u32) -> ConnectOptions {
    let mut options = ConnectOptions::new(url.to_owned());
    // A connection that is never given up keeps its page cache; and a database in memory lives as long as its connection.
    options.max_connections(connections).min_connections(1).acquire_timeout(PATIENCE).idle_timeout(None).max_lifetime(None);
    // When a commit fails, as on a full disk, SQLite takes the transaction back by itself. The driver does not notice, and would never begin
    // another one on that connection.
    options.map_sqlx_sqlite_pool_opts(|pool| {
        pool.before_acquire(|connection, _| Box::pin(async move { Ok(!connection.is_in_transaction()) }))
    });
    options.map_sqlx_sqlite_opts(|sqlite| {
        PRAGMAS.into_iter().fold(sqlite.create_if_missing(true).busy_timeout(PATIENCE), |sqlite, (name, value)| sqlite.pragma(name, value))
    });
    options
}

/// From now on a file that has gone is missed, and no empty one made in its place.
pub fn make_no_more_files(one: &DatabaseConnection) {
    let pool = one.get_sqlite_connection_pool();
    pool.set_connect_options(sqlx::sqlite::SqliteConnectOptions::clone(&pool.connect_options()).create_if_missing(false));
}

/// A write that changes nothing and goes the way of every other: a page in the log, and its fsync. One that is rolled back would not notice
/// a full disk, and beginning one does not notice that the file is read-only.
pub async fn write_nothing(db: &impl ConnectionTrait) -> Result<(), DbErr> {
    let row = db.query_one_raw(Statement::from_string(DbBackend::Sqlite, "PRAGMA user_version")).await?;
    let version: i32 = row.map(|row| row.try_get_by_index(0)).transpose()?.unwrap_or_default();
    db.execute_unprepared(&format!("PRAGMA user_version = {version}")).await.map(drop)
}

/// Looks for damage in the file, as far as a moment allows.
///
/// # Errors
/// What is damaged, as a failure of a statement.
pub async fn look_for_damage(one: &DatabaseConnection) -> Result<(), DbErr> {
    let failed = |e| DbErr::Query(RuntimeErr::SqlxError(std::sync::Arc::new(e)));
    let mut connection = one.get_sqlite_connection_pool().acquire().await.map_err(failed)?;
    let until = clock::instant() + LOOK;
    connection.lock_handle().await.map_err(failed)?.set_progress_handler(STEPS, move || clock::instant() < until);
    let found = sqlx::query_scalar::<_, String>("PRAGMA quick_check(1)").fetch_one(&mut *connection).await.map_err(failed);
    connection.lock_handle().await.map_err(failed)?.remove_progress_handler();
    match found {
        Ok(ok) if ok == "ok" => Ok(()),
        Ok(damage) => Err(DbErr::Custom(format!("{DAMAGED}{damage}"))),
        Err(e) if sqlite_code(&e) == Some(INTERRUPTED) => Ok(()),
        Err(e) => Err(e),
    }
}

const DAMAGED: &str = "damaged: ";
const INTERRUPTED: i32 = 9;

/// What an operator does about a file that cannot be opened; nothing when SQLite has not said why.
pub fn advice(file: &Path, e: &DbErr) -> Option<String> {
    let why = describe(e).lines().next().unwrap_or_default().trim_end_matches('.').to_owned();
    if let DbErr::Custom(damage) = e
        && let Some(damage) = damage.strip_prefix(DAMAGED)
    {
        return Some(format!("{} is damaged ({}): {}", file.display(), damage.replace('\n', " "), restore(file)));
    }
    let file_name = file.display();
    Some(match sqlite_code(e)? {
        8 => format!(
            "{file_name} can be read only ({why}): let the user that tidings runs as write the file and its folder, or name another file \
             in DATABASE_URL."
        ),
        10 => format!("{file_name} cannot be read or written ({why}): see to the disk that it is on, then start again."),
        11 => format!("{file_name} is damaged ({why}): {}", restore(file)),
        13 => format!("The disk of {file_name} is full: make room on it, then start again."),
        14 if file.is_dir() => format!("{file_name} is a folder: name a file in DATABASE_URL, such as sqlite://{file_name}/tidings.db."),
        14 => format!(
            "{file_name} cannot be opened ({why}): let its folder exist, and let the user that tidings runs as write the folder, the \
             file, and the files {file_name}-wal and {file_name}-shm beside it."
        ),
        26 => format!("{file_name} is not an SQLite database: name the right file in DATABASE_URL; or if it was one, {}", restore(file)),
        _ => return None,
    })
}

/// How a backup takes the place of a file. A log that is left beside it would be played into the backup.
pub fn restore(file: &Path) -> String {
    let file = file.display();
    format!(
        "stop every tidings that uses it, move {file}, {file}-wal and {file}-shm away, copy a backup (of `tidings backup`) to {file}, and \
         start again."
    )
}

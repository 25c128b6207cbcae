//! The connections: how each kind of database is opened, and what it must be like.

use std::{path::Path, time::Duration};

use sea_orm::sqlx::{Executor, sqlite::SqliteJournalMode, sqlite::SqliteSynchronous};
use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbBackend, DbErr, Statement};
use tracing::log::LevelFilter;

use super::connections::Connections;
use super::failure::describe;
use crate::config::Pool;

/// The connections of a running server: reads never take from the writes, nor the other way round.
pub struct Pools {
    pub read: Connections,
    pub write: Connections,
}

/// For how many connections to read one is set aside to write.
const READS_PER_WRITE: u32 = 3;
/// SQLite reads from memory mostly: more connections than this wait for each other's processor.
const SQLITE_READERS: u32 = 4;

/// What each connection to MariaDB or MySQL is told. Strict, so that a text is stored as it is or not at all, whatever the server's
/// default; a lock is waited for as long as for anything else; reading what is committed keeps marks from locking what others insert.
const MYSQL: &str = "SET SESSION sql_mode = CONCAT(@@sql_mode, ',STRICT_TRANS_TABLES'), SESSION innodb_lock_wait_timeout = 4, SESSION lock_wait_timeout = 4";
const MYSQL_ISOLATION: &str = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED";
/// What each connection to PostgreSQL is told.
const POSTGRES: &str = "SET lock_timeout = '4s'; SET statement_timeout = '30s'; SET idle_in_transaction_session_timeout = '30s'";

/// The sentence for a database that cannot be opened. No part of its URL is told: it may hold a password.
pub fn cannot_open(e: &DbErr) -> String {
    let why = describe(e);
    let why = if why.contains("://") { "its URL cannot be read" } else { why.trim_end_matches('.') };
    format!("The database cannot be opened: {why}.")
}

/// One connection that is told nothing, for what is done at start. An SQLite file is created when there is none.
pub async fn open_one(url: &str) -> Result<DatabaseConnection, DbErr> {
    if is_sqlite(url) {
        return Database::connect(sqlite(url, 1)).await;
    }
    let mut options = ConnectOptions::new(url.to_owned());
    options.max_connections(1).idle_timeout(None).max_lifetime(None).acquire_timeout(Duration::from_secs(10));
    Database::connect(quiet(options)).await
}

/// One connection that can only look; nothing, when there is no file to look into.
pub async fn open_read_only(url: &str) -> Result<Option<DatabaseConnection>, DbErr> {
    let Some(path) = url.strip_prefix("sqlite:").map(|p| p.trim_start_matches("//")) else { return open_one(url).await.map(Some) };
    let path = path.split('?').next().unwrap_or_default().to_owned();
    if !Path::new(&path).exists() {
        return Ok(None);
    }
    // To look into a file with a write-ahead log makes two files beside it, unless they are there or the file cannot change.
    let is_in_use = Path::new(&format!("{path}-wal")).exists();
    let mut options = ConnectOptions::new(format!("sqlite://{path}"));
    options.max_connections(1).map_sqlx_sqlite_opts(move |sqlite| sqlite.read_only(true).immutable(!is_in_use));
    Database::connect(quiet(options)).await.map(Some)
}

/// Whether the database at the other end of `one` can be used.
///
/// # Errors
/// A sentence that says why not, and what to do.
pub async fn check(one: &DatabaseConnection) -> Result<(), String> {
    if one.get_database_backend() != DbBackend::MySql {
        return Ok(());
    }
    let sql = "SELECT CAST(@@auto_increment_increment AS SIGNED)";
    let row = one.query_one_raw(Statement::from_string(DbBackend::MySql, sql)).await.map_err(|e| cannot_open(&e))?;
    let step: Option<i64> = row.map(|row| row.try_get_by_index(0)).transpose().map_err(|e| cannot_open(&e))?;
    match step {
        Some(1) | None => Ok(()),
        Some(step) => Err(format!(
            "The database server gives out every {step}th id only (auto_increment_increment), but tidings needs each: set it to 1 \
             (Galera: wsrep_auto_increment_control = OFF, and let all nodes write to one server)."
        )),
    }
}

/// The connections of a running server. `one` serves as the only writing one of SQLite.
pub async fn open_pools(url: &str, one: DatabaseConnection, pool: &Pool) -> Result<Pools, DbErr> {
    if is_sqlite(url) {
        let read = if url.contains(":memory:") { one.clone() } else { Database::connect(sqlite(url, SQLITE_READERS)).await? };
        return Ok(Pools { read: Connections::to_file(read), write: Connections::to_file(one) });
    }
    let isolates = reads_committed(&one).await?;
    one.close().await?;
    let writers = (pool.connections / (READS_PER_WRITE + 1)).max(2);
    let readers = pool.connections.saturating_sub(writers).max(1);
    let read = Connections::to_server(server(url, readers, pool, isolates), pool.wait).await?;
    let write = Connections::to_server(server(url, writers, pool, isolates), pool.wait).await?;
    Ok(Pools { read, write })
}

/// Whether MariaDB or MySQL can be asked to read what is committed: a binary log of statements forbids it.
async fn reads_committed(one: &DatabaseConnection) -> Result<bool, DbErr> {
    if one.get_database_backend() != DbBackend::MySql {
        return Ok(false);
    }
    let sql = "SELECT CAST(@@log_bin = 0 OR @@binlog_format <> 'STATEMENT' AS SIGNED)";
    let row = one.query_one_raw(Statement::from_string(DbBackend::MySql, sql)).await?;
    Ok(row.map(|row| row.try_get_by_index::<i64>(0)).transpose()? == Some(1))
}

fn server(url: &str, connections: u32, pool: &Pool, isolates: bool) -> ConnectOptions {
    let mut options = ConnectOptions::new(url.to_owned());
    options
        .max_connections(connections)
        .min_connections(1)
        .acquire_timeout(pool.wait)
        .max_lifetime(pool.lifetime)
        .idle_timeout(Duration::from_secs(600));
    options.map_sqlx_mysql_pool_opts(move |o| {
        o.after_connect(move |connection, _| {
            Box::pin(async move {
                connection.execute(MYSQL).await?;
                if isolates {
                    connection.execute(MYSQL_ISOLATION).await?;
                }
                Ok(())
            })
        })
    });
    options.map_sqlx_postgres_pool_opts(|o| {
        o.after_connect(|connection, _| Box::pin(async move { connection.execute(POSTGRES).await.map(drop) }))
    });
    quiet(options)
}

fn sqlite(url: &str, connections: u32) -> ConnectOptions {
    let mut options = ConnectOptions::new(url.to_owned());
    // A connection that is never given up keeps its page cache; and a database in memory lives as long as its connection.
    options.max_connections(connections).min_connections(1).acquire_timeout(SQLITE_PATIENCE).idle_timeout(None).max_lifetime(None);
    options.map_sqlx_sqlite_opts(|sqlite| {
        sqlite
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(SQLITE_PATIENCE)
    });
    quiet(options)
}

/// How long a statement waits for a connection to SQLite, or for its file lock.
const SQLITE_PATIENCE: Duration = Duration::from_secs(4);

fn is_sqlite(url: &str) -> bool {
    url.starts_with("sqlite:")
}

fn quiet(mut options: ConnectOptions) -> ConnectOptions {
    options.sqlx_logging_level(LevelFilter::Trace).sqlx_slow_statements_logging_settings(LevelFilter::Off, Duration::from_secs(1));
    options
}

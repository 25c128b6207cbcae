//! The connections: how each kind of database is opened, and what it must be like.

use std::{path::Path, time::Duration};

use sea_orm::sqlx::Executor;
use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbBackend, DbErr, Statement, TransactionTrait};
use tracing::log::LevelFilter;

use super::{connections::Connections, failure::describe, file::File, sqlite, sqlite_file, validity::Validity, write::Write};
use crate::auth::random_hex;
use crate::config::Pool;
use crate::system;

/// The connections of a running server: reads never take from the writes, nor the other way round.
pub struct Pools {
    pub read: Connections,
    pub write: Write,
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

/// The sentence for a database that cannot be opened. No part of a server's URL is told: it may hold a password.
pub fn cannot_open(url: &str, e: &DbErr) -> String {
    refusal(url, "opened", e)
}

/// The sentence for a database whose schema cannot be brought up to date.
pub fn cannot_migrate(url: &str, e: &DbErr) -> String {
    refusal(url, "migrated", e)
}

fn refusal(url: &str, done: &str, e: &DbErr) -> String {
    if let Some(advice) = sqlite_file(url).and_then(|file| sqlite::advice(&file, e)) {
        return advice;
    }
    let why = describe(e);
    let why = match why.trim_end_matches('.') {
        url if url.contains("://") => "its URL cannot be read",
        late if late.contains("timed out") => "the server does not answer",
        lost if lost.contains("prepared statement") => {
            "the pooler before the server loses prepared statements between transactions; set max_prepared_statements (PgBouncer 1.21 or \
             later), or pool_mode = session, or name the server itself in DATABASE_URL"
        }
        why => why,
    };
    format!("The database cannot be {done}: {why}.")
}

/// How long a server may take to let us in when we start.
pub const START: Duration = Duration::from_secs(10);
/// How long a pooler may take to find another connection.
const HELD: Duration = Duration::from_secs(2);

/// One connection that is told nothing, for what is done at start. An SQLite file is created when there is none.
pub async fn open_one(url: &str, patience: Duration) -> Result<DatabaseConnection, DbErr> {
    if is_sqlite(url) {
        // The log and the index beside it get the rights of the file. What hinders this hinders the driver, which says so.
        if let Some(file) = sqlite_file(url).filter(|file| !file.exists()) {
            system::create_private(&file, "").ok();
        }
        let one = Database::connect(quiet(sqlite::options(url, 1))).await?;
        sqlite::make_no_more_files(&one);
        return Ok(one);
    }
    let mut options = ConnectOptions::new(url.to_owned());
    options.max_connections(1).idle_timeout(None).max_lifetime(None).acquire_timeout(patience);
    Database::connect(pooled(quiet(options))).await
}

/// One connection that can only look; nothing, when there is no file to look into.
pub async fn open_read_only(url: &str, patience: Duration) -> Result<Option<DatabaseConnection>, DbErr> {
    let Some(file) = sqlite_file(url) else { return open_one(url, patience).await.map(Some) };
    if !file.exists() {
        return Ok(None);
    }
    // To look into a file with a write-ahead log makes two files beside it, unless they are there or the file cannot change.
    let is_in_use = Path::new(&format!("{}-wal", file.display())).exists();
    let mut options = ConnectOptions::new(url.to_owned());
    options
        .max_connections(1)
        .map_sqlx_sqlite_opts(move |sqlite| sqlite.filename(&file).create_if_missing(false).read_only(true).immutable(!is_in_use));
    Database::connect(quiet(options)).await.map(Some)
}

/// Whether the database at the other end of `one` can be used.
///
/// # Errors
/// A sentence that says why not, and what to do.
pub async fn check(url: &str, one: &DatabaseConnection) -> Result<(), String> {
    match one.get_database_backend() {
        DbBackend::Sqlite => {
            let checked = async {
                sqlite::look_for_damage(one).await?;
                sqlite::write_nothing(one).await
            };
            return checked.await.map_err(|e| cannot_open(url, &e));
        }
        DbBackend::MySql => {}
        _ => return keeps_statements(url, one).await.map_err(|e| cannot_open(url, &e)),
    }
    let sql = "SELECT CAST(@@auto_increment_increment AS SIGNED)";
    let row = one.query_one_raw(Statement::from_string(DbBackend::MySql, sql)).await.map_err(|e| cannot_open(url, &e))?;
    let step: Option<i64> = row.map(|row| row.try_get_by_index(0)).transpose().map_err(|e| cannot_open(url, &e))?;
    match step {
        Some(1) | None => Ok(()),
        Some(step) => Err(format!(
            "The database server gives out every {step}th id only (auto_increment_increment), but tidings needs each: set it to 1 \
             (Galera: wsrep_auto_increment_control = OFF, and let all nodes write to one server)."
        )),
    }
}

/// Fails when what was prepared in one transaction is not there in the next, as behind a pooler that gives each another connection.
async fn keeps_statements(url: &str, one: &DatabaseConnection) -> Result<(), DbErr> {
    // A statement that somebody else has prepared under the same name on another connection gives another answer.
    let sql = format!("SELECT $1::text || '{}'", random_hex::<8>());
    let prepared = async || {
        let row = one.query_one_raw(Statement::from_sql_and_values(DbBackend::Postgres, &sql, [String::new().into()])).await?;
        let answer: Option<String> = row.and_then(|row| row.try_get_by_index(0).ok());
        let is_ours = answer.is_some_and(|answer| sql.contains(&format!("'{answer}'")));
        if is_ours { Ok(()) } else { Err(DbErr::Custom("another prepared statement answers".to_owned())) }
    };
    prepared().await?;
    // Whoever holds the connection that served first makes the pooler take another one.
    let holder = open_one(url, START).await?;
    let holding = holder.begin().await?;
    holding.execute_unprepared("SELECT 1").await?;
    // A pooler that has no other one lets us wait, and loses nothing.
    let again = tokio::time::timeout(HELD, prepared()).await.unwrap_or(Ok(()));
    holding.rollback().await?;
    holder.close().await?;
    again
}

/// How many bytes may be sent to the database at once: MySQL and MariaDB end a connection by which more comes than a packet may have.
pub async fn batch_bytes(one: &DatabaseConnection) -> Result<usize, DbErr> {
    if one.get_database_backend() != DbBackend::MySql {
        return Ok(usize::MAX);
    }
    let sql = "SELECT CAST(@@max_allowed_packet AS SIGNED)";
    let row = one.query_one_raw(Statement::from_string(DbBackend::MySql, sql)).await?;
    let most: Option<i64> = row.map(|row| row.try_get_by_index(0)).transpose()?;
    Ok(most.and_then(|most| usize::try_from(most / 2).ok()).unwrap_or(usize::MAX))
}

/// The connections of a running server. `one` serves as the only one of the driver that writes to SQLite.
pub async fn open_pools(url: &str, one: DatabaseConnection, pool: &Pool) -> Result<Pools, DbErr> {
    if is_sqlite(url) {
        let Some(file) = sqlite_file(url) else {
            return Ok(Pools { read: Connections::to_file(one.clone()), write: Write::Shared(Connections::to_file(one)) });
        };
        let read = Database::connect(quiet(sqlite::options(url, SQLITE_READERS))).await?;
        sqlite::make_no_more_files(&read);
        let write = Write::File(File::open(&file)?, Connections::to_file(one));
        return Ok(Pools { read: Connections::to_file(read), write });
    }
    let isolates = reads_committed(&one).await?;
    one.close().await?;
    let writers = (pool.connections / (READS_PER_WRITE + 1)).max(2);
    let readers = pool.connections.saturating_sub(writers).max(1);
    let validity = Validity::from_now();
    let to_server = |connections| Connections::to_server(server(url, connections, pool, isolates, &validity), pool.wait, validity.clone());
    let (read, write) = (to_server(readers).await?, to_server(writers).await?);
    Ok(Pools { read, write: Write::Shared(write) })
}

/// Whether MariaDB or MySQL can be asked to read what is committed: a binary log of statements forbids it.
async fn reads_committed(one: &DatabaseConnection) -> Result<bool, DbErr> {
    if one.get_database_backend() != DbBackend::MySql {
        return Ok(false);
    }
    // Asked for as a variable of the session it would be an error where there is none: MySQL is about to write rows only.
    let sql =
        "SHOW VARIABLES WHERE (Variable_name = 'log_bin' AND Value = 'ON') OR (Variable_name = 'binlog_format' AND Value = 'STATEMENT')";
    Ok(one.query_all_raw(Statement::from_string(DbBackend::MySql, sql)).await?.len() < 2)
}

fn server(url: &str, connections: u32, pool: &Pool, isolates: bool, validity: &Validity) -> ConnectOptions {
    let mut options = ConnectOptions::new(url.to_owned());
    let (mysql, postgres) = (validity.clone(), validity.clone());
    options.map_sqlx_mysql_before_acquire(move |_, known| {
        let admits = mysql.admits(known.age);
        Box::pin(async move { Ok(admits) })
    });
    options.map_sqlx_postgres_before_acquire(move |_, known| {
        let admits = postgres.admits(known.age);
        Box::pin(async move { Ok(admits) })
    });
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
    pooled(quiet(options))
}

/// PgBouncer refuses what it does not know, and there are no fractions here whose digits could matter.
fn pooled(mut options: ConnectOptions) -> ConnectOptions {
    options.map_sqlx_postgres_opts(|postgres| postgres.extra_float_digits(None));
    options
}

fn is_sqlite(url: &str) -> bool {
    url.starts_with("sqlite:")
}

fn quiet(mut options: ConnectOptions) -> ConnectOptions {
    options.sqlx_logging_level(LevelFilter::Trace).sqlx_slow_statements_logging_settings(LevelFilter::Off, Duration::from_secs(1));
    options
}

//! The database: connections, and every difference between the databases. The only user of `sea_orm`; no rule lives here.

mod conversations;
mod messages;
mod sessions;
mod tickets;
mod users;
pub mod writer;

use std::{path::Path, time::Duration};

use migration::MigratorTrait;
use sea_orm::sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};
use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbBackend, DbErr, QueryResult, RuntimeErr, SqlErr, Statement,
};
use tracing::log::LevelFilter;

pub use conversations::{InboxFilter, InboxRow};
pub use messages::{Message, Page};
pub use sessions::Session;
pub use tickets::{SupportMessage, Ticket, TicketFilter};
pub use users::{NewUser, User};

use crate::error::{Error, Result};

/// The database. SQLite is read through several connections and written through one, so that no write ever finds the file locked by us.
pub struct Store {
    read: DatabaseConnection,
    write: DatabaseConnection,
}

/// How long a statement waits for a connection, or for SQLite's file lock.
const PATIENCE: Duration = Duration::from_secs(4);

impl Store {
    /// Connects, creating an SQLite file when there is none.
    pub async fn connect(url: &str) -> Result<Self, String> {
        let url = url.replacen("mariadb:", "mysql:", 1);
        let cannot = |e: DbErr| format!("The database cannot be opened: {}.", describe(&e));
        if url.starts_with("sqlite:") {
            let write = Database::connect(sqlite_options(&url, 1)).await.map_err(cannot)?;
            let memory = url.contains(":memory:");
            let read = if memory { write.clone() } else { Database::connect(sqlite_options(&url, 4)).await.map_err(cannot)? };
            return Ok(Self { read, write });
        }
        let mut options = ConnectOptions::new(url);
        options
            .max_connections(16)
            .min_connections(1)
            .acquire_timeout(PATIENCE)
            .connect_timeout(PATIENCE)
            .idle_timeout(Duration::from_secs(600));
        quiet(&mut options);
        let pool = Database::connect(options).await.map_err(cannot)?;
        Ok(Self { read: pool.clone(), write: pool })
    }

    /// Brings the schema up to date. Additive only.
    pub async fn migrate(&self) -> Result<(), String> {
        migration::Migrator::up(&self.write, None).await.map_err(|e| format!("The database cannot be migrated: {}.", describe(&e)))
    }

    /// Whether the database answers and can be written.
    pub async fn ping(&self) -> Result<()> {
        let ping = self.read.execute_unprepared("SELECT 1");
        tokio::time::timeout(Duration::from_millis(1500), ping).await.map_err(|_| Error::Unavailable)?.map_err(failure)?;
        Ok(())
    }

    async fn rows(&self, sql: &str, values: Vec<sea_orm::Value>) -> Result<Vec<QueryResult>> {
        self.read.query_all_raw(statement(&self.read, sql, values)).await.map_err(failure)
    }

    /// Closes the connections, so that SQLite folds its log into the file.
    pub async fn close(&self) {
        self.read.clone().close().await.ok();
        self.write.clone().close().await.ok();
    }
}

fn sqlite_options(url: &str, connections: u32) -> ConnectOptions {
    let mut options = ConnectOptions::new(url.to_owned());
    options.max_connections(connections).min_connections(1).acquire_timeout(PATIENCE);
    if url.contains(":memory:") {
        options.idle_timeout(None).max_lifetime(None);
    }
    quiet(&mut options);
    options.map_sqlx_sqlite_opts(|sqlite| {
        sqlite
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(PATIENCE)
    });
    options
}

fn quiet(options: &mut ConnectOptions) {
    options.sqlx_logging_level(LevelFilter::Trace).sqlx_slow_statements_logging_settings(LevelFilter::Off, Duration::from_secs(1));
}

/// A statement written with `?`; PostgreSQL wants the parameters numbered.
fn statement(db: &impl ConnectionTrait, sql: &str, values: Vec<sea_orm::Value>) -> Statement {
    let backend = db.get_database_backend();
    if backend != DbBackend::Postgres {
        return Statement::from_sql_and_values(backend, sql, values);
    }
    let mut numbered = String::with_capacity(sql.len() + values.len() * 2);
    let mut n = 0;
    for c in sql.chars() {
        if c == '?' {
            n += 1;
            numbered.push_str(&format!("${n}"));
        } else {
            numbered.push(c);
        }
    }
    Statement::from_sql_and_values(backend, numbered, values)
}

/// A pattern for `LIKE … ESCAPE '!'` that finds `text` anywhere, taking `%` and `_` as they are.
fn containing(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() + 2);
    pattern.push('%');
    for c in text.to_lowercase().chars() {
        if matches!(c, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

/// What a failed statement means to the caller: the database is away, or the server is at fault.
fn failure(e: DbErr) -> Error {
    if is_away(&e) { Error::Unavailable } else { Error::internal(describe(&e)) }
}

fn is_away(e: &DbErr) -> bool {
    use sea_orm::sqlx::Error as Sqlx;
    match e {
        DbErr::ConnectionAcquire(_) => true,
        DbErr::Conn(RuntimeErr::SqlxError(e)) | DbErr::Exec(RuntimeErr::SqlxError(e)) | DbErr::Query(RuntimeErr::SqlxError(e)) => {
            match &**e {
                Sqlx::Io(_) | Sqlx::PoolTimedOut | Sqlx::PoolClosed | Sqlx::WorkerCrashed | Sqlx::Tls(_) | Sqlx::Protocol(_) => true,
                // SQLite: busy, I/O error, full, cannot open, read-only: all pass by themselves or by an operator's hand.
                Sqlx::Database(d) => {
                    let primary = d.code().and_then(|c| c.parse::<i32>().ok()).map(|c| c & 0xff);
                    d.try_downcast_ref::<sea_orm::sqlx::sqlite::SqliteError>().is_some()
                        && matches!(primary, Some(5 | 6 | 8 | 10 | 13 | 14))
                }
                _ => false,
            }
        }
        _ => false,
    }
}

/// The kind of a failure, without the values that a database likes to quote.
fn describe(e: &DbErr) -> String {
    use sea_orm::sqlx::Error as Sqlx;
    match e {
        DbErr::Conn(RuntimeErr::SqlxError(e)) | DbErr::Exec(RuntimeErr::SqlxError(e)) | DbErr::Query(RuntimeErr::SqlxError(e)) => {
            match &**e {
                Sqlx::Database(d) if is_duplicate(&DbErr::Exec(RuntimeErr::SqlxError(e.clone()))) => {
                    format!("duplicate key ({})", d.code().unwrap_or_default())
                }
                other => other.to_string(),
            }
        }
        other => other.to_string(),
    }
}

fn is_duplicate(e: &DbErr) -> bool {
    matches!(e.sql_err(), Some(SqlErr::UniqueConstraintViolation(_)))
}

fn is_orphan(e: &DbErr) -> bool {
    matches!(e.sql_err(), Some(SqlErr::ForeignKeyConstraintViolation(_)))
}

/// The file of a secret that belongs to an SQLite database.
pub fn secret_file(database: &Path) -> std::path::PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(".jwt-secret");
    name.into()
}

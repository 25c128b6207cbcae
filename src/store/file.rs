//! The writer's connection to an SQLite file. A transaction runs on the thread that asks for it: the driver would take each of its statements
//! to another thread and back, which costs more than the statement.

use std::{
    path::Path,
    sync::{Arc, MutexGuard, PoisonError},
};

use chrono::{DateTime, NaiveDateTime, SecondsFormat, Utc};
use rusqlite::{Connection, OpenFlags, params_from_iter, types};
use sea_orm::sqlx::{Error as Sqlx, error::DatabaseError, error::ErrorKind};
use sea_orm::{ConnAcquireErr, DbErr, RuntimeErr, Value};
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::sqlite::{PATIENCE, PRAGMAS};
use super::wal::Log;

/// How many statements stay prepared: all that the writer has, many times.
const PREPARED: usize = 200;

/// The connection, for whoever's turn it is to write to the file; turns come in the order of asking.
#[derive(Clone)]
pub struct File {
    connection: Arc<Mutex<Option<Connection>>>,
    log: Arc<Log>,
}

/// The right to write, and the connection; nothing in it when it was closed.
type Turn = OwnedMutexGuard<Option<Connection>>;

/// A transaction; taken back when it is dropped. It blocks the thread that it is used on.
pub struct FileTransaction {
    turn: std::sync::Mutex<Turn>,
    log: Arc<Log>,
}

impl File {
    /// Opens a file that there is.
    pub fn open(path: &Path) -> Result<Self, DbErr> {
        let open = || {
            let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
            connection.set_prepared_statement_cache_capacity(PREPARED);
            connection.busy_timeout(PATIENCE)?;
            for (pragma, value) in PRAGMAS {
                connection.pragma_update(None, pragma, value)?;
            }
            Ok(connection)
        };
        Ok(Self { connection: Arc::new(Mutex::new(Some(open().map_err(failed)?))), log: Arc::new(Log::of(path)) })
    }

    /// How large its write-ahead log is.
    pub fn wal_bytes(&self) -> u64 {
        self.log.bytes()
    }

    /// Waits for the turn to write.
    pub async fn turn(&self) -> Result<Turn, DbErr> {
        let turn = tokio::time::timeout(PATIENCE, self.connection.clone().lock_owned());
        turn.await.map_err(|_| DbErr::ConnectionAcquire(ConnAcquireErr::Timeout))
    }

    /// Starts a transaction.
    pub async fn begin(&self) -> Result<FileTransaction, DbErr> {
        let turn = self.turn().await?;
        on(&turn, |connection| {
            take_back(connection)?;
            connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])
        })?;
        Ok(FileTransaction { turn: std::sync::Mutex::new(turn), log: self.log.clone() })
    }

    /// Closes the connection.
    pub async fn close(&self) {
        if let Ok(mut turn) = self.turn().await {
            tokio::task::spawn_blocking(move || drop(turn.take())).await.ok();
        }
    }
}

impl FileTransaction {
    fn turn(&self) -> MutexGuard<'_, Turn> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many rows a statement changes.
    pub fn run(&self, sql: &str, values: &[Value]) -> Result<u64, DbErr> {
        let changed = on(&self.turn(), |connection| connection.prepare_cached(sql)?.execute(params_from_iter(values.iter().map(Bound))));
        changed.map(|rows| u64::try_from(rows).unwrap_or(u64::MAX))
    }

    /// The id of a row that a statement inserts.
    pub fn insert(&self, sql: &str, values: &[Value]) -> Result<i64, DbErr> {
        on(&self.turn(), |connection| connection.prepare_cached(sql)?.insert(params_from_iter(values.iter().map(Bound))))
    }

    /// What a query finds.
    pub fn rows(&self, sql: &str, values: &[Value]) -> Result<Vec<Vec<Value>>, DbErr> {
        on(&self.turn(), |connection| {
            let mut prepared = connection.prepare_cached(sql)?;
            let columns: Vec<Kind> = prepared.columns().iter().map(|column| Kind::declared(column.decl_type())).collect();
            let read = |row: &rusqlite::Row<'_>| columns.iter().enumerate().map(|(at, kind)| Ok(kind.read(row.get_ref(at)?))).collect();
            prepared.query_map(params_from_iter(values.iter().map(Bound)), read)?.collect()
        })
    }

    /// Makes what was done last.
    pub fn commit(self) -> Result<(), DbErr> {
        on(&self.turn(), |connection| {
            connection.prepare_cached("COMMIT")?.execute([])?;
            self.log.tidy(connection);
            Ok(())
        })
    }
}

impl Drop for FileTransaction {
    fn drop(&mut self) {
        // What cannot be taken back now is before the next transaction begins.
        on(&self.turn(), take_back).ok();
    }
}

/// Ends a transaction that is under way. When a commit fails, as on a full disk, SQLite may have done so by itself, or not.
fn take_back(connection: &Connection) -> rusqlite::Result<()> {
    if connection.is_autocommit() { Ok(()) } else { connection.prepare_cached("ROLLBACK")?.execute([]).map(drop) }
}

fn on<T>(turn: &Turn, run: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, DbErr> {
    let connection = turn.as_ref().ok_or(DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed))?;
    run(connection).map_err(failed)
}

/// A parameter.
struct Bound<'a>(&'a Value);

impl rusqlite::ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<types::ToSqlOutput<'_>> {
        let number = |number: Option<i64>| Ok(types::ToSqlOutput::Owned(number.map_or(types::Value::Null, types::Value::Integer)));
        match self.0 {
            Value::String(Some(text)) => Ok(types::ToSqlOutput::Borrowed(types::ValueRef::Text(text.as_bytes()))),
            Value::Bool(flag) => number(flag.map(i64::from)),
            Value::Int(n) => number(n.map(i64::from)),
            Value::BigInt(n) => number(*n),
            // As the driver writes moments, for they are compared as texts.
            Value::ChronoDateTimeUtc(Some(moment)) => Ok(moment.to_rfc3339_opts(SecondsFormat::AutoSi, false).into()),
            Value::String(None) | Value::ChronoDateTimeUtc(None) => number(None),
            _ => Err(rusqlite::Error::ToSqlConversionFailure("a parameter of a type that no column has".into())),
        }
    }
}

/// What a column holds, by its declaration; an expression is a number.
enum Kind {
    Flag,
    Moment,
    Number,
    Text,
}

impl Kind {
    fn declared(declaration: Option<&str>) -> Self {
        let declaration = declaration.unwrap_or("integer").to_ascii_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| declaration.contains(word));
        if says(&["bool", "tinyint(1)"]) {
            Self::Flag
        } else if says(&["time", "date"]) {
            Self::Moment
        } else if says(&["int"]) {
            Self::Number
        } else {
            Self::Text
        }
    }

    fn read(&self, value: types::ValueRef<'_>) -> Value {
        let (number, text) = (value.as_i64().ok(), value.as_str().ok());
        match self {
            Self::Flag => Value::Bool(number.map(|n| n != 0)),
            Self::Moment => Value::ChronoDateTimeUtc(text.and_then(moment)),
            Self::Number => Value::BigInt(number),
            Self::Text => Value::String(text.map(str::to_owned)),
        }
    }
}

/// A moment in one of the forms that SQLite's own functions have, too.
fn moment(text: &str) -> Option<DateTime<Utc>> {
    let naive = |form| NaiveDateTime::parse_from_str(text, form).ok().map(|moment| moment.and_utc());
    let exact = DateTime::parse_from_rfc3339(text).ok().map(|moment| moment.to_utc());
    exact.or_else(|| naive("%F %T%.f")).or_else(|| naive("%FT%T%.f"))
}

/// What SQLite has said, in the form in which the driver would say it, so that a failure means the same wherever it comes from.
#[derive(Debug, thiserror::Error)]
#[error("(code: {code}) {message}")]
pub struct FileError {
    code: i32,
    message: String,
}

impl DatabaseError for FileError {
    fn message(&self) -> &str {
        &self.message
    }

    fn code(&self) -> Option<std::borrow::Cow<'_, str>> {
        Some(self.code.to_string().into())
    }

    fn kind(&self) -> ErrorKind {
        match self.code {
            rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE | rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY => ErrorKind::UniqueViolation,
            rusqlite::ffi::SQLITE_CONSTRAINT_FOREIGNKEY => ErrorKind::ForeignKeyViolation,
            _ => ErrorKind::Other,
        }
    }

    fn as_error(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
        self
    }

    fn as_error_mut(&mut self) -> &mut (dyn std::error::Error + Send + Sync + 'static) {
        self
    }

    fn into_error(self: Box<Self>) -> Box<dyn std::error::Error + Send + Sync + 'static> {
        self
    }
}

fn failed(e: rusqlite::Error) -> DbErr {
    let e = match e {
        rusqlite::Error::SqliteFailure(code, message) => {
            let message = message.unwrap_or_else(|| code.to_string());
            Sqlx::Database(Box::new(FileError { code: code.extended_code, message }))
        }
        other => Sqlx::Encode(other.into()),
    };
    DbErr::Exec(RuntimeErr::SqlxError(Arc::new(e)))
}

#[cfg(test)]
mod tests {
    use sea_orm::{ConnectionTrait, Database, Statement};

    use super::*;

    /// What is committed must be on the disk before it is answered: `2` is FULL.
    #[tokio::test]
    async fn every_connection_that_writes_waits_for_the_disk() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("test.db");
        let driver = Database::connect(super::super::sqlite::options(&format!("sqlite://{}", path.display()), 1)).await.expect("opens");
        let file = File::open(&path).expect("opens");
        let tx = file.begin().await.expect("begins");
        for (pragma, wanted) in [("synchronous", Value::from(2_i64)), ("journal_mode", "wal".into()), ("foreign_keys", 1_i64.into())] {
            let sql = format!("SELECT {pragma} FROM pragma_{pragma}");
            let own: Value = on(&tx.turn(), |connection| {
                connection
                    .query_row(&sql, [], |row| row.get::<_, i64>(0).map(Value::from).or_else(|_| row.get::<_, String>(0).map(Value::from)))
            })
            .expect("is told");
            assert_eq!(own, wanted, "{pragma} of the writer");
            let row =
                driver.query_one_raw(Statement::from_string(driver.get_database_backend(), sql)).await.expect("is told").expect("a row");
            let drivers = row.try_get_by_index::<i64>(0).map(Value::from).or_else(|_| row.try_get_by_index::<String>(0).map(Value::from));
            assert_eq!(drivers.expect("a value"), wanted, "{pragma} of the driver");
        }
    }
}

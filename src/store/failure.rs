//! What the failure of a statement means: to the caller, to the writer, to the log.

use std::sync::Once;

use sea_orm::sqlx::{Error as Sqlx, error::DatabaseError, mysql::MySqlDatabaseError, sqlite::SqliteError};
use sea_orm::{ConnAcquireErr, DbErr, RuntimeErr};

use super::file::FileError;
use crate::error::Error;

/// What a failed statement means to the caller: the database is away or hindered for now, a value does not go into its column, or the server
/// is at fault.
pub fn failure(e: DbErr) -> Error {
    if hindrance(&e) == DAMAGED {
        static TOLD: Once = Once::new();
        let advice = "stop tidings, restore a backup and start again; docs/operations.md says how";
        TOLD.call_once(|| tracing::error!(cause = %describe(&e), advice, "the database file is damaged"));
    }
    match unfit(&e) {
        _ if is_away(&e) || is_collision(&e) => Error::Unavailable,
        Some(sentence) => Error::invalid(sentence),
        None => Error::internal(describe(&e)),
    }
}

/// Why a value does not go into the column that it is stored in or compared with, in a sentence for its sender. The columns of an adopted
/// database may be narrower than ours, in characters and in length.
fn unfit(e: &DbErr) -> Option<&'static str> {
    const CHARACTERS: &str = "A text has characters that this server's database cannot store";
    const LENGTH: &str = "A value is longer than this server's database can store";
    let Some(Sqlx::Database(d)) = sqlx(e) else { return None };
    if let Some(d) = d.try_downcast_ref::<MySqlDatabaseError>() {
        // Characters that the column's character set lacks; too long, out of range, none of the words of an enumeration.
        return match d.number() {
            1366 | 1300 | 1267 | 1270 | 1271 | 3854 | 3988 => Some(CHARACTERS),
            1406 | 1264 | 1265 => Some(LENGTH),
            _ => None,
        };
    }
    match d.code().as_deref() {
        Some("22P05" | "22021") => Some(CHARACTERS),
        Some("22001" | "22003") => Some(LENGTH),
        _ => None,
    }
}

/// Whether a value does not go into the column that it is stored in or compared with.
pub fn is_unfit(e: &DbErr) -> bool {
    unfit(e).is_some()
}

/// Whether the database is away, or can do nothing for anybody for now.
pub fn is_away(e: &DbErr) -> bool {
    is_broken(e) || matches!(sqlx(e), Some(Sqlx::Database(d)) if is_hindered(&**d))
}

/// Whether there was no connection to be had, or it broke before the answer came: what was asked may have been done or not.
pub fn is_broken(e: &DbErr) -> bool {
    match e {
        DbErr::ConnectionAcquire(_) => true,
        e => match sqlx(e) {
            Some(Sqlx::Io(_) | Sqlx::PoolTimedOut | Sqlx::PoolClosed | Sqlx::WorkerCrashed | Sqlx::Tls(_) | Sqlx::Protocol(_)) => true,
            Some(Sqlx::Database(d)) => is_end(&**d),
            _ => false,
        },
    }
}

/// Whether the database says that this is the end of the connection: SQLite cannot read or write its file, the others shut down or
/// were told to end it.
fn is_end(d: &dyn DatabaseError) -> bool {
    if is_sqlite(d) {
        return primary(d) == Some(10);
    }
    if let Some(d) = d.try_downcast_ref::<MySqlDatabaseError>() {
        // Shutting down, killed; of MySQL also offline, killed, and idle for too long.
        return matches!(d.number(), 1053 | 1077 | 1079 | 1927 | 3032 | 3168 | 3169 | 4031);
    }
    d.code().is_some_and(|c| c.starts_with("08") || c.starts_with("57P"))
}

/// Whether SQLite says so, by the driver or by the connection that writes.
fn is_sqlite(d: &dyn DatabaseError) -> bool {
    d.try_downcast_ref::<SqliteError>().is_some() || d.try_downcast_ref::<FileError>().is_some()
}

/// SQLite's primary result code.
fn primary(d: &dyn DatabaseError) -> Option<i32> {
    d.code().and_then(|c| c.parse::<i32>().ok()).map(|c| c & 0xff)
}

/// Whether the database itself says that it is hindered, by what passes by itself or by an operator's hand.
fn is_hindered(d: &dyn DatabaseError) -> bool {
    if is_sqlite(d) {
        // Busy, locked, read-only, I/O error, damaged, full, cannot open, no database any more.
        return matches!(primary(d), Some(5 | 6 | 8 | 10 | 11 | 13 | 14 | 26));
    }
    if is_end(d) || is_read_only(d) {
        return true;
    }
    if let Some(d) = d.try_downcast_ref::<MySqlDatabaseError>() {
        // Disk full, table full, too many connections, a lock that is not to be had in time, interrupted.
        return matches!(d.number(), 1021 | 1114 | 1040 | 1203 | 1226 | 1205 | 1317);
    }
    // PostgreSQL: out of resources, a lock that is not to be had in time.
    d.code().is_some_and(|c| c.starts_with("53") || c == "55P03")
}

/// Whether the server refuses to write, as one does that is no longer the primary; nothing was done then. Another connection may lead to
/// the server that has taken its place.
pub fn is_misplaced(e: &DbErr) -> bool {
    matches!(sqlx(e), Some(Sqlx::Database(d)) if is_read_only(&**d))
}

/// Whether a server says that it, or the session, is read-only; of Galera, that this node has left the cluster.
fn is_read_only(d: &dyn DatabaseError) -> bool {
    if let Some(d) = d.try_downcast_ref::<MySqlDatabaseError>() {
        return matches!(d.number(), 1047 | 1290 | 1792 | 1836);
    }
    !is_sqlite(d) && d.code().as_deref() == Some("25006")
}

/// The hindrance that the database does not answer, or nobody knows what.
pub const AWAY: &str = "away";
/// The hindrance that an SQLite file is damaged.
pub const DAMAGED: &str = "damaged";

/// What hinders a database that is away, in a word for its operator.
pub fn hindrance(e: &DbErr) -> &'static str {
    let Some(Sqlx::Database(d)) = sqlx(e) else { return AWAY };
    if let Some(code) = sqlite_code(e) {
        return match code {
            5 | 6 => "locked",
            8 => "read-only",
            10 => "input or output error",
            11 | 26 => DAMAGED,
            13 => "disk full",
            _ => AWAY,
        };
    }
    match (d.try_downcast_ref::<MySqlDatabaseError>().map(MySqlDatabaseError::number), d.code().as_deref()) {
        (Some(1021 | 1114), _) | (None, Some("53100")) => "disk full",
        _ if is_read_only(&**d) => "read-only",
        _ => AWAY,
    }
}

/// The primary result code of SQLite.
pub fn sqlite_code(e: &DbErr) -> Option<i32> {
    let Some(Sqlx::Database(d)) = sqlx(e) else { return None };
    if is_sqlite(&**d) { primary(&**d) } else { None }
}

/// Whether a statement has waited too long: for somebody's lock, or for its answer.
pub fn is_late(e: &DbErr) -> bool {
    if matches!(e, DbErr::ConnectionAcquire(ConnAcquireErr::Timeout)) {
        return true;
    }
    let Some(Sqlx::Database(d)) = sqlx(e) else { return false };
    match d.try_downcast_ref::<MySqlDatabaseError>() {
        Some(d) => d.number() == 1205,
        None => matches!(d.code().as_deref(), Some("55P03" | "57014")),
    }
}

/// Whether the transaction collided with another one, so that the same again will succeed.
pub fn is_collision(e: &DbErr) -> bool {
    let Some(Sqlx::Database(d)) = sqlx(e) else { return false };
    match d.try_downcast_ref::<MySqlDatabaseError>() {
        // A deadlock, a row that changed under a snapshot, a statement to be prepared anew.
        Some(d) => matches!(d.number(), 1213 | 1020 | 1615),
        None => matches!(d.code().as_deref(), Some("40001" | "40P01")),
    }
}

/// Whether the database's user lacks the right to do it.
pub fn is_denied(e: &DbErr) -> bool {
    let Some(Sqlx::Database(d)) = sqlx(e) else { return false };
    match d.try_downcast_ref::<MySqlDatabaseError>() {
        Some(d) => matches!(d.number(), 1044 | 1142 | 1143 | 1227),
        None => d.code().as_deref() == Some("42501"),
    }
}

/// Whether a unique key has this value already.
pub fn is_duplicate(e: &DbErr) -> bool {
    matches!(sqlx(e), Some(Sqlx::Database(d)) if d.is_unique_violation())
}

/// Whether the row refers to one that does not exist, or is another one by now.
pub fn is_orphan(e: &DbErr) -> bool {
    matches!(e, DbErr::RecordNotUpdated) || matches!(sqlx(e), Some(Sqlx::Database(d)) if d.is_foreign_key_violation())
}

/// The kind of a failure, without the values that a database likes to quote.
pub fn describe(e: &DbErr) -> String {
    match sqlx(e) {
        Some(Sqlx::Database(d)) if is_duplicate(e) => format!("duplicate key ({})", d.code().unwrap_or_default()),
        Some(Sqlx::Database(d)) if is_unfit(e) || quotes(&**d) => {
            let code = d.try_downcast_ref::<MySqlDatabaseError>().map(|d| d.number().to_string());
            format!("a value that does not fit ({})", code.or(d.code().map(Into::into)).unwrap_or_default())
        }
        Some(other) => other.to_string(),
        None => e.to_string(),
    }
}

/// Whether the message may quote a value: those about data (classes 22 and 23 of SQLSTATE), and MySQL's about wrong values of no class.
fn quotes(d: &dyn DatabaseError) -> bool {
    let number = d.try_downcast_ref::<MySqlDatabaseError>().map(MySqlDatabaseError::number);
    !is_sqlite(d) && d.code().is_some_and(|c| c.starts_with("22") || c.starts_with("23"))
        || matches!(number, Some(1292 | 1411 | 1525 | 1366))
}

fn sqlx(e: &DbErr) -> Option<&Sqlx> {
    match e {
        DbErr::Conn(RuntimeErr::SqlxError(e)) | DbErr::Exec(RuntimeErr::SqlxError(e)) | DbErr::Query(RuntimeErr::SqlxError(e)) => Some(e),
        _ => None,
    }
}

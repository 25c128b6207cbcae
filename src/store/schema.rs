//! The schema at start: brought up to date under a lock, and looked at for what an adopted database has of its own.

use std::time::Duration;

use migration::{Migrator, MigratorTrait};
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DbBackend, DbErr, SqliteTransactionMode, Statement, TransactionOptions, TransactionTrait,
};

use super::failure::{describe, is_denied};
use super::{connect, trial};
use crate::clock;

/// What differs between a schema of our own and an adopted one.
#[derive(Clone, Debug)]
pub struct Schema {
    /// The legacy column `conversations.trip_id`, which has no default, is there: so the database is an adopted one.
    pub has_trips: bool,
    /// How many digits of a second the tables keep. What is announced is cut to them first, since MySQL rounds what it stores.
    pub fraction: u16,
    /// The columns of the legacy `users` that are there and not in ours.
    pub profile: Vec<&'static str>,
}

/// Whether a server can work on the tables that there are.
///
/// # Errors
/// A sentence that names the tables and columns, and says what to do. Nothing has been changed.
pub async fn check(url: &str, one: &DatabaseConnection) -> Result<(), String> {
    let faults = migration::faults(one).await.map_err(|e| connect::cannot_open(url, &e))?;
    if faults.is_empty() {
        return Ok(());
    }
    let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
    Err(format!("The tables of the database cannot be used as they are: {}. Nothing was changed.", faults.join("; ")))
}

/// Whether a server may do to the tables what it will do.
///
/// # Errors
/// A sentence that says what to do.
pub async fn check_rights(url: &str, one: &DatabaseConnection) -> Result<(), String> {
    match trial::try_all(one).await.map_err(|e| connect::cannot_open(url, &e))?.into_iter().next() {
        Some(sentence) => Err(sentence),
        None => Ok(()),
    }
}

/// The sentence for a database whose schema cannot be brought up to date.
pub fn cannot_migrate(url: &str, e: &DbErr) -> String {
    if !is_denied(e) {
        return connect::cannot_migrate(url, e);
    }
    let why = describe(e);
    let why = why.trim_end_matches('.');
    format!("The database cannot be migrated ({why}): let an administrator run `tidings migrate` with a DATABASE_URL of more rights.")
}

/// What an agency tells the old backend of itself when it registers.
const PROFILE: [&str; 4] = ["phone", "website", "address", "description"];

/// How long a starting node waits for another one that migrates.
const MIGRATION_PATIENCE: u32 = 600;
/// Names the lock in a PostgreSQL database: the letters "tidings".
const LOCK: i64 = 0x0074_6964_696e_6773;

/// Names it on a MySQL or MariaDB server, for this database: a name may have 64 characters. Databases that share one wait for each other.
const MYSQL_LOCK: &str = "LEFT(CONCAT('tidings:', DATABASE()), 64)";

/// How often the log says that a migration goes on.
const WORD: Duration = Duration::from_secs(3);

/// Takes the pending steps as [`migrate`] does, and has the log say now and then that it goes on, and how far it is if the database can tell.
pub async fn migrate_aloud(url: &str, one: &DatabaseConnection) -> Result<(), DbErr> {
    tokio::select! {
        outcome = migrate(one) => outcome,
        never = tell(url, one.get_database_backend()) => match never {},
    }
}

/// Tells how far the migration is, for ever.
async fn tell(url: &str, backend: DbBackend) -> std::convert::Infallible {
    let sql = match backend {
        DbBackend::MySql => Some(
            "SELECT CONCAT(CAST(variable_value AS SIGNED) DIV 100, ' % of this addition') FROM information_schema.global_status \
             WHERE variable_name = 'Innodb_onlineddl_pct_progress' AND variable_value > 0",
        ),
        DbBackend::Postgres => Some(
            "SELECT phase || COALESCE(', ' || 100 * GREATEST(blocks_done, tuples_done) / NULLIF(GREATEST(blocks_total, tuples_total), 0) || ' % of it', \
             '') FROM pg_stat_progress_create_index WHERE datname = current_database()",
        ),
        _ => None,
    };
    let start = clock::instant();
    // Its own: the other one is at work.
    let mut beside: Option<DatabaseConnection> = None;
    loop {
        tokio::time::sleep(WORD).await;
        let mut far = String::new();
        if let Some(sql) = sql {
            if beside.is_none() {
                beside = connect::open_one(url, WORD).await.ok();
            }
            if let Some(beside) = &beside {
                let row = beside.query_one_raw(Statement::from_string(backend, sql)).await.ok().flatten();
                far = row.and_then(|row| row.try_get_by_index::<String>(0).ok()).map(|far| format!(": {far}")).unwrap_or_default();
            }
        }
        tracing::info!("the schema is still being brought up to date, for {} s now{far}", start.elapsed().as_secs());
    }
}

/// Takes the pending steps, one node at a time. `one` is a pool of a single connection, for a lock belongs to a connection.
async fn migrate(one: &DatabaseConnection) -> Result<(), DbErr> {
    match one.get_database_backend() {
        // It commits at every statement of a schema, so the lock cannot be a transaction's.
        DbBackend::MySql => {
            let backend = DbBackend::MySql;
            let lock = format!("SELECT GET_LOCK({MYSQL_LOCK}, {MIGRATION_PATIENCE})");
            let row = one.query_one_raw(Statement::from_string(backend, lock)).await?;
            if row.map(|row| row.try_get_by_index::<Option<i64>>(0)).transpose()?.flatten() != Some(1) {
                return Err(DbErr::Custom("another node has been migrating it for too long".to_owned()));
            }
            let outcome = Migrator::up(one, None).await;
            one.execute_unprepared(&format!("SELECT RELEASE_LOCK({MYSQL_LOCK})")).await.ok();
            outcome
        }
        backend => {
            let options = TransactionOptions { sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate), ..Default::default() };
            let tx = one.begin_with_options(options).await?;
            if backend == DbBackend::Postgres {
                tx.execute_unprepared(&format!("SET LOCAL lock_timeout = '{MIGRATION_PATIENCE}s'")).await?;
                tx.execute_unprepared(&format!("SELECT pg_advisory_xact_lock({LOCK})")).await?;
            }
            Migrator::up(&tx, None).await?;
            tx.commit().await
        }
    }
}

/// Looks at the tables.
pub async fn inspect(one: &DatabaseConnection) -> Result<Schema, DbErr> {
    let has_trips = migration::has_column(one, "conversations", "trip_id").await?;
    let mut fraction = 3;
    if one.get_database_backend() == DbBackend::MySql {
        let sql = "SELECT CAST(MIN(datetime_precision) AS SIGNED) FROM information_schema.columns WHERE table_schema = DATABASE() \
                   AND table_name IN ('conversations', 'messages', 'support_tickets', 'support_messages') \
                   AND column_name IN ('created_at', 'updated_at', 'read_at', 'last_message_at')";
        let row = one.query_one_raw(Statement::from_string(DbBackend::MySql, sql)).await?;
        let least: Option<i64> = row.map(|row| row.try_get_by_index(0)).transpose()?.flatten();
        fraction = least.and_then(|digits| u16::try_from(digits).ok()).map_or(3, |digits| digits.min(3));
    }
    let mut profile = Vec::new();
    for column in PROFILE {
        if migration::has_column(one, "users", column).await? {
            profile.push(column);
        }
    }
    Ok(Schema { has_trips, fraction, profile })
}

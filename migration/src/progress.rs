//! How a step is taken when somebody waits for it: the log says which addition it is at, to how many rows, and how long the rest may take.

use std::time::{Duration, Instant};

use sea_orm_migration::SchemaManager;
use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};

use crate::catalog::Catalog;
use crate::change::Change;

/// An addition to a table of less rows is done before anybody wonders.
const NOTEWORTHY: i64 = 10_000;

/// Makes the changes of a step.
pub async fn take(step: &str, changes: Vec<Change>, m: &SchemaManager<'_>, catalog: &Catalog) -> Result<(), DbErr> {
    let mut missing = Vec::new();
    for change in changes {
        if !change.is_done(catalog) {
            let rows = if change.reads_rows() { rows(m, change.table()).await? } else { 0 };
            missing.push((change, rows));
        }
    }
    let (all, start) = (missing.len(), now());
    let (mut left, mut done): (i64, i64) = (missing.iter().map(|(_, rows)| rows).sum(), 0);
    tracing::info!(step, additions = all, "taking a step of the schema");
    for (n, (change, rows)) in missing.into_iter().enumerate() {
        let is_noteworthy = rows >= NOTEWORTHY;
        let name = change.to_string();
        if is_noteworthy {
            tracing::info!(step, rows, "{} of {all}: adding {name} to about {rows} rows{}", n + 1, rest(start.elapsed(), done, left));
        }
        let begun = now();
        change.make(m, catalog).await?;
        (left, done) = (left - rows, done + rows);
        if is_noteworthy {
            tracing::info!(step, took_ms = millis(begun.elapsed()), "{} of {all}: added {name}", n + 1);
        }
    }
    tracing::info!(step, took_ms = millis(start.elapsed()), "took a step of the schema");
    Ok(())
}

/// How long the rest may take, by the rows that were and are to be gone through.
fn rest(taken: Duration, done: i64, left: i64) -> String {
    let (Ok(done), Ok(left)) = (u32::try_from(done), u32::try_from(left)) else { return String::new() };
    if done == 0 {
        return String::new();
    }
    format!(
        "; {} % are done, about {} s are left",
        u64::from(done) * 100 / (u64::from(done) + u64::from(left)),
        (taken * left / done).as_secs() + 1
    )
}

/// About how many rows a table has, by what the database knows without counting; none when there is no table.
pub async fn rows(m: &SchemaManager<'_>, table: &str) -> Result<i64, DbErr> {
    if !m.has_table(table).await? {
        return Ok(0);
    }
    let backend = m.get_database_backend();
    let known = match backend {
        DbBackend::MySql => {
            format!(
                "SELECT CAST(table_rows AS SIGNED) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = '{table}'"
            )
        }
        // A table that was never analysed has -1.
        DbBackend::Postgres => format!("SELECT NULLIF(reltuples, -1)::bigint FROM pg_class WHERE oid = to_regclass('{table}')"),
        _ => format!("SELECT MAX(rowid) FROM {table}"),
    };
    if let Some(rows) = number(m, known).await? {
        return Ok(rows);
    }
    Ok(if backend == DbBackend::Postgres { number(m, format!("SELECT COUNT(*) FROM {table}")).await?.unwrap_or(0) } else { 0 })
}

async fn number(m: &SchemaManager<'_>, sql: String) -> Result<Option<i64>, DbErr> {
    let row = m.get_connection().query_one_raw(Statement::from_string(m.get_database_backend(), sql)).await?;
    Ok(row.map(|row| row.try_get_by_index::<Option<i64>>(0)).transpose()?.flatten())
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[expect(clippy::disallowed_methods, reason = "this crate stands alone, and no rule hangs on what its log says")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_is_told_by_the_rows_once_some_are_done() {
        assert_eq!(rest(Duration::from_secs(9), 0, 100), "");
        assert_eq!(rest(Duration::from_secs(9), 300, 100), "; 75 % are done, about 4 s are left");
    }
}

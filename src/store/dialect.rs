//! The SQL in which the databases differ, so that all of them give the same answer to the same question, whatever their collations.

use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement, Value};

/// A statement written with `?`; PostgreSQL wants the parameters numbered.
pub fn statement(db: &impl ConnectionTrait, sql: &str, values: Vec<Value>) -> Statement {
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

/// Inserts rows by one statement and returns their ids, in the order of its `VALUES`.
pub async fn insert(db: &impl ConnectionTrait, sql: &str, values: Vec<Value>, rows: usize) -> Result<Vec<i64>, DbErr> {
    if db.support_returning() {
        let rows = db.query_all_raw(statement(db, &format!("{sql} RETURNING id"), values)).await?;
        let mut ids = rows.iter().map(|row| row.try_get_by_index(0)).collect::<Result<Vec<i64>, _>>()?;
        // Ids grow in the order of VALUES, but rows may be returned in any.
        ids.sort_unstable();
        return Ok(ids);
    }
    // MySQL and MariaDB tell the first id of an insert; the others follow it, as long as `auto_increment_increment` is 1.
    let first = i64::try_from(db.execute_raw(statement(db, sql, values)).await?.last_insert_id()).map_err(|_| DbErr::RecordNotInserted)?;
    Ok((first..).take(rows).collect())
}

/// A column of text, compared and sorted by its code points.
pub fn bytewise(backend: DbBackend, column: &str) -> String {
    match backend {
        DbBackend::MySql => format!("CONVERT({column} USING utf8mb4) COLLATE utf8mb4_bin"),
        DbBackend::Postgres => format!("{column} COLLATE \"C\""),
        _ => column.to_owned(),
    }
}

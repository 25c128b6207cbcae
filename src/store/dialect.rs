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

/// The longest text that is searched for; no name is longer.
const LONGEST: usize = 255;

/// A condition, and its one parameter, that finds `text` anywhere in a column: in any case of the letters A to Z, all other characters,
/// also `%` and `_`, as they are. Nothing when it can be found nowhere.
pub fn contains(backend: DbBackend, column: &str, text: &str) -> Option<(String, Value)> {
    if text.contains('\0') || text.chars().count() > LONGEST {
        return None;
    }
    Some(match backend {
        // Its LIKE and LOWER fold as much as the column's collation does, up to accents; a class of two letters folds nothing else.
        DbBackend::MySql => (format!("{} REGEXP ?", bytewise(backend, column)), anywhere(text).into()),
        DbBackend::Postgres => (format!("LOWER({}) LIKE ? ESCAPE '!'", bytewise(backend, column)), pattern(text).into()),
        _ => (format!("LOWER({column}) LIKE ? ESCAPE '!'"), pattern(text).into()),
    })
}

/// A column of text, compared and sorted by its code points.
pub fn bytewise(backend: DbBackend, column: &str) -> String {
    match backend {
        DbBackend::MySql => format!("CONVERT({column} USING utf8mb4) COLLATE utf8mb4_bin"),
        DbBackend::Postgres => format!("{column} COLLATE \"C\""),
        _ => column.to_owned(),
    }
}

/// The length of a column of text in code points.
pub fn length(backend: DbBackend, column: &str) -> String {
    let function = if backend == DbBackend::MySql { "CHAR_LENGTH" } else { "LENGTH" };
    format!("{function}({column})")
}

/// A pattern for `LIKE … ESCAPE '!'`.
fn pattern(text: &str) -> String {
    let mut pattern = String::from("%");
    for c in text.to_ascii_lowercase().chars() {
        if matches!(c, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

/// A regular expression for the same.
fn anywhere(text: &str) -> String {
    let mut expression = String::new();
    for c in text.chars() {
        if c.is_ascii_alphabetic() {
            expression.extend(['[', c.to_ascii_lowercase(), c.to_ascii_uppercase(), ']']);
        } else {
            if c.is_ascii() && !c.is_ascii_digit() {
                expression.push('\\');
            }
            expression.push(c);
        }
    }
    expression
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_takes_every_character_as_it_is_but_the_case_of_ascii_letters() {
        assert_eq!(pattern("A_b%!É"), "%a!_b!%!!É%");
        assert_eq!(anywhere("A_b.1É"), "[aA]\\_[bB]\\.1É");
        assert!(contains(DbBackend::Sqlite, "name", "a\0").is_none());
    }
}

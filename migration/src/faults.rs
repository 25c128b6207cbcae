//! What keeps a server from working on the tables that a database has, and that no step mends: each in a clause that names table and column,
//! and says what to do. Columns and indexes that can be added are no faults.

use std::fmt;

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

use crate::catalog::{Catalog, Column};

/// What a column holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Number,
    Text,
    Flag,
    Moment,
    Other,
}

/// Something about the tables that keeps a server from working on them.
#[derive(Debug)]
pub struct Fault {
    /// What it is.
    pub found: String,
    /// What to do about it.
    pub advice: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.found, self.advice)
    }
}

/// The faults of the tables that `tables` would make, as far as the database has them.
pub fn faults(catalog: &Catalog, tables: &[(&'static str, TableCreateStatement)]) -> Vec<Fault> {
    tables.iter().flat_map(|(name, wanted)| faults_of_table(catalog, name, wanted)).collect()
}

fn faults_of_table(catalog: &Catalog, name: &str, wanted: &TableCreateStatement) -> Vec<Fault> {
    if let Some(table) = catalog.misspelt(name) {
        let rename = match catalog.backend {
            DbBackend::MySql => format!("RENAME TABLE `{}` TO `{name}`", table.name),
            _ => format!("ALTER TABLE \"{}\" RENAME TO \"{name}\"", table.name),
        };
        return vec![Fault { found: format!("the table {name} is called {} here", table.name), advice: rename }];
    }
    let Some(table) = catalog.table(name) else { return Vec::new() };
    let mut faults = Vec::new();
    for column in wanted.get_columns() {
        let column_name = column.get_column_name();
        match catalog.column(name, &column_name) {
            Some(has) => faults.extend(fault_of_column(catalog, name, column, has)),
            None if may_be_null(column) => {}
            None => faults.push(Fault {
                found: format!(
                    "the table {name} has no column {column_name} (it has {})",
                    table.columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ")
                ),
                advice: "add it under this name, and fill it in the rows that there are".to_owned(),
            }),
        }
    }
    // What others need is theirs to say; of `users` the server only reads, but for its own registrations.
    let known = wanted.get_columns().iter().map(ColumnDef::get_column_name).chain(["trip_id".to_owned()]).collect::<Vec<_>>();
    for column in table.columns.iter().filter(|column| column.is_required && name != "users") {
        if !known.iter().any(|known| known.eq_ignore_ascii_case(&column.name)) {
            faults.push(Fault {
                found: format!("the column {name}.{} wants a value in each new row, and tidings knows none", column.name),
                advice: "give it a default".to_owned(),
            });
        }
    }
    faults
}

fn fault_of_column(catalog: &Catalog, table: &str, wanted: &ColumnDef, has: &Column) -> Option<Fault> {
    let kind = wanted.get_column_type().map(kind_of_wanted)?;
    // What is only read is null when it is of no use.
    let is_only_read = table == "users" && may_be_null(wanted);
    if is_only_read || fits(catalog.backend, kind, &has.kind) {
        return None;
    }
    let (needs, example) = match (kind, catalog.backend) {
        (Kind::Number, _) => ("a whole number", "bigint"),
        (Kind::Flag, DbBackend::MySql) => ("a flag", "tinyint(1)"),
        (Kind::Flag, _) => ("a flag", "boolean"),
        (Kind::Moment, DbBackend::Postgres) => ("a moment", "timestamptz"),
        (Kind::Moment, _) => ("a moment", "datetime"),
        _ => ("a text", "text"),
    };
    Some(Fault {
        found: format!("the column {table}.{} is of type {}, but must hold {needs}", has.name, has.kind),
        advice: format!("change its type, such as to {example}"),
    })
}

fn may_be_null(column: &ColumnDef) -> bool {
    let spec = column.get_column_spec();
    spec.nullable == Some(true) && !spec.primary_key
}

fn kind_of_wanted(wanted: &ColumnType) -> Kind {
    match wanted {
        ColumnType::BigInteger | ColumnType::Integer => Kind::Number,
        ColumnType::Boolean => Kind::Flag,
        ColumnType::TimestampWithTimeZone => Kind::Moment,
        ColumnType::Custom(name) => kind_of(&name.to_string()),
        ColumnType::String(_) | ColumnType::Text => Kind::Text,
        _ => Kind::Other,
    }
}

/// What a type holds by its name.
fn kind_of(name: &str) -> Kind {
    let starts = |words: &[&str]| words.iter().any(|word| name.starts_with(word));
    if starts(&["tinyint(1)", "bool", "bit"]) {
        Kind::Flag
    } else if name.contains("int") && !starts(&["interval", "point"]) || starts(&["serial", "bigserial"]) {
        Kind::Number
    } else if starts(&["datetime", "timestamp"]) {
        Kind::Moment
    } else if starts(&["char", "varchar", "nchar", "nvarchar", "enum", "set(", "citext", "clob", "string", "\"char\"", "name"])
        || name.contains("text")
        || name.contains("blob")
        || name.contains("binary")
    {
        Kind::Text
    } else {
        Kind::Other
    }
}

fn fits(backend: DbBackend, wanted: Kind, has: &str) -> bool {
    match (wanted, kind_of(has)) {
        (Kind::Other, _) => true,
        // Where flags are numbers, any number will do; and a narrow one is a number all the same.
        (Kind::Flag, Kind::Number) | (Kind::Number, Kind::Flag) => backend != DbBackend::Postgres && !has.starts_with("bit"),
        (wanted, has) => wanted == has,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_fits_by_what_it_holds_whatever_it_is_called() {
        use sea_orm_migration::sea_orm::DatabaseBackend::{MySql, Postgres, Sqlite};
        for (backend, wanted, has, fit) in [
            (MySql, Kind::Number, "int(10) unsigned", true),
            (MySql, Kind::Number, "varchar(36)", false),
            (Postgres, Kind::Number, "uuid", false),
            (MySql, Kind::Flag, "tinyint(4)", true),
            (Postgres, Kind::Flag, "integer", false),
            (Sqlite, Kind::Flag, "integer", true),
            (MySql, Kind::Moment, "timestamp", true),
            (Postgres, Kind::Moment, "timestamp without time zone", true),
            (MySql, Kind::Moment, "bigint(20)", false),
            (MySql, Kind::Text, "mediumtext", true),
            (Postgres, Kind::Text, "character varying(255)", true),
            (Postgres, Kind::Text, "user_role", false),
        ] {
            assert_eq!(fits(backend, wanted, has), fit, "{has}");
        }
    }
}

//! What a step may do to a schema: add a table, a column or an index, when it is not there. Nothing else exists, so no step can remove or
//! rewrite anything, and what it would do can be told without doing it.

use std::fmt;

use sea_orm_migration::prelude::*;

use crate::catalog::Catalog;
use crate::columns::utf8;

/// An addition to the schema.
pub enum Change {
    /// A table.
    Table(&'static str, TableCreateStatement),
    /// A column of a table.
    Column(&'static str, String, ColumnDef),
    /// A column that a table has when it is made, for one that others made without it.
    OwnColumn(&'static str, String, ColumnDef),
    /// An index.
    Index {
        /// On which table.
        table: &'static str,
        /// Its name.
        name: &'static str,
        /// Whether it admits each value once.
        unique: bool,
        /// Over which columns.
        columns: &'static [&'static str],
    },
}

/// So many characters of a long text are indexed.
const INDEXED: u32 = 50;

impl Change {
    /// Whether the database has it already: a table or a column of this name, whatever its form, an index of these columns, whatever its name.
    pub fn is_done(&self, catalog: &Catalog) -> bool {
        match self {
            Self::Table(name, _) => catalog.table(name).is_some(),
            Self::Column(table, name, _) => catalog.column(table, name).is_some(),
            Self::OwnColumn(table, name, _) => catalog.table(table).is_none() || catalog.column(table, name).is_some(),
            Self::Index { table, name, unique, columns } => catalog.has_index(table, name, *unique, columns),
        }
    }

    /// The table that it is made for.
    pub fn table(&self) -> &'static str {
        match self {
            Self::Table(table, _) | Self::Column(table, ..) | Self::OwnColumn(table, ..) | Self::Index { table, .. } => table,
        }
    }

    /// Whether all rows of the table are read for it, so that it takes its time.
    pub fn reads_rows(&self) -> bool {
        matches!(self, Self::Index { .. })
    }

    /// Makes it.
    pub async fn make(self, m: &SchemaManager<'_>, catalog: &Catalog) -> Result<(), DbErr> {
        match self {
            Self::Table(_, statement) => m.create_table(utf8(m.get_database_backend(), statement)).await,
            Self::Column(table, _, column) | Self::OwnColumn(table, _, column) => {
                m.alter_table(Table::alter().table(table).add_column(column).take()).await
            }
            Self::Index { table, name, unique, columns } => {
                let mut index = Index::create().name(name).table(table).take();
                for column in columns {
                    match catalog.column(table, column).and_then(|column| column.bytes) {
                        // MariaDB and MySQL index no more bytes than this of a text, in rows of the old format.
                        Some(767..) => index.col((*column, INDEXED)),
                        _ => index.col(*column),
                    };
                }
                if unique {
                    index.unique();
                }
                m.create_index(index).await
            }
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table(name, statement) => {
                let columns: Vec<String> = statement.get_columns().iter().map(ColumnDef::get_column_name).collect();
                write!(f, "table {name} ({})", columns.join(", "))
            }
            Self::Column(table, name, _) | Self::OwnColumn(table, name, _) => write!(f, "column {table}.{name}"),
            Self::Index { table, name, unique, columns } => {
                write!(f, "{}index {name} on {table} ({})", if *unique { "unique " } else { "" }, columns.join(", "))
            }
        }
    }
}

//! What a step may do to a schema: add a table, a column or an index, when it is not there. Nothing else exists, so no step can remove or
//! rewrite anything, and what it would do can be told without doing it.

use std::fmt;

use sea_orm_migration::prelude::*;

use crate::columns::utf8;

/// An addition to the schema.
pub enum Change {
    /// A table.
    Table(&'static str, TableCreateStatement),
    /// A column of a table.
    Column(&'static str, &'static str, ColumnDef),
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

impl Change {
    /// Whether the schema has it already. Only its name is looked at: an adopted database may have it in a form of its own.
    pub async fn is_done(&self, m: &SchemaManager<'_>) -> Result<bool, DbErr> {
        match self {
            Self::Table(name, _) => m.has_table(name).await,
            Self::Column(table, name, _) => m.has_column(table, name).await,
            Self::Index { table, name, .. } => m.has_index(table, name).await,
        }
    }

    /// The table that it is made for.
    pub fn table(&self) -> &'static str {
        match self {
            Self::Table(table, _) | Self::Column(table, ..) | Self::Index { table, .. } => table,
        }
    }

    /// Whether all rows of the table are read for it, so that it takes its time.
    pub fn reads_rows(&self) -> bool {
        matches!(self, Self::Index { .. })
    }

    /// Makes it.
    pub async fn make(self, m: &SchemaManager<'_>) -> Result<(), DbErr> {
        match self {
            Self::Table(_, statement) => m.create_table(utf8(m, statement)).await,
            Self::Column(table, _, column) => m.alter_table(Table::alter().table(table).add_column(column).take()).await,
            Self::Index { table, name, unique, columns } => {
                let mut index = Index::create().name(name).table(table).take();
                for column in columns {
                    index.col(*column);
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
            Self::Column(table, name, _) => write!(f, "column {table}.{name}"),
            Self::Index { table, name, unique, columns } => {
                write!(f, "{}index {name} on {table} ({})", if *unique { "unique " } else { "" }, columns.join(", "))
            }
        }
    }
}

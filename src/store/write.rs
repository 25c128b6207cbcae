//! Where the database is written, and the transactions of the writer: of a server, or of an SQLite file. What is written stands in `writes`.

use std::future::Future;

use sea_orm::prelude::async_trait::async_trait;
use sea_orm::sea_query::ValueType;
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, ExecResult, QueryResult, Statement, TryGetable, Value};

use super::connections::Connections;
use super::dialect;
use super::file::{File, FileTransaction};

/// The way to write.
#[derive(Clone)]
pub enum Write {
    /// Through these connections to a server, or to a database in memory.
    Shared(Connections),
    /// To a file: the writer through a connection of its own, what else there is to write through the driver's, in turns.
    File(File, Connections),
}

impl Write {
    /// Starts a transaction. That of a file blocks the thread that uses it.
    pub async fn begin(&self) -> Result<Transaction, DbErr> {
        Ok(match self {
            Self::Shared(connections) => Transaction::Shared(connections.begin().await?),
            Self::File(file, _) => Transaction::File(file.begin().await?),
        })
    }

    /// Waits for something that is asked of the database, as long as it is there.
    pub async fn within<T>(&self, asked: impl Future<Output = Result<T, DbErr>>) -> Result<T, DbErr> {
        match self {
            Self::Shared(connections) => connections.within(asked).await,
            Self::File(..) => asked.await,
        }
    }

    /// Whether transactions block the thread that uses them.
    pub fn blocks(&self) -> bool {
        matches!(self, Self::File(..))
    }

    /// The driver's connections.
    pub fn connections(&self) -> &Connections {
        match self {
            Self::Shared(connections) | Self::File(_, connections) => connections,
        }
    }

    /// Closes the connections.
    pub async fn close(&self) {
        match self {
            Self::Shared(connections) => connections.close().await,
            Self::File(file, driver) => {
                file.close().await;
                driver.close().await;
            }
        }
    }
}

/// Single statements.
#[async_trait]
impl ConnectionTrait for Write {
    fn get_database_backend(&self) -> DbBackend {
        self.connections().get_database_backend()
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        match self {
            Self::Shared(connections) => connections.execute_raw(statement).await,
            Self::File(file, driver) => {
                let _turn = file.turn().await?;
                driver.execute_raw(statement).await
            }
        }
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.execute_raw(Statement::from_string(self.get_database_backend(), sql)).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        Ok(self.query_all_raw(statement).await?.into_iter().next())
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        match self {
            Self::Shared(connections) => connections.query_all_raw(statement).await,
            Self::File(file, driver) => {
                let _turn = file.turn().await?;
                driver.query_all_raw(statement).await
            }
        }
    }
}

/// A transaction that writes; taken back when it is dropped.
pub enum Transaction {
    /// Of a server.
    Shared(DatabaseTransaction),
    /// Of a file.
    File(FileTransaction),
}

impl Transaction {
    /// How many rows a statement changes.
    pub async fn run(&self, sql: &str, values: Vec<Value>) -> Result<u64, DbErr> {
        match self {
            Self::Shared(tx) => Ok(tx.execute_raw(dialect::statement(tx, sql, values)).await?.rows_affected()),
            Self::File(tx) => tx.run(sql, &values),
        }
    }

    /// What a query finds.
    pub async fn rows(&self, sql: &str, values: Vec<Value>) -> Result<Vec<Row>, DbErr> {
        match self {
            Self::Shared(tx) => Ok(tx.query_all_raw(dialect::statement(tx, sql, values)).await?.into_iter().map(Row::Shared).collect()),
            Self::File(tx) => Ok(tx.rows(sql, &values)?.into_iter().map(Row::File).collect()),
        }
    }

    /// Inserts rows into `columns`, which is a table with the names of its columns, and returns their ids in order. A server takes them by
    /// one statement; SQLite is quicker row by row, as it then has nothing to note for taking half of a statement back.
    pub async fn insert(&self, columns: &str, rows: Vec<Vec<Value>>) -> Result<Vec<i64>, DbErr> {
        let Some(width) = rows.first().map(Vec::len) else { return Ok(Vec::new()) };
        let row = format!("({})", marks(width));
        match self {
            Self::Shared(tx) => {
                let sql = format!("INSERT INTO {columns} VALUES {}", vec![row; rows.len()].join(", "));
                let count = rows.len();
                dialect::insert(tx, &sql, rows.into_iter().flatten().collect(), count).await
            }
            Self::File(tx) => {
                let sql = format!("INSERT INTO {columns} VALUES {row}");
                rows.iter().map(|values| tx.insert(&sql, values)).collect()
            }
        }
    }

    /// How many rows of a kind a statement should name at most: few texts of statements, on a file, rather than few statements.
    pub fn at_once(&self) -> usize {
        if matches!(self, Self::File(_)) { 1 } else { usize::MAX }
    }

    /// What ends a query whose rows must not change before the transaction ends.
    pub fn for_update(&self) -> &'static str {
        if matches!(self, Self::Shared(tx) if tx.get_database_backend() != DbBackend::Sqlite) { " FOR UPDATE" } else { "" }
    }

    /// A name that keeps its capital letters.
    pub fn quoted(&self, name: &str) -> String {
        let mark = if matches!(self, Self::Shared(tx) if tx.get_database_backend() == DbBackend::MySql) { '`' } else { '"' };
        format!("{mark}{name}{mark}")
    }

    /// Waits until no other transaction has inserted into a table and not ended yet. The others do so when they are asked for the row.
    pub async fn wait_for_inserts(&self, table: &str) -> Result<(), DbErr> {
        match self {
            Self::Shared(tx) if tx.get_database_backend() == DbBackend::Postgres => {
                tx.execute_unprepared(&format!("LOCK TABLE {table} IN SHARE MODE")).await.map(drop)
            }
            _ => Ok(()),
        }
    }

    /// Makes what was done last.
    pub async fn commit(self) -> Result<(), DbErr> {
        match self {
            Self::Shared(tx) => tx.commit().await,
            Self::File(tx) => tx.commit(),
        }
    }

    /// Takes back what was done.
    pub async fn rollback(self) -> Result<(), DbErr> {
        match self {
            Self::Shared(tx) => tx.rollback().await,
            Self::File(_) => Ok(()),
        }
    }
}

/// So many parameters.
pub fn marks(count: usize) -> String {
    vec!["?"; count].join(", ")
}

/// A row that was found.
pub enum Row {
    /// By a server.
    Shared(QueryResult),
    /// In a file.
    File(Vec<Value>),
}

impl Row {
    /// The value in a column, by its number.
    pub fn get<T: TryGetable + ValueType>(&self, at: usize) -> Result<T, DbErr> {
        match self {
            Self::Shared(row) => row.try_get_by_index(at),
            Self::File(row) => {
                let value = row.get(at).cloned().ok_or_else(|| DbErr::Type(format!("there is no column {at}")))?;
                <T as ValueType>::try_from(value).map_err(|_| DbErr::Type(format!("column {at} has another type")))
            }
        }
    }
}

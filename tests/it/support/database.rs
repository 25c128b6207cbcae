//! The server's database, seen from outside: what a test puts there, and what it finds.

use sea_orm::{ConnectOptions, ConnectionTrait, DatabaseConnection, DbBackend, Statement, TryGetable, sqlx};

/// A connection of our own to the server's SQLite file.
pub struct Database(DatabaseConnection);

impl Database {
    pub(super) async fn open(url: &str) -> Self {
        let mut options = ConnectOptions::new(url);
        options.max_connections(1).sqlx_logging(false);
        options.map_sqlx_sqlite_opts(|o: sqlx::sqlite::SqliteConnectOptions| o.busy_timeout(super::DEADLINE));
        Self(sea_orm::Database::connect(options).await.expect("the database opens"))
    }

    fn statement(sql: &str) -> Statement {
        Statement::from_string(DbBackend::Sqlite, sql.to_owned())
    }

    /// Runs a statement.
    pub async fn run(&self, sql: &str) {
        self.0.execute_raw(Self::statement(sql)).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    }

    /// Runs an `INSERT` and returns the id of the row.
    pub async fn insert(&self, sql: &str) -> i64 {
        self.one(&format!("{sql} RETURNING id")).await
    }

    /// The first column of a query.
    pub async fn all<T: TryGetable>(&self, sql: &str) -> Vec<T> {
        let rows = self.0.query_all_raw(Self::statement(sql)).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
        rows.iter().map(|row| row.try_get_by_index(0).unwrap_or_else(|e| panic!("{sql}: {e}"))).collect()
    }

    /// The single value of a query.
    pub async fn one<T: TryGetable>(&self, sql: &str) -> T {
        let mut all = self.all(sql).await;
        assert_eq!(all.len(), 1, "{sql} gives one row");
        all.remove(0)
    }

    /// Every row of every table as text, to tell whether anything was written.
    pub async fn everything(&self) -> Vec<String> {
        let mut rows = Vec::new();
        let tables: Vec<String> = self.all("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'").await;
        for table in tables {
            let columns: Vec<String> = self.all(&format!("SELECT 'quote(\"' || name || '\")' FROM pragma_table_info('{table}')")).await;
            let texts: Vec<String> =
                self.all(&format!("SELECT '{table}: ' || {} FROM {table} ORDER BY 1", columns.join(" || ', ' || "))).await;
            rows.extend(texts);
        }
        rows
    }
}

//! The schema, one file per step. Every step is additive and may meet a database in which any part of it exists already.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, string};
use sea_orm_migration::sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement};

mod catalog;
mod change;
mod columns;
mod faults;
mod m2026_11_01_tables;
mod m2026_11_02_additions;
mod m2026_11_23_bans;
mod m2026_11_28_columns;
mod m2026_11_28_identity;
mod progress;

use catalog::Catalog;
use change::Change;
use columns::utf8;

/// All steps in their order.
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        STEPS.iter().map(|step| Box::new(*step) as Box<dyn MigrationTrait>).collect()
    }

    /// The table of the steps that were taken. When it is there nothing is made: a server whose database user may only read and write rows starts
    /// where an administrator has taken all steps.
    async fn install<C: ConnectionTrait>(db: &C) -> Result<(), DbErr> {
        let (table, backend) = (Self::migration_table_name(), db.get_database_backend());
        let there = match backend {
            DbBackend::Sqlite => format!("SELECT COUNT(*) FROM sqlite_master WHERE name = '{table}'"),
            DbBackend::Postgres => format!("SELECT COUNT(*) FROM pg_tables WHERE schemaname = current_schema() AND tablename = '{table}'"),
            _ => format!("SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = '{table}'"),
        };
        let row = db.query_one_raw(Statement::from_string(backend, there)).await?;
        if row.map_or(Ok(0), |row| row.try_get_by_index::<i64>(0))? > 0 {
            return Ok(());
        }
        let columns = [string("version").primary_key().take(), big_integer("applied_at")];
        let mut steps = Table::create().table(table).if_not_exists().take();
        for column in columns {
            steps.col(column);
        }
        db.execute(&utf8(backend, steps)).await.map(drop)
    }
}

/// A step: its name, which never changes, and what it adds.
#[derive(Clone, Copy)]
struct Step {
    name: &'static str,
    changes: fn(&SchemaManager, &Catalog) -> Vec<Change>,
}

const STEPS: [Step; 5] = [
    Step { name: "m2026_11_01_tables", changes: m2026_11_01_tables::changes },
    Step { name: "m2026_11_02_additions", changes: m2026_11_02_additions::changes },
    Step { name: "m2026_11_23_bans", changes: m2026_11_23_bans::changes },
    Step { name: "m2026_11_28_columns", changes: m2026_11_28_columns::changes },
    Step { name: "m2026_11_28_identity", changes: m2026_11_28_identity::changes },
];

impl MigrationName for Step {
    fn name(&self) -> &str {
        self.name
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Step {
    async fn up(&self, m: &SchemaManager) -> Result<(), DbErr> {
        let catalog = Catalog::read(m).await?;
        progress::take(self.name, (self.changes)(m, &catalog), m, &catalog).await
    }
}

/// A step, and how a database stands to it.
pub struct Standing {
    /// Its name.
    pub step: String,
    /// Whether it has been taken; if not, what it would add, each in a few words.
    pub would_add: Option<Vec<String>>,
}

/// How a database stands to each step. Changes nothing.
pub async fn status(db: &DatabaseConnection) -> Result<Vec<Standing>, DbErr> {
    let pending = Migrator::get_pending_migrations_read_only(db).await?;
    let m = SchemaManager::new(db);
    let catalog = Catalog::read(&m).await?;
    let mut standings = Vec::new();
    for step in STEPS {
        let mut standing = Standing { step: step.name.to_owned(), would_add: None };
        if pending.iter().any(|p| p.name() == step.name) {
            let mut additions = Vec::new();
            for change in (step.changes)(&m, &catalog) {
                if !change.is_done(&catalog) {
                    let rows = if change.reads_rows() { progress::rows(&m, change.table()).await? } else { 0 };
                    additions.push(if rows == 0 { change.to_string() } else { format!("{change}, to about {rows} rows") });
                }
            }
            standing.would_add = Some(additions);
        }
        standings.push(standing);
    }
    Ok(standings)
}

pub use faults::Fault;
pub use sea_orm_migration::MigratorTrait;

/// What keeps a server from working on the tables that there are, and that no step mends: a clause each. Changes nothing.
pub async fn faults(db: &DatabaseConnection) -> Result<Vec<Fault>, DbErr> {
    let m = SchemaManager::new(db);
    let catalog = Catalog::read(&m).await?;
    Ok(faults::faults(&catalog, &m2026_11_01_tables::tables(&m, &catalog)))
}

/// About how many rows a table has.
pub async fn rows(db: &DatabaseConnection, table: &str) -> Result<i64, DbErr> {
    progress::rows(&SchemaManager::new(db), table).await
}

/// Whether a table has a column.
pub async fn has_column(db: &DatabaseConnection, table: &str, column: &str) -> Result<bool, DbErr> {
    SchemaManager::new(db).has_column(table, column).await
}

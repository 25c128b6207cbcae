//! The schema, one file per step. Every step is additive and may meet a database in which any part of it exists already.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DatabaseConnection;

mod change;
mod columns;
mod m2026_11_01_tables;
mod m2026_11_02_additions;
mod m2026_11_23_bans;
mod progress;

use change::Change;

/// All steps in their order.
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        STEPS.iter().map(|step| Box::new(*step) as Box<dyn MigrationTrait>).collect()
    }
}

/// A step: its name, which never changes, and what it adds.
#[derive(Clone, Copy)]
struct Step {
    name: &'static str,
    changes: fn(&SchemaManager) -> Vec<Change>,
}

const STEPS: [Step; 3] = [
    Step { name: "m2026_11_01_tables", changes: m2026_11_01_tables::changes },
    Step { name: "m2026_11_02_additions", changes: m2026_11_02_additions::changes },
    Step { name: "m2026_11_23_bans", changes: m2026_11_23_bans::changes },
];

impl MigrationName for Step {
    fn name(&self) -> &str {
        self.name
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Step {
    async fn up(&self, m: &SchemaManager) -> Result<(), DbErr> {
        progress::take(self.name, (self.changes)(m), m).await
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
    let mut standings = Vec::new();
    for step in STEPS {
        let mut standing = Standing { step: step.name.to_owned(), would_add: None };
        if pending.iter().any(|p| p.name() == step.name) {
            let mut additions = Vec::new();
            for change in (step.changes)(&m) {
                if !change.is_done(&m).await? {
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

pub use sea_orm_migration::MigratorTrait;

/// Whether a table has a column.
pub async fn has_column(db: &DatabaseConnection, table: &str, column: &str) -> Result<bool, DbErr> {
    SchemaManager::new(db).has_column(table, column).await
}

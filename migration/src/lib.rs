//! The schema, one file per step. Every step is additive and may meet a database in which any part of it exists already.

use sea_orm_migration::prelude::*;

mod columns;
mod m2026_11_01_tables;
mod m2026_11_02_additions;

/// All steps in their order.
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(m2026_11_01_tables::Migration), Box::new(m2026_11_02_additions::Migration)]
    }
}

pub use sea_orm_migration::MigratorTrait;

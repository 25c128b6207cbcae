//! The columns of the application's tables that an adopted one may lack, for databases that were adopted before this was looked at.

use sea_orm_migration::prelude::*;

use crate::catalog::Catalog;
use crate::change::Change;
use crate::m2026_11_01_tables::columns;

pub fn changes(m: &SchemaManager, catalog: &Catalog) -> Vec<Change> {
    columns(m, catalog)
}

//! A table of one row, the id of the database itself, by which the nodes of one server know each other from those of another one.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, string_len};

use crate::catalog::Catalog;
use crate::change::Change;

pub fn changes(_: &SchemaManager, _: &Catalog) -> Vec<Change> {
    let identity = Table::create().table("database_identity").col(big_integer("id").primary_key()).col(string_len("value", 32)).take();
    vec![Change::Table("database_identity", identity)]
}

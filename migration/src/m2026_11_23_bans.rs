//! A table of the users who are not let in. The application's own tables are left alone.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::big_integer;

use crate::catalog::Catalog;
use crate::change::Change;
use crate::columns::moment;

pub fn changes(m: &SchemaManager, _: &Catalog) -> Vec<Change> {
    let banned = Table::create().table("banned_users").col(big_integer("user_id").primary_key()).col(moment(m, "banned_at")).take();
    vec![Change::Table("banned_users", banned)]
}

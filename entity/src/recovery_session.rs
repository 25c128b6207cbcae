//! `recovery_sessions`: what a socket followed, so that its client finds it again after a cut.

#![expect(missing_docs, reason = "the columns are described in the migration and the wire types")]

use sea_orm::entity::prelude::*;

use crate::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "recovery_sessions")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub pid: String,
    pub user_id: UserId,
    #[sea_orm(column_type = "Text")]
    pub follows: String,
    pub used_at: DateTimeUtc,
}

impl ActiveModelBehavior for ActiveModel {}

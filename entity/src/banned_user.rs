//! `banned_users`: who is not let in, whatever token is shown.

#![expect(missing_docs, reason = "the columns are described in the migration and the wire types")]

use sea_orm::entity::prelude::*;

use crate::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "banned_users")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub user_id: UserId,
    pub banned_at: DateTimeUtc,
}

impl ActiveModelBehavior for ActiveModel {}

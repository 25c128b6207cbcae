//! `conversations`: a pair of users; a new row has the lower id first, an old one either order.

#![expect(missing_docs, reason = "the columns are described in the migration and the wire types")]

use sea_orm::entity::prelude::*;

use crate::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "conversations")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: ConversationId,
    pub user1_id: UserId,
    pub user2_id: UserId,
    pub created_at: Option<Moment>,
    pub last_message_at: Option<Moment>,
}

impl ActiveModelBehavior for ActiveModel {}

//! `support_tickets`: support tickets.

#![expect(missing_docs, reason = "the columns are described in the migration and the wire types")]

use sea_orm::entity::prelude::*;

use crate::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "support_tickets")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: TicketId,
    pub user_id: UserId,
    pub subject: Option<Text>,
    pub description: Option<Text>,
    pub category: Option<Text>,
    pub status: Option<Text>,
    pub priority: Option<Text>,
    pub created_at: Option<Moment>,
    pub updated_at: Option<Moment>,
}

impl ActiveModelBehavior for ActiveModel {}

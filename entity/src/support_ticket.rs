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
    pub subject: String,
    #[sea_orm(column_type = "Text")]
    pub description: String,
    pub category: Option<String>,
    pub status: Option<String>,
    pub priority: Option<String>,
    pub created_at: Option<DateTimeUtc>,
    pub updated_at: Option<DateTimeUtc>,
}

impl ActiveModelBehavior for ActiveModel {}

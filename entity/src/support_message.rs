//! `support_messages`: the messages of a ticket. `send_key` identifies a send that its client may repeat.

#![expect(missing_docs, reason = "the columns are described in the migration and the wire types")]

use sea_orm::entity::prelude::*;

use crate::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "support_messages")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: SupportMessageId,
    pub ticket_id: TicketId,
    pub sender_id: UserId,
    pub message_text: Option<Text>,
    pub is_admin: Option<Flag>,
    pub created_at: Option<Moment>,
    pub send_key: Option<String>,
}

impl ActiveModelBehavior for ActiveModel {}

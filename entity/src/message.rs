//! `messages`: direct messages. `send_key` identifies a send that its client may repeat.

#![expect(missing_docs, reason = "the columns are described in the migration and the wire types")]

use sea_orm::entity::prelude::*;

use crate::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "messages")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: MessageId,
    pub conversation_id: ConversationId,
    pub sender_id: UserId,
    pub receiver_id: UserId,
    #[sea_orm(column_type = "Text")]
    pub message_text: String,
    pub is_read: Option<bool>,
    pub read_at: Option<DateTimeUtc>,
    pub created_at: Option<DateTimeUtc>,
    pub send_key: Option<String>,
}

impl ActiveModelBehavior for ActiveModel {}

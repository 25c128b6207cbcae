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
    pub message_text: Option<Text>,
    pub is_read: Option<Flag>,
    pub read_at: Option<Moment>,
    pub created_at: Option<Moment>,
    pub send_key: Option<String>,
}

impl ActiveModelBehavior for ActiveModel {}

//! What tidings adds to the application's tables, new or adopted: columns and indexes, and a table of its own. Nothing is removed or rewritten.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, string_len};

use crate::columns::{long_text, moment, send_key, utf8};

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, m: &SchemaManager) -> Result<(), DbErr> {
        for table in ["messages", "support_messages"] {
            if !m.has_column(table, "send_key").await? {
                m.alter_table(Table::alter().table(table).add_column(send_key(m)).take()).await?;
            }
        }
        // A page of history, the newest message, and what a user has not read: each one seek.
        let indexes: [(&str, &str, bool, &[&str]); 9] = [
            ("messages", "idx_messages_conversation", false, &["conversation_id", "id"]),
            ("messages", "idx_messages_unread", false, &["receiver_id", "is_read", "conversation_id"]),
            ("messages", "idx_messages_send_key", true, &["send_key"]),
            ("conversations", "idx_conversations_user1", false, &["user1_id"]),
            ("conversations", "idx_conversations_user2", false, &["user2_id"]),
            ("support_tickets", "idx_support_tickets_user", false, &["user_id", "id"]),
            ("support_tickets", "idx_support_tickets_status", false, &["status", "id"]),
            ("support_messages", "idx_support_messages_ticket", false, &["ticket_id", "id"]),
            ("support_messages", "idx_support_messages_send_key", true, &["send_key"]),
        ];
        for (table, name, unique, columns) in indexes {
            if m.has_index(table, name).await? {
                continue;
            }
            let mut index = Index::create().name(name).table(table).take();
            for column in columns {
                index.col(*column);
            }
            if unique {
                index.unique();
            }
            m.create_index(index).await?;
        }
        if !m.has_table("recovery_sessions").await? {
            let table = Table::create()
                .table("recovery_sessions")
                .col(string_len("pid", 32).primary_key())
                .col(big_integer("user_id"))
                .col(long_text(m, "follows"))
                .col(moment(m, "used_at"))
                .take();
            m.create_table(utf8(m, table)).await?;
            let index = Index::create().name("idx_recovery_sessions_used").table("recovery_sessions").col("used_at").take();
            m.create_index(index).await?;
        }
        Ok(())
    }
}

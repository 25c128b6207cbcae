//! What tidings adds to the application's tables, new or adopted: columns and indexes, and a table of its own. Nothing is removed or rewritten.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, string_len};

use crate::catalog::Catalog;
use crate::change::Change;
use crate::columns::{long_text, moment, send_key};

pub fn changes(m: &SchemaManager, _: &Catalog) -> Vec<Change> {
    let index = |table, name, columns| Change::Index { table, name, unique: false, columns };
    let unique = |table, name, columns| Change::Index { table, name, unique: true, columns };
    vec![
        Change::Column("messages", "send_key".to_owned(), send_key(m)),
        Change::Column("support_messages", "send_key".to_owned(), send_key(m)),
        // A page of history, the newest message, and what a user has not read: each one seek.
        index("messages", "idx_messages_conversation", &["conversation_id", "id"]),
        index("messages", "idx_messages_unread", &["receiver_id", "is_read", "conversation_id"]),
        unique("messages", "idx_messages_send_key", &["send_key"]),
        index("conversations", "idx_conversations_user1", &["user1_id"]),
        index("conversations", "idx_conversations_user2", &["user2_id"]),
        index("support_tickets", "idx_support_tickets_user", &["user_id", "id"]),
        index("support_tickets", "idx_support_tickets_status", &["status", "id"]),
        index("support_messages", "idx_support_messages_ticket", &["ticket_id", "id"]),
        unique("support_messages", "idx_support_messages_send_key", &["send_key"]),
        Change::Table("recovery_sessions", recovery_sessions(m)),
        index("recovery_sessions", "idx_recovery_sessions_used", &["used_at"]),
    ]
}

fn recovery_sessions(m: &SchemaManager) -> TableCreateStatement {
    Table::create()
        .table("recovery_sessions")
        .col(string_len("pid", 32).primary_key())
        .col(big_integer("user_id"))
        .col(long_text(m, "follows"))
        .col(moment(m, "used_at"))
        .take()
}

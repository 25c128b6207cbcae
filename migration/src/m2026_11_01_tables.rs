//! The five tables of the application, for a database that does not have them yet.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, big_pk_auto, boolean_null, date_null, string_len, string_len_null};

use crate::change::Change;
use crate::columns::{long_text, moment};

pub fn changes(m: &SchemaManager) -> Vec<Change> {
    vec![
        Change::Table("users", users(m)),
        Change::Table("conversations", conversations(m)),
        Change::Table("messages", messages(m)),
        Change::Table("support_tickets", support_tickets(m)),
        Change::Table("support_messages", support_messages(m)),
    ]
}

fn users(m: &SchemaManager) -> TableCreateStatement {
    Table::create()
        .table("users")
        .col(big_pk_auto("id"))
        .col(string_len("username", 100))
        .col(string_len_null("avatar", 255))
        .col(string_len_null("firstName", 100))
        .col(string_len_null("lastName", 100))
        .col(date_null("dateOfBirth"))
        .col(string_len("email", 150).unique_key())
        .col(string_len("password", 255))
        .col(boolean_null("isProfileCompleted").default(false))
        .col(boolean_null("verified").default(false))
        .col(string_len_null("role", 20))
        .col(moment(m, "created_at"))
        .col(moment(m, "updated_at"))
        .take()
}

fn conversations(m: &SchemaManager) -> TableCreateStatement {
    Table::create()
        .table("conversations")
        .col(big_pk_auto("id"))
        .col(big_integer("user1_id"))
        .col(big_integer("user2_id"))
        .col(moment(m, "created_at"))
        .col(moment(m, "last_message_at"))
        .index(Index::create().unique().name("unique_conversation").col("user1_id").col("user2_id"))
        .take()
}

fn messages(m: &SchemaManager) -> TableCreateStatement {
    Table::create()
        .table("messages")
        .col(big_pk_auto("id"))
        .col(big_integer("conversation_id"))
        .col(big_integer("sender_id"))
        .col(big_integer("receiver_id"))
        .col(long_text(m, "message_text"))
        .col(boolean_null("is_read").default(false))
        .col(moment(m, "read_at"))
        .col(moment(m, "created_at"))
        .foreign_key(
            ForeignKey::create().from("messages", "conversation_id").to("conversations", "id").on_delete(ForeignKeyAction::Cascade),
        )
        .take()
}

fn support_tickets(m: &SchemaManager) -> TableCreateStatement {
    Table::create()
        .table("support_tickets")
        .col(big_pk_auto("id"))
        .col(big_integer("user_id"))
        .col(string_len("subject", 255))
        .col(long_text(m, "description"))
        .col(string_len_null("category", 50))
        .col(string_len_null("status", 50).default("open"))
        .col(string_len_null("priority", 50).default("medium"))
        .col(moment(m, "created_at"))
        .col(moment(m, "updated_at"))
        .take()
}

fn support_messages(m: &SchemaManager) -> TableCreateStatement {
    Table::create()
        .table("support_messages")
        .col(big_pk_auto("id"))
        .col(big_integer("ticket_id"))
        .col(big_integer("sender_id"))
        .col(long_text(m, "message_text"))
        .col(boolean_null("is_admin").default(false))
        .col(moment(m, "created_at"))
        .foreign_key(
            ForeignKey::create().from("support_messages", "ticket_id").to("support_tickets", "id").on_delete(ForeignKeyAction::Cascade),
        )
        .take()
}

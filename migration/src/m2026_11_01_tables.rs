//! The five tables of the application, for a database that does not have them yet, or not all of their columns.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, big_pk_auto, boolean_null, date_null, string_len, string_len_null};

use crate::catalog::Catalog;
use crate::change::Change;
use crate::columns::{long_text, moment, reference};

pub fn changes(m: &SchemaManager, catalog: &Catalog) -> Vec<Change> {
    let tables = tables(m, catalog).into_iter().map(|(name, table)| Change::Table(name, table));
    tables.chain(columns(m, catalog)).collect()
}

/// The tables as they are made.
pub fn tables(m: &SchemaManager, catalog: &Catalog) -> [(&'static str, TableCreateStatement); 5] {
    [
        ("users", users(m)),
        ("conversations", conversations(m)),
        ("messages", messages(m, catalog)),
        ("support_tickets", support_tickets(m)),
        ("support_messages", support_messages(m, catalog)),
    ]
}

/// Those of their columns that may be null, so that rows which are there can do without.
pub fn columns(m: &SchemaManager, catalog: &Catalog) -> Vec<Change> {
    let mut columns = Vec::new();
    for (table, statement) in tables(m, catalog) {
        for column in statement.get_columns().iter().filter(|column| column.get_column_spec().nullable == Some(true)) {
            let (name, mut column) = (column.get_column_name(), column.clone());
            // Whoever could log in without it still can.
            if name == "verified" {
                column.default(true);
            }
            columns.push(Change::OwnColumn(table, name, column));
        }
    }
    columns
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

fn messages(m: &SchemaManager, catalog: &Catalog) -> TableCreateStatement {
    Table::create()
        .table("messages")
        .col(big_pk_auto("id"))
        .col(reference(catalog, "conversation_id", "conversations"))
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

fn support_messages(m: &SchemaManager, catalog: &Catalog) -> TableCreateStatement {
    Table::create()
        .table("support_messages")
        .col(big_pk_auto("id"))
        .col(reference(catalog, "ticket_id", "support_tickets"))
        .col(big_integer("sender_id"))
        .col(long_text(m, "message_text"))
        .col(boolean_null("is_admin").default(false))
        .col(moment(m, "created_at"))
        .foreign_key(
            ForeignKey::create().from("support_messages", "ticket_id").to("support_tickets", "id").on_delete(ForeignKeyAction::Cascade),
        )
        .take()
}

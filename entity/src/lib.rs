//! The tables of tidings as SeaORM entities, and the types of ids and other values. No query and no rule lives here.

pub mod banned_user;
pub mod conversation;
mod ids;
pub mod message;
pub mod recovery_session;
pub mod support_message;
pub mod support_ticket;
mod ticket_fields;
pub mod user;
mod values;

pub use ids::{ConversationId, MessageId, SupportMessageId, TicketId, UserId};
pub use ticket_fields::{Category, Priority, Status};
pub use values::{Day, Flag, Moment, Text};

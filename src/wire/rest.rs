//! The JSON of REST answers and bodies about conversations and tickets that no event shares.

use entity::{ConversationId, TicketId, UserId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::shapes::{MessageJson, SupportMessageJson, TicketJson};
use super::{Moment, fields};
use crate::store::{InboxRow, jobs::SupportWritten};

/// A conversation as its caller sees it.
#[derive(Serialize, ToSchema)]
#[schema(as = Conversation)]
pub struct ConversationJson<'a> {
    id: ConversationId,
    user1_id: UserId,
    user2_id: UserId,
    created_at: Moment,
    other_user_id: UserId,
    #[schema(example = "ben")]
    other_user_name: &'a str,
    #[schema(required)]
    other_user_avatar: Option<&'a str>,
    #[schema(required, example = "traveller")]
    other_user_role: Option<&'a str>,
    /// Null while there is none.
    #[schema(required, example = "Shall we take the early train?")]
    last_message: Option<&'a str>,
    /// While there is no message, when the conversation was opened.
    last_message_at: Moment,
    /// How many of the other's messages the caller has not read.
    #[schema(minimum = 0, example = 2)]
    unread_count: i64,
}

/// What a user is called whose row is gone.
pub const NOBODY: &str = "Unknown user";

impl<'a> From<&'a InboxRow> for ConversationJson<'a> {
    fn from(row: &'a InboxRow) -> Self {
        Self {
            id: row.id,
            user1_id: row.user1,
            user2_id: row.user2,
            created_at: Moment(row.created_at),
            other_user_id: row.other,
            other_user_name: row.other_name.as_deref().unwrap_or(NOBODY),
            other_user_avatar: row.other_avatar.as_deref(),
            other_user_role: row.other_role.as_deref(),
            last_message: row.last_message.as_deref(),
            last_message_at: Moment(row.last_activity),
            unread_count: row.unread,
        }
    }
}

/// A page of history with what stands around it, for `envelope=1`.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the names say it")]
#[schema(as = HistoryEnvelope)]
pub struct Envelope<'a> {
    pub conversation_id: ConversationId,
    #[schema(example = "ben")]
    pub other_user_name: String,
    pub messages: Vec<MessageJson<'a>>,
    /// Whether there are more beyond this page.
    pub has_more: bool,
}

/// A page of history in either form.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = History)]
pub enum Page<'a> {
    /// Just the messages.
    Messages(Vec<MessageJson<'a>>),
    /// For `envelope=1`.
    Envelope(Envelope<'a>),
}

/// What `mark-read` did.
#[derive(Serialize, ToSchema)]
pub struct MarkedRead {
    #[schema(example = "Messages marked as read")]
    message: &'static str,
    /// How many messages were unread until now.
    updated: u64,
}

impl From<u64> for MarkedRead {
    fn from(updated: u64) -> Self {
        Self { message: "Messages marked as read", updated }
    }
}

/// How many messages the caller has not read, in all conversations.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the name says it")]
pub struct UnreadCount {
    #[schema(minimum = 0, example = 2)]
    pub unread_count: i64,
}

/// A ticket with its messages, oldest first.
#[derive(Serialize, ToSchema)]
#[expect(missing_docs, reason = "the names say it")]
pub struct TicketDetails<'a> {
    #[serde(flatten)]
    pub ticket: TicketJson<'a>,
    pub messages: Vec<SupportMessageJson<'a>>,
}

/// A ticket as admins list it.
#[derive(Serialize, ToSchema)]
#[expect(missing_docs, reason = "the names say it")]
pub struct NamedTicket<'a> {
    #[serde(flatten)]
    pub ticket: TicketJson<'a>,
    /// Its owner's; null when the account is gone.
    #[schema(required, example = "ann")]
    pub user_name: Option<&'a str>,
}

/// What an admin's reply did.
#[derive(Serialize, ToSchema)]
pub struct Responded<'a> {
    success: bool,
    #[schema(example = "Response added to ticket")]
    message: &'static str,
    ticket: TicketState<'a>,
    response: Option<SupportMessageJson<'a>>,
}

/// Where a ticket stands.
#[derive(Serialize, ToSchema)]
struct TicketState<'a> {
    id: TicketId,
    #[schema(example = "in_progress")]
    status: &'a str,
}

impl<'a> From<&'a SupportWritten> for Responded<'a> {
    fn from(written: &'a SupportWritten) -> Self {
        Self {
            success: true,
            message: "Response added to ticket",
            ticket: TicketState { id: written.ticket.id, status: &written.ticket.status },
            response: written.message.as_ref().map(|stored| SupportMessageJson::new(&stored.row, None)),
        }
    }
}

/// A ticket after an admin changed it.
#[derive(Serialize, ToSchema)]
pub struct Changed<'a> {
    #[schema(example = "Ticket updated successfully")]
    message: &'static str,
    ticket: TicketJson<'a>,
}

impl<'a> From<TicketJson<'a>> for Changed<'a> {
    fn from(ticket: TicketJson<'a>) -> Self {
        Self { message: "Ticket updated successfully", ticket }
    }
}

/// An id in a body: a number or a decimal string.
#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
#[schema(as = IdOrText)]
pub enum IdJson {
    /// `7`, or `7.0`, which is the same number
    Number(f64),
    /// `"7"`
    Text(String),
}

impl IdJson {
    /// The id, when it is one.
    pub fn get(&self) -> Option<i64> {
        match self {
            Self::Number(n) => fields::decimal_id(&n.to_string()),
            Self::Text(t) => fields::decimal_id(t),
        }
    }
}

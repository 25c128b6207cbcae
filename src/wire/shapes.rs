//! The JSON shapes of messages and tickets, which events and REST answers share.

use entity::{ConversationId, MessageId, SupportMessageId, TicketId, UserId};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::Moment;
use crate::chat::{Message, TempId};
use crate::store::{SupportMessage, Ticket};

/// A direct message, with the names of three generations.
#[derive(Serialize, ToSchema)]
#[schema(as = Message)]
pub struct MessageJson<'a> {
    id: MessageId,
    conversation_id: ConversationId,
    #[serde(rename = "conversationId")]
    conversation_id_too: ConversationId,
    sender_id: UserId,
    #[serde(rename = "senderId")]
    sender_id_too: UserId,
    receiver_id: UserId,
    #[schema(example = "Shall we take the early train?")]
    message_text: &'a str,
    is_read: bool,
    #[schema(required)]
    read_at: Option<Moment>,
    created_at: Moment,
    #[serde(rename = "tempId", skip_serializing_if = "Option::is_none")]
    #[schema(ignore)]
    temp_id: Option<Box<RawValue>>,
}

impl<'a> MessageJson<'a> {
    /// The wire form of a message.
    pub fn new(message: &'a Message, temp_id: Option<&TempId>) -> Self {
        Self {
            id: message.id,
            conversation_id: message.conversation,
            conversation_id_too: message.conversation,
            sender_id: message.sender,
            sender_id_too: message.sender,
            receiver_id: message.receiver,
            message_text: &message.text,
            is_read: message.is_read,
            read_at: message.read_at.map(Moment),
            created_at: Moment(message.created_at),
            temp_id: echo(temp_id),
        }
    }
}

/// A support message.
#[derive(Serialize, ToSchema)]
#[schema(as = SupportMessage)]
pub struct SupportMessageJson<'a> {
    id: SupportMessageId,
    ticket_id: TicketId,
    #[serde(rename = "ticketId")]
    ticket_id_too: TicketId,
    sender_id: UserId,
    #[serde(rename = "senderId")]
    sender_id_too: UserId,
    #[schema(example = "It is on its way.")]
    message_text: &'a str,
    /// Whether its sender was an admin.
    is_admin: bool,
    created_at: Moment,
    #[serde(rename = "tempId", skip_serializing_if = "Option::is_none")]
    #[schema(ignore)]
    temp_id: Option<Box<RawValue>>,
}

impl<'a> SupportMessageJson<'a> {
    /// The wire form of a support message.
    pub fn new(message: &'a SupportMessage, temp_id: Option<&TempId>) -> Self {
        Self {
            id: message.id,
            ticket_id: message.ticket,
            ticket_id_too: message.ticket,
            sender_id: message.sender,
            sender_id_too: message.sender,
            message_text: &message.text,
            is_admin: message.is_admin,
            created_at: Moment(message.created_at),
            temp_id: echo(temp_id),
        }
    }
}

fn echo(temp_id: Option<&TempId>) -> Option<Box<RawValue>> {
    RawValue::from_string(temp_id?.echo.to_string()).ok()
}

/// A ticket.
#[derive(Serialize, ToSchema)]
#[schema(as = Ticket)]
pub struct TicketJson<'a> {
    id: TicketId,
    user_id: UserId,
    #[schema(example = "A refund")]
    subject: &'a str,
    #[schema(example = "My ferry was cancelled.")]
    description: &'a str,
    /// `general`, `booking`, `destination` or `complaint`; an adopted row may hold another word.
    #[schema(example = "booking")]
    category: &'a str,
    /// `open`, `in_progress`, `resolved` or `closed`; an adopted row may hold another word.
    #[schema(example = "open")]
    status: &'a str,
    /// `low`, `medium` or `high`; an adopted row may hold another word.
    #[schema(example = "medium")]
    priority: &'a str,
    created_at: Moment,
    updated_at: Moment,
}

impl<'a> From<&'a Ticket> for TicketJson<'a> {
    fn from(ticket: &'a Ticket) -> Self {
        Self {
            id: ticket.id,
            user_id: ticket.owner,
            subject: &ticket.subject,
            description: &ticket.description,
            category: &ticket.category,
            status: &ticket.status,
            priority: &ticket.priority,
            created_at: Moment(ticket.created_at),
            updated_at: Moment(ticket.updated_at),
        }
    }
}

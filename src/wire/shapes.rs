//! The JSON shapes of messages and tickets, which events and REST answers share.

use entity::{ConversationId, MessageId, SupportMessageId, TicketId, UserId};
use serde::Serialize;
use serde_json::value::RawValue;

use super::{as_iso, as_iso_option};
use crate::chat::{Message, TempId};
use crate::clock::Timestamp;
use crate::store::{SupportMessage, Ticket};

/// A direct message, with the names of three generations.
#[derive(Serialize)]
pub struct MessageJson<'a> {
    id: MessageId,
    conversation_id: ConversationId,
    #[serde(rename = "conversationId")]
    conversation_id_too: ConversationId,
    sender_id: UserId,
    #[serde(rename = "senderId")]
    sender_id_too: UserId,
    receiver_id: UserId,
    message_text: &'a str,
    is_read: bool,
    #[serde(serialize_with = "as_iso_option")]
    read_at: Option<Timestamp>,
    #[serde(serialize_with = "as_iso")]
    created_at: Timestamp,
    #[serde(rename = "tempId", skip_serializing_if = "Option::is_none")]
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
            read_at: message.read_at,
            created_at: message.created_at,
            temp_id: echo(temp_id),
        }
    }
}

/// A support message.
#[derive(Serialize)]
pub struct SupportMessageJson<'a> {
    id: SupportMessageId,
    ticket_id: TicketId,
    #[serde(rename = "ticketId")]
    ticket_id_too: TicketId,
    sender_id: UserId,
    #[serde(rename = "senderId")]
    sender_id_too: UserId,
    message_text: &'a str,
    is_admin: bool,
    #[serde(serialize_with = "as_iso")]
    created_at: Timestamp,
    #[serde(rename = "tempId", skip_serializing_if = "Option::is_none")]
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
            created_at: message.created_at,
            temp_id: echo(temp_id),
        }
    }
}

fn echo(temp_id: Option<&TempId>) -> Option<Box<RawValue>> {
    RawValue::from_string(temp_id?.echo.to_string()).ok()
}

/// A ticket.
#[derive(Serialize)]
pub struct TicketJson<'a> {
    id: TicketId,
    user_id: UserId,
    subject: &'a str,
    description: &'a str,
    category: &'a str,
    status: &'a str,
    priority: &'a str,
    #[serde(serialize_with = "as_iso")]
    created_at: Timestamp,
    #[serde(serialize_with = "as_iso")]
    updated_at: Timestamp,
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
            created_at: ticket.created_at,
            updated_at: ticket.updated_at,
        }
    }
}

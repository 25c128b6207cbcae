//! What sockets say: the name and the raw arguments of an event, made into a [`ClientEvent`] or a refusal. Nothing here can fail otherwise.

use entity::{ConversationId, MessageId, TicketId, UserId};
use serde_json::value::RawValue;

use super::fields::{Fields, conversations, id, ids, required, room};
use super::names::EventName;
use super::surrogates;
use crate::chat::{Room, TempId};
use crate::error::Error;

/// An event that a client may send.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientEvent {
    /// `user-online`: who a guest claims to be; says nothing new of an authenticated socket.
    UserOnline(Option<UserId>),
    /// `join-conversation`: follow these, and no others.
    JoinConversation(Vec<ConversationId>),
    /// `leave-conversation`: stop following these.
    LeaveConversation(Vec<ConversationId>),
    /// `send-message`.
    SendMessage {
        /// Where.
        conversation: ConversationId,
        /// What it says, unchecked.
        text: String,
        /// The client's mark.
        temp_id: Option<TempId>,
    },
    /// `typing` and `stop-typing`, in a conversation or a ticket.
    Typing {
        /// Where.
        room: Room,
        /// Or has stopped.
        is_typing: bool,
    },
    /// `mark-as-read`.
    MarkAsRead {
        /// One message; all without.
        message: Option<MessageId>,
        /// Where; the message's own conversation without.
        conversation: Option<ConversationId>,
    },
    /// `join-support`: follow these tickets, and no others.
    JoinSupport(Vec<TicketId>),
    /// `send-support-message`.
    SendSupportMessage {
        /// Where.
        ticket: TicketId,
        /// What it says, unchecked.
        text: String,
        /// The client's mark.
        temp_id: Option<TempId>,
    },
    /// A name that means nothing here: ignored, and refused to those who ask.
    Unknown,
}

/// What a failure of an event refers to, so that its client finds the bubble or the chat that it belongs to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reference {
    /// Which event it was.
    pub name: EventName,
    /// Whether it was a send of a direct message.
    pub is_send: bool,
    /// The client's mark.
    pub temp_id: Option<TempId>,
    /// Where it should have gone.
    pub conversation: Option<ConversationId>,
}

/// Makes the text of an event packet, `["name", argument, …]`, into an event.
pub fn parse(packet: &str) -> (Reference, Result<ClientEvent, Error>) {
    let packet = surrogates::replace_lone(packet.as_bytes());
    let Ok(array) = serde_json::from_slice::<Vec<&RawValue>>(&packet) else {
        return (Reference::default(), Err(Error::invalid("malformed event")));
    };
    let name: String = array.first().and_then(|name| serde_json::from_str(name.get()).ok()).unwrap_or_default();
    let first = array.get(1).map_or("null", |raw| raw.get());
    let fields = Fields::of(first);
    let reference = Reference {
        name: EventName::of(&name),
        is_send: name == "send-message",
        temp_id: fields.temp_id().ok().flatten(),
        conversation: fields.conversation_id.and_then(|raw| id(raw.get())).map(ConversationId),
    };
    (reference, event(&name, first, &fields))
}

/// Whether an event packet says that somebody types or has stopped, as the clients write it.
pub fn is_typing(packet: &str) -> bool {
    ["[\"typing\",", "[\"stop-typing\","].iter().any(|start| packet.starts_with(start))
}

fn event(name: &str, first: &str, fields: &Fields<'_>) -> Result<ClientEvent, Error> {
    Ok(match name {
        "user-online" => ClientEvent::UserOnline(fields.user_id.map_or_else(|| id(first), |raw| id(raw.get())).map(UserId)),
        "join-conversation" => ClientEvent::JoinConversation(conversations(first, fields)?),
        "leave-conversation" => ClientEvent::LeaveConversation(conversations(first, fields)?),
        "send-message" => {
            ClientEvent::SendMessage { conversation: fields.conversation()?, text: fields.text()?, temp_id: fields.temp_id()? }
        }
        "typing" => ClientEvent::Typing { room: room(first, fields)?, is_typing: fields.is_typing.is_none_or(|raw| raw.get() != "false") },
        "stop-typing" => ClientEvent::Typing { room: room(first, fields)?, is_typing: false },
        "mark-as-read" => mark_as_read(first, fields)?,
        "join-support" => ClientEvent::JoinSupport(ids(first, fields.ticket_id, "ticketId")?.into_iter().map(TicketId).collect()),
        "send-support-message" => {
            ClientEvent::SendSupportMessage { ticket: fields.ticket()?, text: fields.text()?, temp_id: fields.temp_id()? }
        }
        _ => ClientEvent::Unknown,
    })
}

fn mark_as_read(first: &str, fields: &Fields<'_>) -> Result<ClientEvent, Error> {
    let given = |raw: Option<&RawValue>| raw.is_some_and(|raw| raw.get() != "null");
    if !given(fields.message_id) && !given(fields.conversation_id) {
        let message = id(first).ok_or_else(|| Error::invalid("messageId must be a positive number"))?;
        return Ok(ClientEvent::MarkAsRead { message: Some(MessageId(message)), conversation: None });
    }
    let message = if given(fields.message_id) { Some(MessageId(required(fields.message_id, "messageId")?)) } else { None };
    let conversation = if given(fields.conversation_id) { Some(fields.conversation()?) } else { None };
    Ok(ClientEvent::MarkAsRead { message, conversation })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::names::NAMES;

    fn parsed(packet: &str) -> ClientEvent {
        parse(packet).1.unwrap_or_else(|e| panic!("{packet}: {e}"))
    }

    #[test]
    fn an_id_comes_in_three_forms() {
        for argument in ["7", "7.0", "\"7\"", "{\"conversationId\":7}", "{\"conversationId\":\"7\"}", "[7]"] {
            let packet = format!("[\"join-conversation\",{argument}]");
            assert_eq!(parsed(&packet), ClientEvent::JoinConversation(vec![ConversationId(7)]), "{argument}");
        }
        assert_eq!(parsed("[\"join-conversation\",[7,\"8\"]]"), ClientEvent::JoinConversation(vec![ConversationId(7), ConversationId(8)]));
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for argument in [
            "0",
            "-7",
            "7.5",
            "1e3",
            "9007199254740992",
            "99999999999999999999",
            "\"\"",
            "\"7.0\"",
            "\" 7\"",
            "\"+7\"",
            "null",
            "true",
            "{}",
            "[]",
            "[[7]]",
            "{\"conversationId\":[7]}",
        ] {
            let packet = format!("[\"join-conversation\",{argument}]");
            assert!(matches!(parse(&packet).1, Err(Error::Invalid(_))), "{argument}");
        }
        assert!(matches!(parse("[\"join-conversation\"]").1, Err(Error::Invalid(_))));
    }

    #[test]
    fn a_mark_names_a_message_a_conversation_or_both() {
        let mark = |message: Option<i64>, conversation: Option<i64>| ClientEvent::MarkAsRead {
            message: message.map(MessageId),
            conversation: conversation.map(ConversationId),
        };
        assert_eq!(parsed("[\"mark-as-read\",9]"), mark(Some(9), None));
        assert_eq!(parsed("[\"mark-as-read\",{\"messageId\":9,\"conversationId\":7}]"), mark(Some(9), Some(7)));
        assert_eq!(parsed("[\"mark-as-read\",{\"conversationId\":7}]"), mark(None, Some(7)));
    }

    #[test]
    fn a_temp_id_is_echoed_as_sent_and_identifies_when_it_is_long_enough() {
        let temp_id = |json: &str| match parsed(&format!("[\"send-message\",{{\"conversationId\":7,\"message\":\"x\",\"tempId\":{json}}}]"))
        {
            ClientEvent::SendMessage { temp_id, .. } => temp_id,
            other => panic!("{other:?}"),
        };
        assert_eq!(temp_id("null"), None);
        assert_eq!(temp_id("{\"a\":1}"), None);
        assert_eq!(temp_id("1E400"), None);
        assert_eq!(temp_id("17.50").map(|t| (t.echo, t.nonce)), Some(("17.50".into(), None)));
        assert_eq!(temp_id("\"short\"").map(|t| t.nonce), Some(None));
        let escaped = format!("\"{}\"", "\\ud83c\\udf0d".repeat(64));
        assert_eq!(temp_id(&escaped).and_then(|t| t.nonce).map(|n| n.chars().count()), Some(64));
        assert_eq!(temp_id("\"temp-1700000000000\"").and_then(|t| t.nonce), Some("temp-1700000000000".into()));
    }

    #[test]
    fn every_event_has_a_name_to_be_counted_by() {
        let known = |name: &str| !matches!(parse(&format!("[\"{name}\",7]")).1, Ok(ClientEvent::Unknown));
        assert!(NAMES.iter().all(|name| known(name) == (*name != "other")), "each is understood");
        for (packet, name) in [("[\"typing\",7]", "typing"), ("[\"made up\"]", "other"), ("[7]", "other"), ("nonsense", "other")] {
            assert_eq!(parse(packet).0.name.as_str(), name, "{packet}");
        }
    }

    #[test]
    fn a_refused_send_still_says_what_it_refers_to() {
        let (reference, event) = parse("[\"send-message\",{\"conversationId\":\"7\",\"message\":5,\"tempId\":\"t\"}]");
        assert!(event.is_err() && reference.is_send);
        assert_eq!((reference.conversation, reference.temp_id.map(|t| t.echo)), (Some(ConversationId(7)), Some("\"t\"".into())));
    }

    #[test]
    fn typing_goes_to_a_conversation_or_a_ticket() {
        let typing = |room, is_typing| ClientEvent::Typing { room, is_typing };
        assert_eq!(parsed("[\"typing\",7]"), typing(Room::Conversation(ConversationId(7)), true));
        assert_eq!(parsed("[\"typing\",{\"conversationId\":7,\"isTyping\":false}]"), typing(Room::Conversation(ConversationId(7)), false));
        assert_eq!(parsed("[\"stop-typing\",{\"ticketId\":5}]"), typing(Room::Ticket(TicketId(5)), false));
    }
}

//! What sockets hear: the name and the JSON of each event. A domain event may be told under two names, for two generations of clients.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::inbound::Reference;
use super::shapes::{MessageJson, SupportMessageJson};
use super::{error, iso};
use crate::chat::{Event, Message, Room, TempId, TicketNews};
use crate::error::Error;
use crate::store::jobs::{Marked, Stored, SupportWritten};

/// An event as it is sent: its name and its first argument as JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    name: &'static str,
    payload: String,
}

impl Frame {
    fn new(name: &'static str, payload: &impl Serialize) -> Self {
        Self { name, payload: to_json(payload) }
    }

    /// About how long a packet of it is.
    pub fn bytes(&self) -> usize {
        self.payload.len()
    }

    /// The array that an event packet carries; `offset` is a last, extra argument for clients that recover.
    pub fn packet(&self, offset: Option<&str>) -> String {
        match offset {
            Some(offset) => format!("[\"{}\",{},\"{offset}\"]", self.name, self.payload),
            None => format!("[\"{}\",{}]", self.name, self.payload),
        }
    }
}

fn to_json(payload: &impl Serialize) -> String {
    serde_json::to_string(payload).unwrap_or_else(|_| "null".into())
}

/// The frames of an event, in the order in which they are sent.
pub fn frames(event: &Event) -> Vec<Frame> {
    match event {
        Event::Message { message, temp_id, .. } => vec![Frame::new("message-received", &MessageJson::new(message, temp_id.as_ref()))],
        Event::SupportMessage { message, temp_id, .. } => {
            vec![Frame::new("support-message-received", &SupportMessageJson::new(message, temp_id.as_ref()))]
        }
        Event::ConversationUpdated { conversation, .. } => {
            vec![Frame::new("conversation-updated", &json!({"conversationId": conversation}))]
        }
        Event::MessagesRead { conversation, reader, read_at, messages, .. } => vec![Frame::new(
            "message-read",
            &json!({
                "messageId": messages.last(),
                "conversationId": conversation,
                "readerId": reader,
                "read_at": iso(*read_at),
                "messageIds": messages,
            }),
        )],
        Event::Typing { room, user, name, is_typing, .. } => {
            let (field, id) = match room {
                Room::Conversation(id) => ("conversationId", id.0),
                Room::Ticket(id) => ("ticketId", id.0),
            };
            let short = if *is_typing { "user-typing" } else { "user-stopped-typing" };
            let mut frames = vec![Frame::new(short, &json!({"userId": user, field: id}))];
            if let Some(name) = name {
                frames.push(Frame::new("typing", &json!({"userId": user, field: id, "senderName": name, "isTyping": is_typing})));
            }
            frames
        }
        Event::Presence { user, name, last_seen } => {
            let status = if last_seen.is_some() { "offline" } else { "online" };
            let changed = Frame::new("user-status-changed", &json!({"userId": user, "status": status}));
            let named = match last_seen {
                Some(moment) => Frame::new("user-offline", &json!({"userId": user, "username": name, "lastSeen": iso(*moment)})),
                None => Frame::new("user-online", &json!({"userId": user, "username": name})),
            };
            vec![changed, named]
        }
        Event::OnlineUsers(users) => vec![Frame::new("online-users", users)],
        Event::Ticket(ticket, news) => {
            let mut payload =
                json!({"ticketId": ticket.id, "status": ticket.status, "priority": ticket.priority, "updated_at": iso(ticket.updated_at)});
            if let (TicketNews::Created, Some(fields)) = (news, payload.as_object_mut()) {
                fields.insert("created".into(), json!(true));
            }
            vec![Frame::new("ticket-updated", &payload)]
        }
    }
}

/// The nudge of a guest: nothing but that something changed.
pub fn bare_nudge() -> Frame {
    Frame::new("conversation-updated", &json!({}))
}

/// The frames that tell a socket of a failure: `error`, and before it `message-failed` for a send.
pub fn failure(error: &Error, reference: &Reference) -> Vec<Frame> {
    let body = error::body(error);
    let mut frames = Vec::new();
    if reference.is_send {
        let mut failed: Map<String, Value> = body.clone();
        failed.remove("message");
        if let Some(conversation) = reference.conversation {
            failed.insert("conversationId".into(), json!(conversation));
        }
        if let Some(temp_id) = &reference.temp_id {
            failed.insert("tempId".into(), serde_json::from_str(&temp_id.echo).unwrap_or(Value::Null));
        }
        frames.push(Frame::new("message-failed", &failed));
    }
    let mut told = body;
    told.remove("error");
    frames.push(Frame::new("error", &told));
    frames
}

/// What an ack says.
pub mod ack {
    use super::*;

    fn text(payload: &impl Serialize) -> String {
        format!("[{}]", to_json(payload))
    }

    /// Done.
    pub fn ok() -> String {
        text(&json!({"ok": true}))
    }

    /// Not done.
    pub fn failed(error: &Error) -> String {
        let mut fields = error::body(error);
        fields.remove("message");
        fields.insert("ok".into(), json!(false));
        text(&fields)
    }

    /// A direct message is stored.
    pub fn message(stored: &Stored<Message>, temp_id: Option<&TempId>) -> String {
        format!("[{{\"ok\":true,\"message\":{}}}]", to_json(&MessageJson::new(&stored.row, temp_id)))
    }

    /// A support message is stored.
    pub fn support_message(written: &SupportWritten, temp_id: Option<&TempId>) -> String {
        let message = written.message.as_ref().map(|stored| SupportMessageJson::new(&stored.row, temp_id));
        format!("[{{\"ok\":true,\"message\":{}}}]", to_json(&message))
    }

    /// Messages are marked as read.
    pub fn marked(marked: &Marked) -> String {
        text(&json!({"ok": true, "updated": marked.updated, "messageIds": marked.messages}))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use entity::{ConversationId, MessageId, UserId};

    fn value(frame: &Frame) -> Value {
        serde_json::from_str(&frame.packet(None)).expect("is JSON")
    }

    #[test]
    fn a_message_carries_the_names_of_every_generation() {
        let message = Message {
            id: MessageId(9),
            conversation: ConversationId(7),
            sender: UserId(1),
            receiver: UserId(2),
            text: "hi \"there\" 👋".into(),
            read_at: None,
            is_read: false,
            created_at: Timestamp::default(),
        };
        let temp_id = TempId { echo: "\"temp-1\"".into(), nonce: None };
        let told = frames(&Event::Message { message, temp_id: Some(temp_id), after: None });
        assert_eq!(
            value(&told[0]),
            json!(["message-received", {
                "id": 9, "conversation_id": 7, "conversationId": 7, "sender_id": 1, "senderId": 1, "receiver_id": 2,
                "message_text": "hi \"there\" 👋", "is_read": false, "read_at": null, "created_at": "1970-01-01T00:00:00.000Z", "tempId": "temp-1",
            }])
        );
        let with_offset: Value = serde_json::from_str(&told[0].packet(Some("9.0"))).expect("is JSON");
        assert_eq!(with_offset[2], json!("9.0"));
    }

    #[test]
    fn typing_and_presence_are_told_under_two_names() {
        let names = |event| frames(&event).iter().map(|f| f.name).collect::<Vec<_>>();
        let room = Room::Conversation(ConversationId(7));
        assert_eq!(
            names(Event::Typing { room, user: UserId(1), with: UserId(2), name: Some("ann".into()), is_typing: true }),
            ["user-typing", "typing"]
        );
        assert_eq!(names(Event::Typing { room, user: UserId(1), with: UserId(2), name: None, is_typing: false }), ["user-stopped-typing"]);
        assert_eq!(names(Event::Presence { user: UserId(1), name: "ann".into(), last_seen: None }), ["user-status-changed", "user-online"]);
    }

    #[test]
    fn a_failed_send_is_told_with_its_temp_id() {
        let reference = Reference {
            name: Default::default(),
            is_send: true,
            temp_id: Some(TempId { echo: "5".into(), nonce: None }),
            conversation: Some(ConversationId(7)),
        };
        let told = failure(&Error::EmptyMessage, &reference);
        assert_eq!(
            value(&told[0]),
            json!(["message-failed", {"tempId": 5, "conversationId": 7, "error": "Message cannot be empty", "code": "empty_message"}])
        );
        assert_eq!(value(&told[1]), json!(["error", {"message": "Message cannot be empty", "code": "empty_message"}]));
    }
}

//! Direct messages: sending, reading, history.

use std::{sync::Arc, time::Duration};

use entity::{ConversationId, MessageId};

use super::conversations::AFTER_ANSWER;
use super::{Audience, Chat, Event, MessageText, Outgoing, Participant, Room};
use crate::auth::Actor;
use crate::clock;
use crate::error::{Error, Result};
pub use crate::store::Message;
use crate::store::jobs::{Done, Job, Mark, Marked, NewMessage, SendKey, Stored};
use crate::store::{Listed, Page};

impl Chat {
    /// Sends a message, which was counted when it came. Who: a participant. Refused: what is blank or too long. Told, after the commit: the followers and the
    /// sending socket; both users, that their lists are out of date. A repeated send stores nothing and is told to the sending socket.
    pub async fn send(self: &Arc<Self>, actor: &Actor, place: Participant, message: Outgoing, done: Done<Stored<Message>>) {
        let Outgoing { from, text, temp_id } = message;
        let text = match MessageText::new(text, self.settings.messages.max_length) {
            Ok(text) => text.into_inner(),
            Err(e) => return done.tell(Err(e)),
        };
        let nonce = temp_id.as_ref().and_then(|t| t.nonce.as_deref());
        let key = nonce.map(|nonce| SendKey::new("conversation", place.conversation.0, place.user, nonce, &text));
        let new = NewMessage {
            conversation: place.conversation,
            sender: place.user,
            receiver: place.other,
            text,
            key,
            accepted: clock::instant(),
        };
        self.end_typing(actor, Room::Conversation(place.conversation));
        let chat = Arc::clone(self);
        let told = Done::new(move |outcome: Result<Stored<Message>>| {
            match &outcome {
                Ok(Stored { row, fresh: true, after }) => {
                    let room = Room::Conversation(place.conversation);
                    let event = Event::Message { message: row.clone(), temp_id, after: *after };
                    chat.outbox.tell(Audience::RoomAnd(room, from), event);
                    let nudge = Event::ConversationUpdated { conversation: place.conversation, delay: Duration::ZERO };
                    chat.outbox.tell(Audience::Users(vec![place.user, place.other]), nudge);
                }
                Ok(Stored { row, fresh: false, .. }) => {
                    if let Some(from) = from {
                        let event = Event::Message { message: row.clone(), temp_id, after: None };
                        chat.outbox.tell_here(Audience::Socket(from), event);
                    }
                }
                Err(Error::NotFound(_)) => drop(chat.members.remove(&place.conversation)),
                Err(_) => {}
            }
            done.tell(outcome);
        });
        self.writer.submit(Job::Message(new, told)).await;
    }

    /// Marks what the caller received in a conversation, or one message of it, as read. Told: the other followers, which messages; the
    /// caller's sockets that do not have it open, that their lists are out of date. Nothing changed, nothing told.
    pub async fn mark_read(self: &Arc<Self>, place: Participant, message: Option<MessageId>) -> Result<Marked> {
        if let Some(id) = message {
            let found = self.store.find_message(id).await?;
            found.filter(|m| m.conversation == place.conversation).ok_or(Error::NotFound("Message not found"))?;
        }
        let (chat, mark) = (Arc::clone(self), Mark::new(place.user, place.conversation, message));
        let told = move |outcome: &Result<Marked>| {
            let Some(marked) = outcome.as_ref().ok().filter(|marked| marked.updated > 0) else { return };
            let room = Room::Conversation(place.conversation);
            let read = Event::MessagesRead {
                conversation: place.conversation,
                reader: place.user,
                other: place.other,
                read_at: marked.read_at,
                messages: marked.messages.clone(),
            };
            chat.outbox.tell(Audience::RoomWithout(room, place.user), read);
            let nudge = Event::ConversationUpdated { conversation: place.conversation, delay: AFTER_ANSWER };
            chat.outbox.tell(Audience::UserOutside(place.user, room), nudge);
        };
        self.writer.perform(|done| Job::Read(mark, done), told).await
    }

    /// The conversation of a message, for a client that names the message only.
    pub async fn conversation_of(&self, message: MessageId) -> Result<ConversationId> {
        Ok(self.store.find_message(message).await?.ok_or(Error::NotFound("Message not found"))?.conversation)
    }

    /// A page of a conversation's history, oldest first, and whether there is more. Who: a participant.
    pub async fn history(&self, place: Participant, page: Page, limit: Option<u64>) -> Result<Listed<Message>> {
        self.store.history(place.conversation, place.user, page, self.bound(limit, self.settings.messages.history_limit)).await
    }

    /// The name of the other user of a conversation.
    pub async fn other_name(&self, place: Participant) -> Result<Option<String>> {
        Ok(self.store.find_user(place.other).await?.map(|u| u.username))
    }
}

//! What a client missed while it was cut off.

use std::time::Duration;

use entity::{ConversationId, MessageId, SupportMessageId, TicketId};

use super::{Audience, Chat, Event, Room};
use crate::auth::Actor;
use crate::error::{Error, Result};
use crate::store::{Message, SupportMessage};

impl Chat {
    /// The messages of conversations and tickets, each newer than its own bound, in the order of their ids. What the caller may not see any
    /// more is left out.
    pub async fn missed(
        &self,
        actor: &Actor,
        conversations: &[(ConversationId, MessageId)],
        tickets: &[(TicketId, SupportMessageId)],
    ) -> Result<(Vec<Message>, Vec<SupportMessage>)> {
        let refused = |e: &Error| matches!(e, Error::Forbidden(_) | Error::NotFound(_));
        let (mut open, mut visible) = (Vec::new(), Vec::new());
        for bound in conversations {
            match self.require_participant(actor, bound.0).await {
                Ok(_) => open.push(*bound),
                Err(e) if refused(&e) => {}
                Err(e) => return Err(e),
            }
        }
        for bound in tickets {
            match self.require_ticket(actor, bound.0).await {
                Ok(_) => visible.push(*bound),
                Err(e) if refused(&e) => {}
                Err(e) => return Err(e),
            }
        }
        Ok((self.store.messages_since(&open).await?, self.store.support_messages_since(&visible).await?))
    }

    /// The messages of rooms, each newer than its own bound, in the order of their ids: for their followers, whose rights are known.
    pub async fn since(&self, rooms: &[(Room, i64)]) -> Result<Vec<Event>> {
        let (mut conversations, mut tickets) = (Vec::new(), Vec::new());
        for (room, after) in rooms {
            match room {
                Room::Conversation(id) => conversations.push((*id, MessageId(*after))),
                Room::Ticket(id) => tickets.push((*id, SupportMessageId(*after))),
            }
        }
        let messages = self.store.messages_since(&conversations).await?.into_iter().map(Event::from);
        let support = self.store.support_messages_since(&tickets).await?.into_iter().map(Event::from);
        Ok(messages.chain(support).collect())
    }

    /// The id of the newest message of all: what is told later is newer.
    pub async fn newest(&self) -> Result<MessageId> {
        self.store.newest_of_all().await
    }

    /// Tells both users of each conversation with messages newer than `heard`, as far as they are here, that their lists are out of date.
    pub async fn nudge_since(&self, heard: MessageId) -> Result<()> {
        for (conversation, users) in self.store.conversations_since(heard).await? {
            let nudge = Event::ConversationUpdated { conversation, delay: Duration::ZERO };
            self.outbox.tell_here(Audience::Users(users.into()), nudge);
        }
        Ok(())
    }

    /// The id of the newest message of a room: what a socket that joins now has not missed.
    pub async fn newest_in(&self, room: Room) -> Result<i64> {
        match room {
            Room::Conversation(id) => self.store.newest_message(id).await,
            Room::Ticket(id) => self.store.newest_support_message(id).await,
        }
    }

    /// The conversation of the caller with the newest message, when that is newer than `heard`.
    pub async fn news_since(&self, actor: &Actor, heard: MessageId) -> Result<Option<ConversationId>> {
        let newest = self.store.newest_conversation(actor.id).await?;
        Ok(newest.filter(|(_, message)| *message > heard).map(|(conversation, _)| conversation))
    }
}

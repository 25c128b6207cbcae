//! What a client missed while it was cut off.

use std::{collections::HashMap, time::Duration};

use entity::{ConversationId, MessageId, SupportMessageId, UserId};

use super::{Audience, Chat, Event, Room};
use crate::auth::Actor;
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::store::{Bound, Listed};

/// So much of what was missed is read at a time.
const PAGE: u64 = 1000;
const PAGE_BYTES: usize = 1_000_000;

/// A position that the tables do not reach.
#[derive(Clone, Copy, Debug)]
pub struct Void {
    /// How far they reach.
    pub newest: i64,
    /// The position that holds in its place.
    pub valid: i64,
}

impl Chat {
    /// A page of the messages of rooms, as [`since`](Self::since), for a client. What the caller may not see any more is left out.
    pub async fn missed(&self, actor: &Actor, rooms: &[(Room, i64)]) -> Result<Listed<Event>> {
        let _share = self.reading(actor.id).await?;
        let mut visible = Vec::new();
        for bound in rooms {
            let allowed = match bound.0 {
                Room::Conversation(id) => self.require_participant(actor, id).await.map(drop),
                Room::Ticket(id) => self.require_ticket(actor, id).await.map(drop),
            };
            match allowed {
                Ok(()) => visible.push(*bound),
                Err(Error::Forbidden(_) | Error::NotFound(_)) => {}
                Err(e) => return Err(e),
            }
        }
        // The tables may have been put back since they were asked.
        let mut found = self.since(&visible).await?;
        found.rows.retain(|event| event.is_for(actor));
        Ok(found)
    }

    fn page(&self) -> Bound {
        Bound { rows: Some(PAGE), bytes: PAGE_BYTES.min(self.settings.limits.answer_bytes) }
    }

    /// A page of the messages of rooms, each newer than its own bound, direct ones and then those of tickets in the order of their ids, and
    /// whether there are more: for their followers, whose rights are known.
    pub async fn since(&self, rooms: &[(Room, i64)]) -> Result<Listed<Event>> {
        let (mut conversations, mut tickets) = (Vec::new(), Vec::new());
        for (room, after) in rooms {
            match room {
                Room::Conversation(id) => conversations.push((*id, MessageId(*after))),
                Room::Ticket(id) => tickets.push((*id, SupportMessageId(*after))),
            }
        }
        let mut found = self.store.messages_since(&conversations, self.page()).await?.map(Event::from);
        let support = self.store.support_messages_since(&tickets, self.page()).await?.map(Event::from);
        found.rows.extend(support.rows);
        found.has_more |= support.has_more;
        Ok(found)
    }

    /// Whether a position in a room is void, since the tables do not reach it: they were put back to an earlier state, and give out ids again.
    /// The newest message from before `seen`, when the position still held, stands in its place.
    pub async fn void(&self, room: Room, position: i64, seen: Timestamp) -> Result<Option<Void>> {
        let newest = self.newest_in(room).await?;
        if newest >= position {
            return Ok(None);
        }
        let valid = match room {
            Room::Conversation(id) => self.store.newest_message_before(id, seen).await?,
            Room::Ticket(id) => self.store.newest_support_message_before(id, seen).await?,
        };
        Ok(Some(Void { newest, valid }))
    }

    /// The id of the newest message of all: what is told later is newer.
    pub async fn newest(&self) -> Result<MessageId> {
        self.store.newest_of_all().await
    }

    /// Tells both users of each conversation with messages newer than `heard`, as far as they are here, that their lists are out of date. `seen`
    /// is when `heard` was the newest, should the tables not reach that any more. Returns how far they reach.
    pub async fn nudge_since(&self, heard: MessageId, seen: Timestamp) -> Result<MessageId> {
        let is_void = self.newest().await? < heard;
        let mut heard = if is_void { self.store.newest_of_all_before(seen).await? } else { heard };
        loop {
            // Page by page: there may be as many as there are messages. Who is nudged for several hears one.
            let page = self.store.conversations_since(heard, PAGE).await?;
            let Some((last, ..)) = page.last() else { return Ok(heard) };
            heard = *last;
            let conversations: HashMap<ConversationId, [UserId; 2]> = page.into_iter().map(|(_, id, users)| (id, users)).collect();
            for (conversation, users) in conversations {
                let nudge = Event::ConversationUpdated { conversation, delay: Duration::ZERO };
                self.outbox.tell_here(Audience::Users(users.into()), nudge);
            }
        }
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

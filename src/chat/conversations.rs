//! Conversations: opening one, the inbox, who takes part.

use std::{sync::Arc, time::Duration};

use entity::{ConversationId, UserId};

use super::{Audience, Chat, Event};
use crate::auth::Actor;
use crate::clock;
use crate::error::{Error, Result};
use crate::limits::Limited;
use crate::store::jobs::Inserted;
use crate::store::{InboxFilter, InboxRow, Listed};

/// The proof that a user takes part in a conversation.
#[derive(Clone, Copy, Debug)]
pub struct Participant {
    /// Which conversation.
    pub conversation: ConversationId,
    /// The user.
    pub user: UserId,
    /// The other one.
    pub other: UserId,
}

/// How long a client is left in peace with the answer it just got, before its lists are called out of date.
pub(super) const AFTER_ANSWER: Duration = Duration::from_millis(150);

/// For how long the two users of a conversation are taken to be the same still, between two events of a socket.
const MEMBERS_FOR: Duration = Duration::from_secs(60);

fn participant(actor: &Actor, conversation: ConversationId, (a, b): (UserId, UserId)) -> Result<Participant> {
    let other = if actor.id == a {
        b
    } else if actor.id == b {
        a
    } else {
        return Err(Error::Forbidden("You are not part of this conversation"));
    };
    Ok(Participant { conversation, user: actor.id, other })
}

impl Chat {
    /// Who: the two users. Refused: `not_found`, `forbidden`. From memory only while the tables cannot be read.
    pub async fn require_participant(&self, actor: &Actor, conversation: ConversationId) -> Result<Participant> {
        let members = match self.store.find_members(conversation).await {
            Ok(Some(members)) => members,
            Ok(None) => {
                self.members.remove(&conversation);
                return Err(Error::NotFound("Conversation not found"));
            }
            Err(e) => {
                let (members, _) = self.members.get(&conversation).ok_or(e)?;
                return participant(actor, conversation, members);
            }
        };
        self.members.insert(conversation, (members, clock::instant()));
        participant(actor, conversation, members)
    }

    /// The same for an event of a socket, from memory for a minute. That may be wrong when the tables were put back: so a write holds for the two
    /// users that it names or fails, and what is told in a room is for those whom it names.
    pub async fn require_participant_lately(&self, actor: &Actor, conversation: ConversationId) -> Result<Participant> {
        if let Some((members, read)) = self.members.get(&conversation)
            && read.elapsed() < MEMBERS_FOR
            && let Ok(place) = participant(actor, conversation, members)
        {
            return Ok(place);
        }
        self.require_participant(actor, conversation).await
    }

    /// The conversation of the caller with `other`, and whether it is new. Refused: oneself, an unknown user, too many
    /// new ones in an hour. Told: the caller, and for a new one the other, that their lists are out of date; both become contacts.
    pub async fn open_conversation(self: &Arc<Self>, actor: &Actor, other: UserId) -> Result<(InboxRow, bool)> {
        if other == actor.id {
            return Err(Error::invalid("Cannot start conversation with yourself"));
        }
        let user = self.store.find_user(other).await?.ok_or(Error::NotFound("User not found"))?;
        let (chat, pair) = (Arc::clone(self), [(actor.id, actor.name.clone()), (other, user.username.into())]);
        let opened = move |id: i64, is_new: bool| {
            let [(caller, _), (other, _)] = pair;
            let conversation = ConversationId(id);
            chat.members.insert(conversation, ((caller, other), clock::instant()));
            let nudge = |delay| Event::ConversationUpdated { conversation, delay };
            chat.outbox.tell(Audience::Users(vec![caller]), nudge(AFTER_ANSWER));
            if is_new {
                chat.become_contacts(pair);
                chat.outbox.tell(Audience::Users(vec![other]), nudge(Duration::ZERO));
            }
        };
        let (conversation, is_new) = match self.store.find_conversation(actor.id, other).await? {
            Some(known) => {
                opened(known.0, false);
                (known, false)
            }
            None => {
                self.limit(Limited::Conversation, actor)?;
                let row = self.store.new_conversation(actor.id, other, clock::now());
                let told = move |outcome: &Result<Inserted>| {
                    if let Ok(row) = outcome {
                        opened(row.id, row.is_new)
                    }
                };
                let row = self.writer.insert(row, told).await?;
                (ConversationId(row.id), row.is_new)
            }
        };
        let row = self.store.find_in_inbox(actor.id, conversation).await?;
        let row = row.ok_or_else(|| Error::internal("a new conversation is not found"))?;
        Ok((row, is_new))
    }

    /// The caller's conversations, newest activity first.
    pub async fn inbox(&self, actor: &Actor, filter: InboxFilter, limit: Option<u64>) -> Result<Listed<InboxRow>> {
        if filter.search.as_ref().is_some_and(|text| text.contains('\0')) {
            return Ok(Listed::default());
        }
        let filter = InboxFilter { search: filter.search.filter(|s| !s.is_empty()), ..filter };
        self.store.inbox(actor.id, &filter, self.bound(limit, self.settings.messages.inbox_limit)).await
    }

    /// How many messages the caller has not read.
    pub async fn unread_count(&self, actor: &Actor) -> Result<i64> {
        self.store.unread_count(actor.id).await
    }

    /// At most ten users other than the caller whose names contain `text`. Limited per user.
    pub async fn search_users(&self, actor: &Actor, text: &str) -> Result<Vec<(UserId, String)>> {
        self.limit(Limited::Search, actor)?;
        if text.trim().is_empty() || text.contains('\0') {
            return Ok(Vec::new());
        }
        self.store.search_users(text.trim(), actor.id).await
    }
}

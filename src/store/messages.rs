//! The queries on `messages`: pages of history, and what was stored since. Messages are written by the `writer` alone.

use std::collections::HashMap;

use entity::{ConversationId, Flag, MessageId, UserId, conversation, message};
use sea_orm::{
    ColumnTrait, Condition, DbErr, EntityTrait, FromQueryResult, QueryFilter, QueryOrder, QueryResult, QuerySelect, QueryTrait,
    sea_query::Expr,
};
use serde::{Deserialize, Serialize};

use super::write::marks;
use super::{Bound, Listed, Store, failure};
use crate::clock::Timestamp;
use crate::error::Result;

/// A direct message as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the wire contract names the fields")]
pub struct Message {
    pub id: MessageId,
    pub conversation: ConversationId,
    pub sender: UserId,
    pub receiver: UserId,
    pub text: String,
    pub read_at: Option<Timestamp>,
    pub is_read: bool,
    pub created_at: Timestamp,
}

/// A part of a history, by ids.
#[derive(Clone, Copy, Debug, Default)]
pub struct Page {
    /// Only messages older than this one.
    pub before: Option<MessageId>,
    /// Only messages newer than this one, the oldest first from there.
    pub after: Option<MessageId>,
}

impl From<message::Model> for Message {
    fn from(row: message::Model) -> Self {
        Self {
            id: row.id,
            conversation: row.conversation_id,
            sender: row.sender_id,
            receiver: row.receiver_id,
            text: row.message_text.unwrap_or_default().0,
            read_at: row.read_at.map(Timestamp::from),
            is_read: row.is_read.is_some_and(Flag::is_set),
            created_at: row.created_at.unwrap_or_default().0,
        }
    }
}

fn read_message(row: &QueryResult) -> Result<Message, DbErr> {
    message::Model::from_query_result(row, "").map(Message::from)
}

/// The id of the newest message of a conversation `c`, or null, which is read as 0.
const NEWEST: &str = "(SELECT m.id FROM messages m WHERE m.conversation_id = c.id ORDER BY m.id DESC LIMIT 1)";

impl Store {
    /// A page of a conversation of `user`, oldest first, and whether there is more in the page's direction.
    pub async fn history(&self, conversation: ConversationId, user: UserId, page: Page, bound: Bound) -> Result<Listed<Message>> {
        let is_one = Condition::any().add(conversation::Column::User1Id.eq(user)).add(conversation::Column::User2Id.eq(user));
        let of_user = conversation::Entity::find_by_id(conversation).filter(is_one).into_query();
        let mut query = message::Entity::find()
            .filter(message::Column::ConversationId.eq(conversation))
            .filter(Expr::exists(of_user))
            .limit(bound.to_read());
        if let Some(id) = page.before {
            query = query.filter(message::Column::Id.lt(id));
        }
        query = match page.after {
            Some(id) => query.filter(message::Column::Id.gt(id)).order_by_asc(message::Column::Id),
            None => query.order_by_desc(message::Column::Id),
        };
        let mut listed = self.listed(query.build(self.backend()), bound, read_message).await?;
        if page.after.is_none() {
            listed.rows.reverse();
        }
        Ok(listed)
    }

    /// The message with this id.
    pub async fn find_message(&self, id: MessageId) -> Result<Option<Message>> {
        Ok(message::Entity::find_by_id(id).one(&self.read).await.map_err(failure)?.map(Message::from))
    }

    /// The messages of several conversations, each newer than its own bound, in the order of their ids: one statement, one snapshot.
    pub async fn messages_since(&self, after: &[(ConversationId, MessageId)], bound: Bound) -> Result<Listed<Message>> {
        if after.is_empty() {
            return Ok(Listed::default());
        }
        let newer = |(id, after): &(ConversationId, MessageId)| {
            Condition::all().add(message::Column::ConversationId.eq(*id)).add(message::Column::Id.gt(*after))
        };
        let any = after.iter().map(newer).fold(Condition::any(), Condition::add);
        let query = message::Entity::find().filter(any).order_by_asc(message::Column::Id).limit(bound.to_read());
        self.listed(query.build(self.backend()), bound, read_message).await
    }

    /// The id of the newest message of a conversation, or 0.
    pub async fn newest_message(&self, conversation: ConversationId) -> Result<i64> {
        let read = |ids: Vec<ConversationId>| async move {
            let sql = format!("SELECT c.id, {NEWEST} FROM conversations c WHERE c.id IN ({})", marks(ids.len()));
            let rows = self.rows(&sql, ids.into_iter().map(Into::into).collect()).await?;
            let pair = |row: &QueryResult| Ok((row.try_get_by_index(0)?, row.try_get_by_index::<MessageId>(1)?.0));
            rows.iter().map(pair).collect::<Result<_, _>>().map_err(failure)
        };
        Ok(self.gathered.newest.get(conversation, read).await?.unwrap_or_default())
    }

    /// The id of the newest message of all, or 0.
    pub async fn newest_of_all(&self) -> Result<MessageId> {
        let rows = self.rows("SELECT MAX(id) FROM messages", Vec::new()).await?;
        rows.first().map_or(Ok(MessageId(0)), |row| row.try_get_by_index(0)).map_err(failure)
    }

    /// The id of the newest message of all from before a moment, or 0.
    pub async fn newest_of_all_before(&self, moment: Timestamp) -> Result<MessageId> {
        let sql = "SELECT id FROM messages WHERE created_at < ? ORDER BY id DESC LIMIT 1";
        let rows = self.rows(sql, vec![moment.into()]).await?;
        rows.first().map_or(Ok(0), |row| row.try_get_by_index(0)).map(MessageId).map_err(failure)
    }

    /// The id of the newest message of a conversation from before a moment, or 0.
    pub async fn newest_message_before(&self, conversation: ConversationId, moment: Timestamp) -> Result<i64> {
        let sql = "SELECT id FROM messages WHERE conversation_id = ? AND created_at < ? ORDER BY id DESC LIMIT 1";
        let rows = self.rows(sql, vec![conversation.into(), moment.into()]).await?;
        rows.first().map_or(Ok(0), |row| row.try_get_by_index(0)).map_err(failure)
    }

    /// The next messages after this one, at most `most` of them: each one's id and conversation, with the users of that.
    pub async fn conversations_since(&self, heard: MessageId, most: u64) -> Result<Vec<(MessageId, ConversationId, [UserId; 2])>> {
        let sql = "SELECT m.id, c.id, c.user1_id, c.user2_id FROM messages m JOIN conversations c ON c.id = m.conversation_id \
                   WHERE m.id > ? ORDER BY m.id LIMIT ?";
        let rows = self.rows(sql, vec![heard.into(), i64::try_from(most).unwrap_or(i64::MAX).into()]).await?;
        let value = |row: &QueryResult| {
            Ok((row.try_get_by_index(0)?, row.try_get_by_index(1)?, [row.try_get_by_index(2)?, row.try_get_by_index(3)?]))
        };
        rows.iter().map(value).collect::<Result<_, _>>().map_err(failure)
    }

    /// The conversation of a user with the newest message, and that message.
    pub async fn newest_conversation(&self, user: UserId) -> Result<Option<(ConversationId, MessageId)>> {
        let read = |users: Vec<UserId>| async move {
            let of =
                |column| format!("SELECT c.{column}, {NEWEST}, c.id FROM conversations c WHERE c.{column} IN ({})", marks(users.len()));
            let values = users.iter().chain(&users).map(|user| user.0.into()).collect();
            let mut latest = HashMap::new();
            for row in self.rows(&format!("{} UNION ALL {}", of("user1_id"), of("user2_id")), values).await? {
                let columns = || Ok((row.try_get_by_index(0)?, row.try_get_by_index(1)?, row.try_get_by_index(2)?));
                let (user, newest, conversation): (UserId, MessageId, ConversationId) = columns().map_err(failure)?;
                let known = latest.entry(user).or_insert((conversation, newest));
                if known.1 < newest {
                    *known = (conversation, newest);
                }
            }
            Ok(latest)
        };
        self.gathered.latest.get(user, read).await
    }
}

//! The queries on `conversations`: pairs, contacts, the inbox.

use std::collections::HashMap;

use entity::{ConversationId, Moment, Text, UserId, conversation};
use sea_orm::{ColumnTrait, Condition, EntityTrait, QueryFilter, QueryOrder, QueryResult};

use super::jobs::Insert;
use super::write::marks;
use super::{Bound, Listed, Store, failure, statement};
use crate::clock::Timestamp;
use crate::error::Result;
use crate::folding::Sought;

/// A conversation as one of its two users sees it in the inbox.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the wire contract names the fields")]
pub struct InboxRow {
    pub id: ConversationId,
    pub user1: UserId,
    pub user2: UserId,
    pub created_at: Timestamp,
    pub other: UserId,
    pub other_name: Option<String>,
    pub other_avatar: Option<String>,
    pub other_role: Option<String>,
    pub last_message: Option<String>,
    pub last_activity: Timestamp,
    pub unread: i64,
}

/// Which part of an inbox is asked for.
#[derive(Clone, Debug, Default)]
pub struct InboxFilter {
    /// Only those whose other user's name contains this.
    pub search: Option<String>,
    /// Only those with an activity before this one; the id breaks ties.
    pub before: Option<(Timestamp, Option<ConversationId>)>,
}

/// Of so many conversations it is read at once what is told of them.
const AT_ONCE: usize = 64;

impl Store {
    /// The two users of a conversation.
    pub async fn find_members(&self, id: ConversationId) -> Result<Option<(UserId, UserId)>> {
        let read = |ids: Vec<ConversationId>| async move {
            let rows = conversation::Entity::find().filter(conversation::Column::Id.is_in(ids)).all(&self.read).await.map_err(failure)?;
            Ok(rows.into_iter().map(|row| (row.id, (row.user1_id, row.user2_id))).collect())
        };
        self.gathered.members.get(id, read).await
    }

    /// The conversation of two users, in whichever order an old row has them.
    pub async fn find_conversation(&self, a: UserId, b: UserId) -> Result<Option<ConversationId>> {
        let pair =
            |x: UserId, y: UserId| Condition::all().add(conversation::Column::User1Id.eq(x)).add(conversation::Column::User2Id.eq(y));
        let found = conversation::Entity::find()
            .filter(Condition::any().add(pair(a, b)).add(pair(b, a)))
            .order_by_asc(conversation::Column::Id)
            .one(&self.read)
            .await;
        Ok(found.map_err(failure)?.map(|c| c.id))
    }

    /// A new conversation of `user` and another one, unless they have one. Those who race get the same one.
    pub fn new_conversation(&self, user: UserId, other: UserId, now: Timestamp) -> Insert {
        let (now, a, b) = (self.kept(now), user.min(other), user.max(other));
        let mut row = vec![("user1_id", a.into()), ("user2_id", b.into()), ("created_at", now.into()), ("last_message_at", now.into())];
        // The legacy column has no default. Its generated columns are nobody's to write.
        row.extend(self.schema.has_trips.then(|| ("trip_id", 0.into())));
        let unless = ("(user1_id = ? AND user2_id = ?) OR (user1_id = ? AND user2_id = ?)", vec![a.into(), b.into(), b.into(), a.into()]);
        Insert { user, table: "conversations", row, unless: Some(unless) }
    }

    /// The users with whom `user` shares a conversation.
    pub async fn contacts(&self, user: UserId) -> Result<Vec<UserId>> {
        let read = |users: Vec<UserId>| async move {
            let these = marks(users.len());
            let one = format!("SELECT user1_id, user2_id FROM conversations WHERE user1_id IN ({these})");
            let other = format!("SELECT user2_id, user1_id FROM conversations WHERE user2_id IN ({these})");
            let values = users.iter().chain(&users).map(|user| user.0.into()).collect();
            let mut contacts = HashMap::<UserId, Vec<UserId>>::new();
            for row in self.rows(&format!("{one} UNION ALL {other}"), values).await? {
                let (user, contact) = (row.try_get_by_index(0).map_err(failure)?, row.try_get_by_index(1).map_err(failure)?);
                contacts.entry(user).or_default().push(contact);
            }
            Ok(contacts)
        };
        Ok(self.gathered.contacts.get(user, read).await?.unwrap_or_default())
    }

    /// The inbox of `user`, newest activity first. Two steps, so that only what is given is looked at closely, however many conversations there
    /// are: which conversations, by no more than the moments of their last messages; then, a few at a time, what is told of each.
    pub async fn inbox(&self, user: UserId, filter: &InboxFilter, bound: Bound) -> Result<Listed<InboxRow>> {
        let order = self.inbox_order(user, filter, bound.to_read()).await?;
        let (mut listed, mut bytes) = (Listed::default(), 0);
        for some in order.chunks(AT_ONCE) {
            let mut found = self.inbox_rows(user, some.iter().map(|(id, _)| *id).collect()).await?;
            for (id, activity) in some {
                // One that is gone since is left out; one that has news since keeps its place, which is the next page's bound.
                let Some(row) = found.remove(id) else { continue };
                if !listed.take(InboxRow { last_activity: activity.unwrap_or(row.created_at), ..row }, &mut bytes, bound) {
                    return Ok(listed);
                }
            }
        }
        Ok(listed)
    }

    /// A conversation as `user` sees it in the inbox.
    pub async fn find_in_inbox(&self, user: UserId, id: ConversationId) -> Result<Option<InboxRow>> {
        Ok(self.inbox_rows(user, vec![id]).await?.remove(&id))
    }

    /// The conversations of `user` in the order of the inbox, each with its last activity. The last message is not asked for as a maximum: in
    /// a dependent subquery MariaDB would walk over all messages of the conversation to find that.
    async fn inbox_order(&self, user: UserId, filter: &InboxFilter, rows: Option<u64>) -> Result<Vec<(ConversationId, Option<Timestamp>)>> {
        let sought = filter.search.as_deref().map(Sought::new);
        let (name, named) = match sought {
            Some(_) => ("u.username", "LEFT JOIN users u ON u.id = CASE WHEN c.user1_id = ? THEN c.user2_id ELSE c.user1_id END"),
            None => ("NULL", ""),
        };
        let mut sql = format!(
            "SELECT c.id, COALESCE(m.created_at, c.created_at) AS activity, {name} FROM conversations c {named} \
             LEFT JOIN messages m ON m.id = (SELECT l.id FROM messages l WHERE l.conversation_id = c.id ORDER BY l.id DESC LIMIT 1) \
             WHERE (c.user1_id = ? OR c.user2_id = ?)"
        );
        let mut values = vec![sea_orm::Value::from(user.0); if sought.is_some() { 3 } else { 2 }];
        // An adopted row may have no date at all: it is the last, and shown, and asked for, as of the year 1970.
        if let Some((moment, id)) = filter.before {
            let undated = "COALESCE(m.created_at, c.created_at) IS NULL";
            let is_undated = moment == Timestamp::default();
            sql.push_str(" AND (COALESCE(m.created_at, c.created_at) < ?");
            values.push(moment.into());
            if !is_undated {
                sql.push_str(&format!(" OR {undated}"));
            }
            if let Some(id) = id {
                let tie = if is_undated { undated } else { "COALESCE(m.created_at, c.created_at) = ?" };
                sql.push_str(&format!(" OR ({tie} AND c.id < ?)"));
                values.extend((!is_undated).then(|| moment.into()));
                values.push(id.0.into());
            }
            sql.push(')');
        }
        sql.push_str(" ORDER BY COALESCE(m.created_at, c.created_at) IS NULL, activity DESC, c.id DESC");
        // Names are compared here, as no database folds them as another does.
        if let (Some(rows), None) = (rows, &sought) {
            sql.push_str(" LIMIT ?");
            values.push(i64::try_from(rows).unwrap_or(i64::MAX).into());
        }
        let most = rows.and_then(|rows| usize::try_from(rows).ok()).unwrap_or(usize::MAX);
        let mut order = Vec::new();
        let take = |row: QueryResult| {
            let is_found = match &sought {
                Some(sought) => row.try_get_by_index::<Option<Text>>(2)?.is_some_and(|name| sought.is_in(&name.0)),
                None => true,
            };
            if is_found {
                order.push((row.try_get_by_index(0)?, row.try_get_by_index::<Option<Moment>>(1)?.map(Timestamp::from)));
            }
            Ok(order.len() < most)
        };
        self.read.read_while(statement(&self.read, &sql, values), take).await.map_err(failure)?;
        Ok(order)
    }

    /// What `user` sees of a few conversations. The keys are repeated up to a power of two, so that there are few different statements.
    async fn inbox_rows(&self, user: UserId, mut ids: Vec<ConversationId>) -> Result<HashMap<ConversationId, InboxRow>> {
        let Some(first) = ids.first().copied() else { return Ok(HashMap::new()) };
        ids.resize(ids.len().next_power_of_two(), first);
        let sql = format!(
            "SELECT c.id, c.user1_id, c.user2_id, c.created_at, u.username, u.avatar, u.role, m.message_text, \
             COALESCE(m.created_at, c.created_at) AS activity, \
             (SELECT COUNT(*) FROM messages r WHERE r.receiver_id = ? AND r.is_read = FALSE AND r.conversation_id = c.id) + \
             (SELECT COUNT(*) FROM messages r WHERE r.receiver_id = ? AND r.is_read IS NULL AND r.conversation_id = c.id) AS unread \
             FROM conversations c \
             LEFT JOIN users u ON u.id = CASE WHEN c.user1_id = ? THEN c.user2_id ELSE c.user1_id END \
             LEFT JOIN messages m ON m.id = (SELECT l.id FROM messages l WHERE l.conversation_id = c.id ORDER BY l.id DESC LIMIT 1) \
             WHERE (c.user1_id = ? OR c.user2_id = ?) AND c.id IN ({})",
            marks(ids.len())
        );
        let mut values = vec![sea_orm::Value::from(user.0); 5];
        values.extend(ids.into_iter().map(sea_orm::Value::from));
        let rows = self.rows(&sql, values).await?;
        rows.iter().map(|row| inbox_row(user, row).map(|row| (row.id, row))).collect::<Result<_, _>>().map_err(failure)
    }

    /// How many messages `user` has not read, of those that the inbox counts.
    pub async fn unread_count(&self, user: UserId) -> Result<i64> {
        // A message of a conversation that is gone, or in which the receiver has no part, could never be read.
        let of = |unread| {
            format!(
                "(SELECT COUNT(*) FROM messages m WHERE m.receiver_id = ? AND m.{unread} AND EXISTS \
                 (SELECT 1 FROM conversations c WHERE c.id = m.conversation_id AND (c.user1_id = ? OR c.user2_id = ?)))"
            )
        };
        let sql = format!("SELECT {} + {}", of("is_read = FALSE"), of("is_read IS NULL"));
        let rows = self.rows(&sql, vec![user.0.into(); 6]).await?;
        rows.first().map_or(Ok(0), |row| row.try_get_by_index(0)).map_err(failure)
    }
}

fn inbox_row(user: UserId, row: &QueryResult) -> Result<InboxRow, sea_orm::DbErr> {
    let (user1, user2) = (row.try_get_by_index(1)?, row.try_get_by_index(2)?);
    let moment = |at| Ok::<_, sea_orm::DbErr>(row.try_get_by_index::<Option<Moment>>(at)?.map(Timestamp::from));
    let text = |at| Ok::<_, sea_orm::DbErr>(row.try_get_by_index::<Option<Text>>(at)?.map(String::from));
    let (created_at, last_activity) = (moment(3)?, moment(8)?);
    Ok(InboxRow {
        id: row.try_get_by_index(0)?,
        user1,
        user2,
        created_at: created_at.unwrap_or_default(),
        other: if user1 == user { user2 } else { user1 },
        other_name: text(4)?,
        other_avatar: text(5)?,
        other_role: text(6)?,
        last_message: text(7)?,
        last_activity: last_activity.or(created_at).unwrap_or_default(),
        unread: row.try_get_by_index(9)?,
    })
}

//! The queries on `support_tickets` and `support_messages`. Support messages and changes of tickets are written by the `writer` alone.

use entity::{Category, Flag, Priority, Status, SupportMessageId, Text, TicketId, UserId, support_message, support_ticket};
use sea_orm::{
    ColumnTrait, Condition, DbBackend, DbErr, EntityTrait, ExprTrait, FromQueryResult, QueryFilter, QueryOrder, QueryResult, QuerySelect,
    QueryTrait, sea_query::Expr,
};
use serde::{Deserialize, Serialize};

use super::jobs::{Insert, NOBODY};
use super::{Bound, Listed, Store, dialect, failure};
use crate::clock::Timestamp;
use crate::error::Result;

/// A ticket as it is stored; unknown words of an adopted row are kept as they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the wire contract names the fields")]
pub struct Ticket {
    pub id: TicketId,
    pub owner: UserId,
    pub subject: String,
    pub description: String,
    pub category: String,
    pub status: String,
    pub priority: String,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// A ticket with the name of its owner, if that still exists.
pub type NamedTicket = (Ticket, Option<String>);

/// A message of a ticket as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the wire contract names the fields")]
pub struct SupportMessage {
    pub id: SupportMessageId,
    pub ticket: TicketId,
    pub sender: UserId,
    pub text: String,
    pub is_admin: bool,
    pub created_at: Timestamp,
}

/// Which tickets an admin asks for.
#[derive(Clone, Copy, Debug, Default)]
#[expect(missing_docs, reason = "the wire contract names the fields")]
pub struct TicketFilter {
    pub owner: Option<UserId>,
    pub status: Option<Status>,
    pub category: Option<Category>,
    pub before: Option<TicketId>,
}

/// A part of a ticket's messages, by ids.
#[derive(Clone, Copy, Debug, Default)]
pub struct TicketPage {
    /// Only messages older than this one.
    pub before: Option<SupportMessageId>,
    /// Only messages newer than this one, the oldest first from there.
    pub after: Option<SupportMessageId>,
}

impl Ticket {
    /// A new ticket; its id is given to it when it is stored.
    pub fn insert(&self) -> Insert {
        let row = vec![
            ("user_id", self.owner.into()),
            ("subject", self.subject.as_str().into()),
            ("description", self.description.as_str().into()),
            ("category", self.category.as_str().into()),
            ("status", self.status.as_str().into()),
            ("priority", self.priority.as_str().into()),
            ("created_at", self.created_at.into()),
            ("updated_at", self.updated_at.into()),
        ];
        Insert { user: self.owner, table: "support_tickets", row, unless: None }
    }
}

impl From<support_ticket::Model> for Ticket {
    fn from(row: support_ticket::Model) -> Self {
        let shown =
            |text: Option<Text>, default: &str, form: fn(&str) -> &str| text.as_ref().map_or(default, |text| form(&text.0)).to_owned();
        let created_at = row.created_at.unwrap_or_default().0;
        Self {
            id: row.id,
            owner: row.user_id,
            subject: row.subject.unwrap_or_default().0,
            description: row.description.unwrap_or_default().0,
            category: shown(row.category, Category::General.as_str(), Category::shown),
            status: shown(row.status, Status::Open.as_str(), Status::shown),
            priority: shown(row.priority, Priority::Medium.as_str(), Priority::shown),
            created_at,
            updated_at: row.updated_at.map_or(created_at, Timestamp::from),
        }
    }
}

impl From<support_message::Model> for SupportMessage {
    fn from(row: support_message::Model) -> Self {
        Self {
            id: row.id,
            ticket: row.ticket_id,
            sender: row.sender_id,
            text: row.message_text.unwrap_or_default().0,
            is_admin: row.is_admin.is_some_and(Flag::is_set),
            created_at: row.created_at.unwrap_or_default().0,
        }
    }
}

impl Store {
    /// The ticket with this id.
    pub async fn find_ticket(&self, id: TicketId) -> Result<Option<Ticket>> {
        Ok(support_ticket::Entity::find_by_id(id).one(&self.read).await.map_err(failure)?.map(Ticket::from))
    }

    /// Tickets, the newest first, each with its owner's name.
    pub async fn tickets(&self, filter: TicketFilter, bound: Bound) -> Result<Listed<NamedTicket>> {
        let backend = self.backend();
        let name = Expr::cust("(SELECT u.username FROM users u WHERE u.id = support_tickets.user_id)");
        let mut query =
            support_ticket::Entity::find().expr_as(name, "owner_name").order_by_desc(support_ticket::Column::Id).limit(bound.to_read());
        if let Some(owner) = filter.owner {
            query = query.filter(support_ticket::Column::UserId.eq(owner));
        }
        if let Some(status) = filter.status {
            query = query.filter(word(backend, "status", Status::Open.as_str()).eq(status.as_str()));
        }
        if let Some(category) = filter.category {
            query = query.filter(word(backend, "category", Category::General.as_str()).eq(category.as_str()));
        }
        if let Some(id) = filter.before {
            query = query.filter(support_ticket::Column::Id.lt(id));
        }
        let read = |row: &QueryResult| {
            let ticket = support_ticket::Model::from_query_result(row, "")?;
            Ok((Ticket::from(ticket), row.try_get::<Option<Text>>("", "owner_name")?.map(String::from)))
        };
        self.listed(query.build(backend), bound, read).await
    }

    /// A page of the messages of a ticket of `owner`, oldest first, and whether there is more in the page's direction.
    pub async fn support_messages(
        &self,
        ticket: TicketId,
        owner: UserId,
        page: TicketPage,
        bound: Bound,
    ) -> Result<Listed<SupportMessage>> {
        let of_owner = support_ticket::Entity::find_by_id(ticket).filter(support_ticket::Column::UserId.eq(owner)).into_query();
        let mut query = support_message::Entity::find()
            .filter(support_message::Column::TicketId.eq(ticket))
            .filter(Expr::exists(of_owner))
            .limit(bound.to_read());
        if let Some(id) = page.before {
            query = query.filter(support_message::Column::Id.lt(id));
        }
        query = match page.after {
            Some(id) => query.filter(support_message::Column::Id.gt(id)).order_by_asc(support_message::Column::Id),
            None => query.order_by_desc(support_message::Column::Id),
        };
        let mut listed = self.listed(query.build(self.backend()), bound, read_support_message).await?;
        if page.after.is_none() {
            listed.rows.reverse();
        }
        Ok(listed)
    }

    /// The messages of several tickets, each newer than its own bound, in the order of their ids, with the owner of each one's ticket: one
    /// statement, one snapshot.
    pub async fn support_messages_since(
        &self,
        after: &[(TicketId, SupportMessageId)],
        bound: Bound,
    ) -> Result<Listed<(SupportMessage, UserId)>> {
        if after.is_empty() {
            return Ok(Listed::default());
        }
        let newer = |(id, after): &(TicketId, SupportMessageId)| {
            Condition::all().add(support_message::Column::TicketId.eq(*id)).add(support_message::Column::Id.gt(*after))
        };
        let any = after.iter().map(newer).fold(Condition::any(), Condition::add);
        let owner = Expr::cust("(SELECT t.user_id FROM support_tickets t WHERE t.id = support_messages.ticket_id)");
        let query = support_message::Entity::find()
            .expr_as(owner, "owner")
            .filter(any)
            .order_by_asc(support_message::Column::Id)
            .limit(bound.to_read());
        let read = |row: &QueryResult| Ok((read_support_message(row)?, row.try_get::<Option<UserId>>("", "owner")?.unwrap_or(NOBODY)));
        self.listed(query.build(self.backend()), bound, read).await
    }

    /// The id of the newest message of a ticket from before a moment, or 0.
    pub async fn newest_support_message_before(&self, ticket: TicketId, moment: Timestamp) -> Result<i64> {
        let sql = "SELECT id FROM support_messages WHERE ticket_id = ? AND created_at < ? ORDER BY id DESC LIMIT 1";
        let rows = self.rows(sql, vec![ticket.into(), moment.into()]).await?;
        rows.first().map_or(Ok(0), |row| row.try_get_by_index(0)).map_err(failure)
    }

    /// The id of the newest message of a ticket, or 0.
    pub async fn newest_support_message(&self, ticket: TicketId) -> Result<i64> {
        let rows = self.rows("SELECT MAX(id) FROM support_messages WHERE ticket_id = ?", vec![ticket.into()]).await?;
        rows.first().map_or(Ok(SupportMessageId(0)), |row| row.try_get_by_index(0)).map(|id| id.0).map_err(failure)
    }
}

fn read_support_message(row: &QueryResult) -> Result<SupportMessage, DbErr> {
    support_message::Model::from_query_result(row, "").map(SupportMessage::from)
}

/// A column of words in the form in which they are shown; the legacy backend stores them in any case, with blanks, or not at all.
fn word(backend: DbBackend, column: &str, default: &str) -> Expr {
    let form = format!("LOWER(REPLACE(REPLACE(TRIM(COALESCE({column}, '{default}')), ' ', '_'), '-', '_'))");
    Expr::cust(dialect::bytewise(backend, &form))
}

//! What each job of the writer does to the database, inside the writer's transaction. When that begins and ends, and who is told, is not
//! decided here.

use std::collections::HashMap;

use entity::{
    ConversationId, MessageId, Status, SupportMessageId, conversation, message, recovery_session, support_message, support_ticket,
};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, Condition, DatabaseTransaction, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
    sea_query::Expr,
};

use super::writer::{Mark, Marked, NewMessage, SendKey, Stored, SupportWrite, SupportWritten};
use super::{Message, Session, SupportMessage, Ticket, dialect};
use crate::clock::Timestamp;
use crate::error::{Error, Result};

/// How many ids of a mark are told.
const MARKED_IDS: usize = 1000;

/// How messages are written.
#[derive(Clone, Copy)]
pub(super) struct How {
    /// Whether to ask the table first for those that are stored already.
    pub look: bool,
    /// Whether to find out which message of its conversation each comes after: where other nodes write, too, that is how one that is missed
    /// is noticed.
    pub chain: bool,
}

/// Stores messages, but for those that are stored already.
pub(super) async fn insert_messages(
    tx: &DatabaseTransaction,
    run: &[&NewMessage],
    now: Timestamp,
    how: How,
) -> Result<Vec<Stored<Message>>, DbErr> {
    let mut known: HashMap<&SendKey, Message> = HashMap::new();
    if how.look {
        let keys: HashMap<&str, &SendKey> = run.iter().filter_map(|new| new.key.as_ref()).map(|k| (k.0.as_str(), k)).collect();
        if !keys.is_empty() {
            let rows = message::Entity::find().filter(message::Column::SendKey.is_in(keys.keys().copied())).all(tx).await?;
            for row in rows {
                if let Some(key) = row.send_key.as_deref().and_then(|k| keys.get(k)) {
                    known.insert(key, Message::from(row));
                }
            }
        }
    }
    // A repetition may stand in the same batch as its first: only the first of each key is inserted.
    let mut firsts: HashMap<&SendKey, usize> = HashMap::new();
    let mut inserts: Vec<&NewMessage> = Vec::with_capacity(run.len());
    let places: Vec<Place> = run
        .iter()
        .map(|new| match &new.key {
            Some(key) if known.contains_key(key) => Place::Known(key),
            Some(key) if firsts.contains_key(key) => Place::Repeats(firsts.get(key).copied().unwrap_or_default()),
            key => {
                if let Some(key) = key {
                    firsts.insert(key, inserts.len());
                }
                inserts.push(new);
                Place::Inserted(inserts.len() - 1)
            }
        })
        .collect();
    let rows = insert_rows(tx, &inserts, now, how.chain).await?;
    let row = |at: usize| -> Result<Message, DbErr> {
        let (new, (id, _)) = inserts.get(at).zip(rows.get(at)).ok_or(DbErr::RecordNotInserted)?;
        Ok(Message {
            id: *id,
            conversation: new.conversation,
            sender: new.sender,
            receiver: new.receiver,
            text: new.text.clone(),
            read_at: None,
            is_read: false,
            created_at: now,
        })
    };
    places
        .into_iter()
        .map(|place| match place {
            Place::Inserted(at) => Ok(Stored { row: row(at)?, fresh: true, after: rows.get(at).and_then(|(_, after)| *after) }),
            Place::Repeats(at) => Ok(Stored { row: row(at)?, fresh: false, after: None }),
            Place::Known(key) => Ok(Stored { row: known.get(key).cloned().ok_or(DbErr::RecordNotInserted)?, fresh: false, after: None }),
        })
        .collect()
}

/// Where the row of a send is found.
enum Place<'a> {
    Inserted(usize),
    Repeats(usize),
    Known(&'a SendKey),
}

/// Inserts the rows in one statement and returns their ids in order, each with that of the message before it when `chain` asks for it.
async fn insert_rows(
    tx: &DatabaseTransaction,
    inserts: &[&NewMessage],
    now: Timestamp,
    chain: bool,
) -> Result<Vec<(MessageId, Option<i64>)>, DbErr> {
    if inserts.is_empty() {
        return Ok(Vec::new());
    }
    let mut sql =
        String::from("INSERT INTO messages (conversation_id, sender_id, receiver_id, message_text, is_read, created_at, send_key) VALUES ");
    let mut values: Vec<sea_orm::Value> = Vec::with_capacity(inserts.len() * 6);
    for (n, new) in inserts.iter().enumerate() {
        sql.push_str(if n == 0 { "(?, ?, ?, ?, FALSE, ?, ?)" } else { ", (?, ?, ?, ?, FALSE, ?, ?)" });
        values.extend([new.conversation.into(), new.sender.into(), new.receiver.into(), new.text.clone().into(), now.into()]);
        values.push(new.key.as_ref().map(|k| k.0.clone()).into());
    }
    let mut touched: Vec<ConversationId> = inserts.iter().map(|new| new.conversation).collect();
    touched.sort_unstable();
    touched.dedup();
    // Before the messages, whose foreign key would lock these rows in a weaker way first: two nodes that do the same would wait for each
    // other. And so the ids of a conversation are given out in the order of their commits, on several nodes, too.
    conversation::Entity::update_many()
        .col_expr(conversation::Column::LastMessageAt, Expr::value(now))
        .filter(conversation::Column::Id.is_in(touched.iter().copied()))
        .exec(tx)
        .await?;
    let mut newest: HashMap<ConversationId, i64> = HashMap::new();
    if chain {
        let query =
            message::Entity::find().select_only().column(message::Column::ConversationId).column_as(message::Column::Id.max(), "newest");
        let query = query.filter(message::Column::ConversationId.is_in(touched)).group_by(message::Column::ConversationId);
        newest.extend(query.into_tuple::<(ConversationId, i64)>().all(tx).await?);
    }
    let ids = dialect::insert(tx, &sql, values, inserts.len()).await?;
    let chained = inserts.iter().zip(ids).map(|(new, id)| {
        let after = chain.then(|| newest.insert(new.conversation, id).unwrap_or_default());
        (MessageId(id), after)
    });
    Ok(chained.collect())
}

/// Marks what the reader received and has not read.
pub(super) async fn apply_mark(tx: &DatabaseTransaction, mark: Mark, now: Timestamp) -> Result<Marked, DbErr> {
    let (mut messages, mut updated) = (Vec::new(), 0);
    // An adopted row may have no flag. Two exact conditions, since an OR of them would keep the databases from the index of what is unread,
    // and have them read the whole history each time.
    for unread in [message::Column::IsRead.eq(false), message::Column::IsRead.is_null()] {
        let which = Condition::all()
            .add(message::Column::ReceiverId.eq(mark.reader))
            .add(unread)
            .add(message::Column::ConversationId.eq(mark.conversation))
            .add_option(mark.message.map(|id| message::Column::Id.eq(id)));
        let newest = message::Entity::find().select_only().column(message::Column::Id).filter(which.clone());
        let ids: Vec<MessageId> = newest.order_by_desc(message::Column::Id).limit(MARKED_IDS as u64).into_tuple().all(tx).await?;
        let Some(last) = ids.first().copied() else { continue };
        let done = message::Entity::update_many()
            .col_expr(message::Column::IsRead, Expr::value(true))
            .col_expr(message::Column::ReadAt, Expr::value(now))
            .filter(which)
            .filter(message::Column::Id.lte(last))
            .exec(tx)
            .await?;
        updated += done.rows_affected;
        messages.extend(ids);
    }
    messages.sort_unstable();
    messages.drain(..messages.len().saturating_sub(MARKED_IDS));
    Ok(Marked { updated, messages, read_at: now })
}

/// Changes a ticket, stores a message in it, or both; the inner refusal leaves everything as it was.
pub(super) async fn apply_support(
    tx: &DatabaseTransaction,
    write: &SupportWrite,
    now: Timestamp,
    chain: bool,
) -> Result<Result<SupportWritten>, DbErr> {
    let Some(row) = support_ticket::Entity::find_by_id(write.ticket).lock_exclusive().one(tx).await? else {
        return Ok(Err(Error::NotFound("Ticket not found")));
    };
    let mut ticket = Ticket::from(row);
    if let Some((_, Some(key))) = &write.message
        && let Some(row) = support_message::Entity::find().filter(support_message::Column::SendKey.eq(key.0.as_str())).one(tx).await?
    {
        let message = Some(Stored { row: SupportMessage::from(row), fresh: false, after: None });
        return Ok(Ok(SupportWritten { ticket, changed: false, message }));
    }
    let mut status = Status::parse(&ticket.status);
    if write.message.is_some() {
        status = match (write.after_message)(status, write.is_admin) {
            Ok(status) => status,
            Err(e) => return Ok(Err(e)),
        };
    }
    let status = write.status.or(status).map_or(ticket.status.clone(), |s| s.as_str().to_owned());
    let priority = write.priority.map_or(ticket.priority.clone(), |p| p.as_str().to_owned());
    let changed = status != ticket.status || priority != ticket.priority;
    if changed {
        support_ticket::Entity::update_many()
            .col_expr(support_ticket::Column::Status, Expr::value(status.clone()))
            .col_expr(support_ticket::Column::Priority, Expr::value(priority.clone()))
            .col_expr(support_ticket::Column::UpdatedAt, Expr::value(now))
            .filter(support_ticket::Column::Id.eq(ticket.id))
            .exec(tx)
            .await?;
        (ticket.status, ticket.priority, ticket.updated_at) = (status, priority, now);
    }
    let Some((text, key)) = &write.message else { return Ok(Ok(SupportWritten { ticket, changed, message: None })) };
    let after = if chain {
        let newest = support_message::Entity::find().filter(support_message::Column::TicketId.eq(write.ticket));
        let newest = newest.order_by_desc(support_message::Column::Id).one(tx).await?;
        Some(newest.map_or(0, |row| row.id.0))
    } else {
        None
    };
    let new = support_message::ActiveModel {
        ticket_id: Set(write.ticket),
        sender_id: Set(write.sender),
        message_text: Set(text.clone()),
        is_admin: Set(Some(write.is_admin)),
        created_at: Set(Some(now)),
        send_key: Set(key.as_ref().map(|k| k.0.clone())),
        ..Default::default()
    };
    let id: SupportMessageId = support_message::Entity::insert(new).exec(tx).await?.last_insert_id;
    let row =
        SupportMessage { id, ticket: write.ticket, sender: write.sender, text: text.clone(), is_admin: write.is_admin, created_at: now };
    Ok(Ok(SupportWritten { ticket, changed, message: Some(Stored { row, fresh: true, after }) }))
}

/// Saves a session in the place of its former self.
pub(super) async fn save_session(tx: &DatabaseTransaction, session: &Session) -> Result<(), DbErr> {
    recovery_session::Entity::delete_by_id(session.pid.as_str()).exec(tx).await?;
    let row = recovery_session::ActiveModel {
        pid: Set(session.pid.clone()),
        user_id: Set(session.user),
        follows: Set(session.follows.clone()),
        used_at: Set(session.used_at),
    };
    recovery_session::Entity::insert(row).exec_without_returning(tx).await?;
    Ok(())
}

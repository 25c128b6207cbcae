//! What each job of the writer does to the database, inside the writer's transaction. When that begins and ends, and who is told, is not
//! decided here.

use std::collections::HashMap;

use entity::{ConversationId, Flag, MessageId, Moment, Status, SupportMessageId, Text, TicketId, UserId, support_ticket};
use sea_orm::{DbErr, Value};

use super::jobs::{MARKED_IDS, Mark, Marked, MarkedPiece, NewMessage, SendKey, Stored, SupportWrite, SupportWritten};
use super::write::{Row, Transaction, marks};
use super::{Message, SupportMessage, Ticket};
use crate::clock::Timestamp;
use crate::error::{Error, Result};

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
    tx: &Transaction,
    run: &[&NewMessage],
    now: Timestamp,
    how: How,
) -> Result<Vec<Stored<Message>>, DbErr> {
    let mut known: HashMap<&SendKey, Message> = HashMap::new();
    if how.look {
        let keys: HashMap<&str, &SendKey> = run.iter().filter_map(|new| new.key.as_ref()).map(|k| (k.0.as_str(), k)).collect();
        if !keys.is_empty() {
            let which = format!("send_key IN ({})", marks(keys.len()));
            for row in messages(tx, &which, keys.keys().map(|key| (*key).into()).collect()).await? {
                let key: Option<String> = row.get(SEND_KEY)?;
                if let Some(key) = key.as_deref().and_then(|k| keys.get(k)) {
                    known.insert(key, message(&row)?);
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

/// Inserts the rows and returns their ids in order, each with that of the message before it when `chain` asks for it.
async fn insert_rows(
    tx: &Transaction,
    inserts: &[&NewMessage],
    now: Timestamp,
    chain: bool,
) -> Result<Vec<(MessageId, Option<i64>)>, DbErr> {
    let pair = |new: &&NewMessage| (new.conversation, new.sender.min(new.receiver), new.sender.max(new.receiver));
    let mut touched: Vec<(ConversationId, UserId, UserId)> = inserts.iter().map(pair).collect();
    touched.sort_unstable();
    touched.dedup();
    // Before the messages, whose foreign key would lock these rows in a weaker way first: two nodes that do the same would wait for each
    // other. And so the ids of a conversation are given out in the order of their commits, on several nodes, too.
    // A conversation that has other users than the message fails, as one does that is not there: its id was given out again.
    let ids = |of: &[(ConversationId, UserId, UserId)]| of.iter().map(|(id, ..)| Value::from(*id)).collect::<Vec<_>>();
    for some in touched.chunks(tx.at_once()) {
        let of_pair = "id = ? AND (user1_id = ? AND user2_id = ? OR user1_id = ? AND user2_id = ?)";
        let (which, pairs) = (marks(some.len()), vec![of_pair; some.len()].join(" OR "));
        let sql = format!("UPDATE conversations SET last_message_at = ? WHERE id IN ({which}) AND ({pairs})");
        let users = some.iter().flat_map(|(id, a, b)| [Value::from(*id), (*a).into(), (*b).into(), (*b).into(), (*a).into()]);
        let found = tx.run(&sql, [vec![now.into()], ids(some), users.collect()].concat()).await?;
        if found != some.len() as u64 {
            return Err(DbErr::RecordNotUpdated);
        }
    }
    let mut newest: HashMap<ConversationId, i64> = HashMap::new();
    if chain && !touched.is_empty() {
        let which = format!("conversation_id IN ({}) GROUP BY conversation_id", marks(touched.len()));
        let sql = format!("SELECT conversation_id, MAX(id) FROM messages WHERE {which}");
        for row in tx.rows(&sql, ids(&touched)).await? {
            newest.insert(row.get(0)?, row.get::<MessageId>(1)?.0);
        }
    }
    let values = |new: &&NewMessage| {
        let key = new.key.as_ref().map(|key| key.0.clone());
        let (conversation, sender, receiver) = (new.conversation.into(), new.sender.into(), new.receiver.into());
        vec![conversation, sender, receiver, new.text.clone().into(), false.into(), now.into(), key.into()]
    };
    let columns = "messages (conversation_id, sender_id, receiver_id, message_text, is_read, created_at, send_key)";
    let ids = tx.insert(columns, inserts.iter().map(values).collect()).await?;
    let chained = inserts.iter().zip(ids).map(|(new, id)| {
        let after = chain.then(|| newest.insert(new.conversation, id).unwrap_or_default());
        (MessageId(id), after)
    });
    Ok(chained.collect())
}

/// Where the send key stands in a row of [`messages`].
const SEND_KEY: usize = 8;

async fn messages(tx: &Transaction, which: &str, values: Vec<Value>) -> Result<Vec<Row>, DbErr> {
    let columns = "id, conversation_id, sender_id, receiver_id, message_text, read_at, is_read, created_at, send_key";
    tx.rows(&format!("SELECT {columns} FROM messages WHERE {which}"), values).await
}

fn message(row: &Row) -> Result<Message, DbErr> {
    Ok(Message {
        id: row.get(0)?,
        conversation: row.get(1)?,
        sender: row.get(2)?,
        receiver: row.get(3)?,
        text: row.get::<Option<Text>>(4)?.unwrap_or_default().0,
        read_at: row.get::<Option<Moment>>(5)?.map(Timestamp::from),
        is_read: row.get::<Option<Flag>>(6)?.is_some_and(Flag::is_set),
        created_at: row.get::<Option<Moment>>(7)?.unwrap_or_default().0,
    })
}

/// A message, which no other transaction changes before this one ends.
pub(super) async fn find_message(tx: &Transaction, id: MessageId) -> Result<Option<Message>, DbErr> {
    let rows = messages(tx, &format!("id = ?{}", tx.for_update()), vec![id.into()]).await?;
    rows.first().map(message).transpose()
}

/// Waits until no other transaction is writing to a conversation.
pub(super) async fn lock_conversation(tx: &Transaction, id: ConversationId) -> Result<(), DbErr> {
    tx.rows(&format!("SELECT id FROM conversations WHERE id = ?{}", tx.for_update()), vec![id.into()]).await.map(drop)
}

/// A ticket, which no other transaction changes before this one ends.
pub(super) async fn find_ticket(tx: &Transaction, id: TicketId) -> Result<Option<Ticket>, DbErr> {
    let columns = "id, user_id, subject, description, category, status, priority, created_at, updated_at";
    let rows = tx.rows(&format!("SELECT {columns} FROM support_tickets WHERE id = ?{}", tx.for_update()), vec![id.into()]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let ticket = support_ticket::Model {
        id: row.get(0)?,
        user_id: row.get(1)?,
        subject: row.get(2)?,
        description: row.get(3)?,
        category: row.get(4)?,
        status: row.get(5)?,
        priority: row.get(6)?,
        created_at: row.get(7)?,
        updated_at: row.get(8)?,
    };
    Ok(Some(ticket.into()))
}

/// The message of a ticket to which a condition on one value applies.
pub(super) async fn find_support_message(tx: &Transaction, which: &str, value: Value) -> Result<Option<SupportMessage>, DbErr> {
    let columns = "id, ticket_id, sender_id, message_text, is_admin, created_at";
    let rows = tx.rows(&format!("SELECT {columns} FROM support_messages WHERE {which}"), vec![value]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    Ok(Some(SupportMessage {
        id: row.get(0)?,
        ticket: row.get(1)?,
        sender: row.get(2)?,
        text: row.get::<Option<Text>>(3)?.unwrap_or_default().0,
        is_admin: row.get::<Option<Flag>>(4)?.is_some_and(Flag::is_set),
        created_at: row.get::<Option<Moment>>(5)?.unwrap_or_default().0,
    }))
}

/// Marks what the reader received and has not read, the newest first, and at most `limit` messages.
pub(super) async fn apply_mark(tx: &Transaction, mark: &Mark, limit: usize, now: Timestamp) -> Result<MarkedPiece, DbErr> {
    let read_at = mark.marked.as_ref().map_or(now, |marked| marked.read_at);
    let mut piece = MarkedPiece { marked: Marked { updated: 0, messages: Vec::new(), read_at }, before: mark.before, is_last: false };
    let mut left = limit;
    // An adopted row may have no flag. Two exact conditions, since an OR of them would keep the databases from the index of what is unread,
    // and have them read the whole history each time.
    for unread in ["is_read = ?", "is_read IS NULL"] {
        if left == 0 {
            return Ok(piece);
        }
        let mut which = format!("receiver_id = ? AND conversation_id = ? AND {unread}");
        let mut values: Vec<Value> = vec![mark.reader.into(), mark.conversation.into()];
        if unread.ends_with('?') {
            values.push(false.into());
        }
        if let Some(id) = mark.message {
            which.push_str(" AND id = ?");
            values.push(id.into());
        }
        // What was marked is left out of the index not before the database has tidied up.
        if let Some(before) = mark.before.filter(|_| unread.ends_with('?')) {
            which.push_str(" AND id < ?");
            values.push(before.into());
        }
        let newest = format!("SELECT id FROM messages WHERE {which} ORDER BY id DESC LIMIT ?");
        let ids = tx.rows(&newest, [&*values, &[i64::try_from(left).unwrap_or(i64::MAX).into()]].concat()).await?;
        let ids: Vec<MessageId> = ids.iter().map(|row| row.get(0)).collect::<Result<_, _>>()?;
        let Some((newest, oldest)) = ids.first().copied().zip(ids.last().copied()) else { continue };
        let update = format!("UPDATE messages SET is_read = ?, read_at = ? WHERE {which} AND id >= ? AND id <= ?");
        let set = vec![true.into(), read_at.into()];
        piece.marked.updated += tx.run(&update, [set, values, vec![oldest.into(), newest.into()]].concat()).await?;
        if unread.ends_with('?') {
            piece.before = Some(oldest);
        }
        left -= ids.len().min(left);
        piece.marked.messages.extend(ids);
    }
    piece.is_last = left > 0;
    piece.marked.messages.sort_unstable();
    piece.marked.messages.drain(..piece.marked.messages.len().saturating_sub(MARKED_IDS));
    Ok(piece)
}

/// Changes a ticket, stores a message in it, or both; the inner refusal leaves everything as it was.
pub(super) async fn apply_support(
    tx: &Transaction,
    write: &SupportWrite,
    now: Timestamp,
    chain: bool,
) -> Result<Result<SupportWritten>, DbErr> {
    let is_open_to = |ticket: &Ticket| write.is_admin || ticket.owner == write.sender;
    let Some(mut ticket) = find_ticket(tx, write.ticket).await?.filter(is_open_to) else {
        return Ok(Err(Error::NotFound("Ticket not found")));
    };
    if let Some((_, Some(key))) = &write.message
        && let Some(row) = find_support_message(tx, "send_key = ?", key.0.as_str().into()).await?
    {
        let message = Some(Stored { row, fresh: false, after: None });
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
        let values = vec![status.clone().into(), priority.clone().into(), now.into(), ticket.id.into()];
        tx.run("UPDATE support_tickets SET status = ?, priority = ?, updated_at = ? WHERE id = ?", values).await?;
        (ticket.status, ticket.priority, ticket.updated_at) = (status, priority, now);
    }
    let Some((text, key)) = &write.message else { return Ok(Ok(SupportWritten { ticket, changed, message: None })) };
    let after = if chain {
        let newest = tx.rows("SELECT MAX(id) FROM support_messages WHERE ticket_id = ?", vec![write.ticket.into()]).await?;
        Some(newest.first().map_or(Ok(SupportMessageId(0)), |row| row.get(0))?.0)
    } else {
        None
    };
    let key = key.as_ref().map(|key| key.0.clone());
    let (ticket_id, sender) = (write.ticket.into(), write.sender.into());
    let values = vec![ticket_id, sender, text.clone().into(), write.is_admin.into(), now.into(), key.into()];
    let columns = "support_messages (ticket_id, sender_id, message_text, is_admin, created_at, send_key)";
    let id = SupportMessageId(tx.insert(columns, vec![values]).await?.first().copied().ok_or(DbErr::RecordNotInserted)?);
    let row =
        SupportMessage { id, ticket: write.ticket, sender: write.sender, text: text.clone(), is_admin: write.is_admin, created_at: now };
    Ok(Ok(SupportWritten { ticket, changed, message: Some(Stored { row, fresh: true, after }) }))
}

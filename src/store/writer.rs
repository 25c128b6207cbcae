//! The writer: one task that owns every write of messages, marks and tickets. It takes what has queued, writes it as one transaction, and
//! after the commit tells each caller in order. So one fsync pays for a batch, under no load a batch is one message and nothing waits, and
//! the order of ids is the order of commits is the order in which callers are told. What a caller does with its news is not decided here.

use std::collections::HashMap;

use entity::{
    ConversationId, MessageId, Priority, Status, SupportMessageId, TicketId, UserId, conversation, message, recovery_session,
    support_message, support_ticket,
};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, DatabaseTransaction, DbErr, EntityTrait, ExprTrait, QueryFilter, QueryOrder,
    QuerySelect, SqliteTransactionMode, TransactionOptions, TransactionTrait, sea_query::Expr,
};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::{Message, Session, Store, SupportMessage, Ticket, failure, is_away, is_duplicate, is_orphan, statement};
use crate::clock::{self, Timestamp};
use crate::error::{Error, Result};

/// Who waits for a write. Told exactly once, after the commit or the failure, from the writer's task: it must not block.
pub struct Done<T>(Option<Box<dyn FnOnce(Result<T>) + Send + Sync>>);

impl<T> Done<T> {
    /// `tell` is called with what became of the write.
    pub fn new(tell: impl FnOnce(Result<T>) + Send + Sync + 'static) -> Self {
        Self(Some(Box::new(tell)))
    }

    /// Tells the one who waits.
    pub fn tell(mut self, outcome: Result<T>) {
        if let Some(tell) = self.0.take() {
            tell(outcome);
        }
    }
}

impl<T> Drop for Done<T> {
    fn drop(&mut self) {
        if let Some(tell) = self.0.take() {
            tell(Err(Error::internal("the writer lost a job")));
        }
    }
}

/// A write in the queue.
pub enum Job {
    /// Store a direct message.
    Message(NewMessage, Done<Stored<Message>>),
    /// Change a ticket, store a message in it, or both.
    Support(SupportWrite, Done<SupportWritten>),
    /// Mark messages as read.
    Read(Mark, Done<Marked>),
    /// Save a recovery session.
    Session(Session, Done<()>),
    /// Nothing; told when all that was queued before is done.
    Flush(Done<()>),
}

/// A direct message to be stored.
pub struct NewMessage {
    /// Where it goes.
    pub conversation: ConversationId,
    /// Who sends it.
    pub sender: UserId,
    /// The other one.
    pub receiver: UserId,
    /// What it says.
    pub text: String,
    /// Set when its client may repeat the send.
    pub key: Option<SendKey>,
}

/// A change of a ticket, by a message or by an admin's hand.
pub struct SupportWrite {
    /// Which ticket.
    pub ticket: TicketId,
    /// Who acts.
    pub sender: UserId,
    /// Whether the sender acts as an admin.
    pub is_admin: bool,
    /// A message to be stored, and its key when the client may repeat the send.
    pub message: Option<(String, Option<SendKey>)>,
    /// The status that an admin sets.
    pub status: Option<Status>,
    /// The priority that an admin sets.
    pub priority: Option<Priority>,
    /// The rule: the status after a message, from the status before and whether an admin wrote it.
    pub after_message: fn(Option<Status>, bool) -> Result<Option<Status>>,
}

/// Which messages a reader has read.
#[derive(Clone, Copy)]
pub struct Mark {
    /// The one who received them.
    pub reader: UserId,
    /// Where.
    pub conversation: ConversationId,
    /// One of them; all without.
    pub message: Option<MessageId>,
}

/// A stored row, and whether this write made it or an earlier one with the same key.
#[derive(Clone, Debug)]
pub struct Stored<T> {
    /// What is stored.
    pub row: T,
    /// False for a repeated send.
    pub fresh: bool,
}

/// What became of a ticket.
pub struct SupportWritten {
    /// The ticket afterwards.
    pub ticket: Ticket,
    /// Whether status or priority changed.
    pub changed: bool,
    /// The message that was stored.
    pub message: Option<Stored<SupportMessage>>,
}

/// What a mark changed.
#[derive(Clone, Debug)]
pub struct Marked {
    /// How many messages.
    pub updated: u64,
    /// Their ids, ascending; the newest 1000.
    pub messages: Vec<MessageId>,
    /// When.
    pub read_at: Timestamp,
}

/// Identifies a send of one user in one place, so that a repetition is recognised: a digest of all that must be equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SendKey(String);

impl SendKey {
    /// The key of a send. `place` tells direct messages and tickets apart.
    pub fn new(place: &str, id: i64, sender: UserId, nonce: &str, text: &str) -> Self {
        let mut hash = Sha256::new();
        for part in [place.as_bytes(), &id.to_be_bytes(), &sender.0.to_be_bytes(), nonce.as_bytes(), text.as_bytes()] {
            hash.update(part.len().to_be_bytes());
            hash.update(part);
        }
        Self(hash.finalize().iter().take(16).map(|b| format!("{b:02x}")).collect())
    }
}

/// The way to the writer's task. A full queue makes the caller wait.
#[derive(Clone)]
pub struct Writer(mpsc::Sender<Job>);

/// How many ids of a mark are told.
const MARKED_IDS: u64 = 1000;

impl Writer {
    /// Starts the task. `queue` jobs may wait, `batch` of them share a transaction.
    pub fn start(store: std::sync::Arc<Store>, queue: usize, batch: usize) -> Self {
        let (sender, mut receiver) = mpsc::channel(queue);
        tokio::spawn(async move {
            let mut jobs = Vec::new();
            while receiver.recv_many(&mut jobs, batch).await > 0 {
                store.commit(std::mem::take(&mut jobs)).await;
            }
        });
        Self(sender)
    }

    /// Queues a job. Whoever waits for it is told in every case.
    pub async fn submit(&self, job: Job) {
        self.0.send(job).await.ok();
    }

    /// Queues a job and waits for what becomes of it.
    pub async fn perform<T: Send + 'static>(&self, job: impl FnOnce(Done<T>) -> Job) -> Result<T> {
        let (tell, told) = tokio::sync::oneshot::channel();
        self.submit(job(Done::new(move |outcome| {
            tell.send(outcome).ok();
        })))
        .await;
        told.await.unwrap_or_else(|_| Err(Error::internal("the writer is gone")))
    }
}

/// What one job of a committed transaction has to tell.
enum Outcome {
    Message(Stored<Message>),
    Support(Result<SupportWritten>),
    Read(Marked),
    Nothing,
}

impl Store {
    /// Writes the jobs as one transaction. When something in it fails they are written one by one, so that a bad one fails alone.
    async fn commit(&self, jobs: Vec<Job>) {
        let outcomes = match self.attempt(&jobs, false).await {
            Err(e) if is_duplicate(&e) => self.attempt(&jobs, true).await,
            other => other,
        };
        match outcomes {
            Ok(outcomes) => jobs.into_iter().zip(outcomes).for_each(|(job, outcome)| tell(job, Ok(outcome))),
            Err(e) if jobs.len() == 1 || is_away(&e) => jobs.into_iter().for_each(|job| tell(job, Err(refusal(&e)))),
            Err(_) => {
                for job in jobs {
                    let job = [job];
                    let outcome = self.attempt(&job, true).await;
                    let [job] = job;
                    let outcome = outcome.map(|mut all| all.pop().unwrap_or(Outcome::Nothing)).map_err(|e| refusal(&e));
                    tell(job, outcome);
                }
            }
        }
    }

    /// One transaction. `look` asks for the send keys first; without it a repeated one is noticed as a duplicate key, which is cheaper when they are rare.
    async fn attempt(&self, jobs: &[Job], look: bool) -> Result<Vec<Outcome>, DbErr> {
        let now = clock::now();
        let options = TransactionOptions { sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate), ..Default::default() };
        let tx = self.write.begin_with_options(options).await?;
        let mut outcomes = Vec::with_capacity(jobs.len());
        while let Some(job) = jobs.get(outcomes.len()) {
            match job {
                Job::Message(..) => {
                    let rest = jobs.get(outcomes.len()..).unwrap_or_default();
                    let run: Vec<&NewMessage> =
                        rest.iter().map_while(|job| if let Job::Message(new, _) = job { Some(new) } else { None }).collect();
                    outcomes.extend(insert_messages(&tx, &run, now, look).await?.into_iter().map(Outcome::Message));
                }
                Job::Support(write, _) => outcomes.push(Outcome::Support(apply_support(&tx, write, now).await?)),
                Job::Read(mark, _) => outcomes.push(Outcome::Read(apply_mark(&tx, *mark, now).await?)),
                Job::Session(session, _) => {
                    save_session(&tx, session).await?;
                    outcomes.push(Outcome::Nothing);
                }
                Job::Flush(_) => outcomes.push(Outcome::Nothing),
            }
        }
        tx.commit().await?;
        Ok(outcomes)
    }
}

fn refusal(e: &DbErr) -> Error {
    if is_orphan(e) { Error::NotFound("Conversation not found") } else { failure(e.clone()) }
}

fn tell(job: Job, outcome: Result<Outcome>) {
    let astray = || Error::internal("the writer mixed up its jobs");
    match job {
        Job::Message(_, done) => done.tell(outcome.and_then(|o| if let Outcome::Message(stored) = o { Ok(stored) } else { Err(astray()) })),
        Job::Support(_, done) => done.tell(outcome.and_then(|o| if let Outcome::Support(written) = o { written } else { Err(astray()) })),
        Job::Read(_, done) => done.tell(outcome.and_then(|o| if let Outcome::Read(marked) = o { Ok(marked) } else { Err(astray()) })),
        Job::Session(_, done) | Job::Flush(done) => done.tell(outcome.map(drop)),
    }
}

async fn insert_messages(tx: &DatabaseTransaction, run: &[&NewMessage], now: Timestamp, look: bool) -> Result<Vec<Stored<Message>>, DbErr> {
    let mut known: HashMap<&SendKey, Message> = HashMap::new();
    if look {
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
    let ids = insert_rows(tx, &inserts, now).await?;
    let row = |at: usize| -> Result<Message, DbErr> {
        let (new, id) = inserts.get(at).zip(ids.get(at)).ok_or(DbErr::RecordNotInserted)?;
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
            Place::Inserted(at) => Ok(Stored { row: row(at)?, fresh: true }),
            Place::Repeats(at) => Ok(Stored { row: row(at)?, fresh: false }),
            Place::Known(key) => Ok(Stored { row: known.get(key).cloned().ok_or(DbErr::RecordNotInserted)?, fresh: false }),
        })
        .collect()
}

/// Where the row of a send is found.
enum Place<'a> {
    Inserted(usize),
    Repeats(usize),
    Known(&'a SendKey),
}

/// Inserts the rows in one statement and returns their ids in order.
async fn insert_rows(tx: &DatabaseTransaction, inserts: &[&NewMessage], now: Timestamp) -> Result<Vec<MessageId>, DbErr> {
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
    let ids = if tx.support_returning() {
        sql.push_str(" RETURNING id");
        let rows = tx.query_all_raw(statement(tx, &sql, values)).await?;
        let mut ids = rows.iter().map(|row| row.try_get_by_index::<i64>(0)).collect::<Result<Vec<_>, _>>()?;
        // Ids grow in the order of VALUES, but rows may be returned in any.
        ids.sort_unstable();
        ids
    } else {
        // MySQL and MariaDB tell the first id of a multi-row insert; the others follow it.
        let first =
            i64::try_from(tx.execute_raw(statement(tx, &sql, values)).await?.last_insert_id()).map_err(|_| DbErr::RecordNotInserted)?;
        (first..).take(inserts.len()).collect()
    };
    let mut touched: Vec<ConversationId> = inserts.iter().map(|new| new.conversation).collect();
    touched.sort_unstable();
    touched.dedup();
    conversation::Entity::update_many()
        .col_expr(conversation::Column::LastMessageAt, Expr::value(now))
        .filter(conversation::Column::Id.is_in(touched))
        .exec(tx)
        .await?;
    Ok(ids.into_iter().map(MessageId).collect())
}

async fn apply_mark(tx: &DatabaseTransaction, mark: Mark, now: Timestamp) -> Result<Marked, DbErr> {
    let unread = || {
        let received = message::Column::ConversationId.eq(mark.conversation).and(message::Column::ReceiverId.eq(mark.reader));
        let unread = message::Column::IsRead.eq(false).or(message::Column::IsRead.is_null());
        let which = received.and(unread);
        match mark.message {
            Some(id) => which.and(message::Column::Id.eq(id)),
            None => which,
        }
    };
    let newest = message::Entity::find().select_only().column(message::Column::Id).filter(unread());
    let mut messages: Vec<MessageId> = newest.order_by_desc(message::Column::Id).limit(MARKED_IDS).into_tuple().all(tx).await?;
    messages.reverse();
    let Some(last) = messages.last().copied() else { return Ok(Marked { updated: 0, messages, read_at: now }) };
    let done = message::Entity::update_many()
        .col_expr(message::Column::IsRead, Expr::value(true))
        .col_expr(message::Column::ReadAt, Expr::value(now))
        .filter(unread())
        .filter(message::Column::Id.lte(last))
        .exec(tx)
        .await?;
    Ok(Marked { updated: done.rows_affected, messages, read_at: now })
}

async fn apply_support(tx: &DatabaseTransaction, write: &SupportWrite, now: Timestamp) -> Result<Result<SupportWritten>, DbErr> {
    let Some(row) = support_ticket::Entity::find_by_id(write.ticket).lock_exclusive().one(tx).await? else {
        return Ok(Err(Error::NotFound("Ticket not found")));
    };
    let mut ticket = Ticket::from(row);
    if let Some((_, Some(key))) = &write.message
        && let Some(row) = support_message::Entity::find().filter(support_message::Column::SendKey.eq(key.0.as_str())).one(tx).await?
    {
        let message = Some(Stored { row: SupportMessage::from(row), fresh: false });
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
    Ok(Ok(SupportWritten { ticket, changed, message: Some(Stored { row, fresh: true }) }))
}

async fn save_session(tx: &DatabaseTransaction, session: &Session) -> Result<(), DbErr> {
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

//! The writer: one task that owns every write of messages, marks and tickets. It takes what has queued, writes it as one transaction, and
//! after the commit tells each caller in order. So one fsync pays for a batch, under no load a batch is one message and nothing waits, and
//! the order of ids is the order of commits is the order in which callers are told. What a caller does with its news is not
//! decided here, and the SQL of each job is in `writes`.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use entity::{ConversationId, MessageId, Priority, Status, TicketId, UserId};
use sea_orm::{ConnAcquireErr, DbErr};
use sha2::{Digest, Sha256};
use tokio::{sync::mpsc, time::Instant};

use super::write::Transaction;
use super::writes::How;
use super::{Message, Session, Store, SupportMessage, Ticket, failure, is_away, is_broken, is_collision, is_duplicate, is_orphan, writes};
use crate::clock::{self, Timestamp};
use crate::error::{Error, Result};
use crate::metrics::Metrics;
use crate::vital::Vital;

/// Who waits for a write. Told exactly once, after the commit or the failure, from the writer's task: it must not block.
pub struct Done<T>(Option<Box<dyn FnOnce(Result<T>) + Send + Sync>>);

impl<T> Done<T> {
    /// `tell` is called with what became of the write.
    pub fn new(tell: impl FnOnce(Result<T>) + Send + Sync + 'static) -> Self {
        Self(Some(Box::new(tell)))
    }

    /// Tells the one who waits.
    /// A fault in the telling is this caller's alone: whoever it should have answered hears of it when the rest is dropped.
    pub fn tell(mut self, outcome: Result<T>) {
        if let Some(tell) = self.0.take() {
            let telling = || {
                crate::faults::strike("telling");
                tell(outcome);
            };
            catch_unwind(AssertUnwindSafe(telling)).ok();
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

impl Job {
    /// When a message was accepted.
    fn accepted(&self) -> Option<Instant> {
        match self {
            Self::Message(new, _) => Some(new.accepted),
            Self::Support(write, _) => write.message.is_some().then_some(write.accepted),
            Self::Read(..) | Self::Session(..) | Self::Flush(_) => None,
        }
    }
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
    /// When it was accepted.
    pub accepted: Instant,
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
    /// When it was accepted.
    pub accepted: Instant,
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
    /// The id of the row before it in its conversation or ticket, or 0; known where other nodes write too.
    pub after: Option<i64>,
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
pub struct SendKey(pub(super) String);

impl SendKey {
    /// The key of a send. `place` tells direct messages and tickets apart.
    pub fn new(place: &str, id: i64, sender: UserId, nonce: &str, text: &str) -> Self {
        let mut hash = Sha256::new();
        for part in [place.as_bytes(), &id.to_be_bytes(), &sender.0.to_be_bytes(), nonce.as_bytes(), text.as_bytes()] {
            hash.update(part.len().to_be_bytes());
            hash.update(part);
        }
        let mut key = String::with_capacity(32);
        for byte in hash.finalize().iter().take(16) {
            key.extend([byte >> 4, byte & 15].map(|digit| char::from_digit(u32::from(digit), 16).unwrap_or('0')));
        }
        Self(key)
    }
}

/// The way to the writer's task. A full queue makes the caller wait.
#[derive(Clone)]
pub struct Writer {
    queue: mpsc::Sender<Job>,
    /// Since when it has been at its present batch.
    busy: Arc<Mutex<Option<Instant>>>,
}

/// How long to wait before each new attempt of a transaction that collided, or whose connection broke before the commit.
const PAUSES: [Duration; 3] = [Duration::from_millis(10), Duration::from_millis(50), Duration::from_millis(200)];
/// How soon a database that is away is asked again what became of a commit.
const SETTLE_PAUSE: Duration = Duration::from_millis(100);

impl Writer {
    /// Starts the task, on a thread of its own where it blocks. `queue` jobs may wait, `batch` of them share a transaction.
    pub fn start(store: Arc<Store>, metrics: Arc<Metrics>, vital: &Vital, queue: usize, batch: usize) -> Self {
        let (queue, mut receiver) = mpsc::channel(queue);
        let busy = Arc::<Mutex<Option<Instant>>>::default();
        let (note, blocks) = (busy.clone(), store.write.blocks());
        let work = async move {
            let mut jobs = Vec::new();
            while receiver.recv_many(&mut jobs, batch).await > 0 {
                *note.lock().unwrap_or_else(PoisonError::into_inner) = Some(clock::instant());
                crate::faults::strike("writer");
                store.commit(std::mem::take(&mut jobs), &mut receiver, &metrics).await;
                *note.lock().unwrap_or_else(PoisonError::into_inner) = None;
            }
        };
        if blocks {
            vital.spawn_thread("writer", work);
        } else {
            vital.spawn("writer", work);
        }
        Self { queue, busy }
    }

    /// How many jobs wait.
    pub fn queued(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }

    /// For how long the writer has been at its present batch, if there is one.
    pub fn busy_for(&self) -> Option<Duration> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner).map(|since| since.elapsed())
    }

    /// Whether the task has ended: nothing will be written any more.
    pub fn is_gone(&self) -> bool {
        self.queue.is_closed()
    }

    /// Queues a job. Whoever waits for it is told in every case.
    pub async fn submit(&self, job: Job) {
        self.queue.send(job).await.ok();
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

/// What one job of a transaction has to tell.
pub(super) enum Outcome {
    Message(Stored<Message>),
    Support(Result<SupportWritten>),
    Read(Marked),
    Nothing,
}

/// Why a transaction has not succeeded.
enum Failed {
    /// Nothing of it is stored.
    Before(DbErr),
    /// All of it is stored, or nothing: the connection broke during the commit.
    Unclear(Vec<Outcome>),
}

impl From<DbErr> for Failed {
    fn from(e: DbErr) -> Self {
        Self::Before(e)
    }
}

impl Store {
    /// Writes the jobs as one transaction. When something in it fails they are written one by one, so that a bad one fails alone; when the
    /// database is away, those who wait behind them fail too, for they have waited as long.
    async fn commit(&self, jobs: Vec<Job>, waiting: &mut mpsc::Receiver<Job>, metrics: &Metrics) {
        let outcomes = match self.attempt_again(&jobs, false, waiting).await {
            Err(e) if is_duplicate(&e) => self.attempt_again(&jobs, true, waiting).await,
            other => other,
        };
        self.health.note(&outcomes);
        match outcomes {
            Ok(outcomes) => tell_stored(jobs, outcomes, metrics),
            Err(e) if is_away(&e) => {
                jobs.into_iter().for_each(|job| tell(job, Err(refusal(&e))));
                refuse_all(waiting);
            }
            Err(e) if jobs.len() == 1 || is_collision(&e) => jobs.into_iter().for_each(|job| tell(job, Err(refusal(&e)))),
            Err(_) => {
                for job in jobs {
                    let job = [job];
                    match self.attempt_again(&job, true, waiting).await {
                        Ok(outcomes) => tell_stored(job.into(), outcomes, metrics),
                        Err(e) => job.into_iter().for_each(|job| tell(job, Err(refusal(&e)))),
                    }
                }
            }
        }
    }

    /// One transaction; again, when it collided with another node's or with the legacy backend's, or lost its connection. An unclear one is
    /// settled before anything else is written, for what is stored is told in the order of its ids.
    async fn attempt_again(&self, jobs: &[Job], look: bool, waiting: &mut mpsc::Receiver<Job>) -> Result<Vec<Outcome>, DbErr> {
        let mut pauses = PAUSES.iter();
        loop {
            match self.attempt(jobs, look).await {
                Ok(outcomes) => return Ok(outcomes),
                Err(Failed::Unclear(outcomes)) => {
                    return if self.settle(&outcomes, waiting).await? { Ok(outcomes) } else { Err(lost()) };
                }
                Err(Failed::Before(e)) => {
                    let may_pass = is_collision(&e) || is_broken(&e) && !matches!(e, DbErr::ConnectionAcquire(_));
                    let Some(pause) = pauses.next().filter(|_| may_pass) else { return Err(e) };
                    tokio::time::sleep(*pause).await;
                }
            }
        }
    }

    /// One transaction. `look` asks for the send keys first; without it a repeated one is noticed as a duplicate key, which is cheaper when they are rare.
    async fn attempt(&self, jobs: &[Job], look: bool) -> Result<Vec<Outcome>, Failed> {
        let now = self.kept(clock::now());
        let tx = self.write.begin().await?;
        let how = How { look, chain: self.is_shared };
        let outcomes = self.write.within(perform(&tx, jobs, now, how)).await?;
        let committed = self.write.within(tx.commit()).await;
        self.health.note(&committed);
        match committed {
            Ok(()) => Ok(outcomes),
            Err(e) if is_broken(&e) => Err(Failed::Unclear(outcomes)),
            Err(e) => Err(Failed::Before(e)),
        }
    }

    /// Waits until the database tells what became of a commit. Whoever comes meanwhile is refused: nothing waits for a database that is away.
    async fn settle(&self, outcomes: &[Outcome], waiting: &mut mpsc::Receiver<Job>) -> Result<bool, DbErr> {
        tracing::warn!(jobs = outcomes.len(), "a commit was not answered; its writes are looked up");
        loop {
            match self.is_committed(outcomes).await {
                Err(e) if is_away(&e) || is_collision(&e) => {
                    refuse_all(waiting);
                    tokio::time::sleep(SETTLE_PAUSE).await;
                }
                settled => {
                    tracing::info!(found = settled.as_ref().is_ok_and(|found| *found), "the commit is settled");
                    return settled;
                }
            }
        }
    }
}

/// Does the jobs inside a transaction.
async fn perform(tx: &Transaction, jobs: &[Job], now: Timestamp, how: How) -> Result<Vec<Outcome>, DbErr> {
    let mut outcomes = Vec::with_capacity(jobs.len());
    while let Some(job) = jobs.get(outcomes.len()) {
        match job {
            Job::Message(..) => {
                let rest = jobs.get(outcomes.len()..).unwrap_or_default();
                let run: Vec<&NewMessage> =
                    rest.iter().map_while(|job| if let Job::Message(new, _) = job { Some(new) } else { None }).collect();
                outcomes.extend(writes::insert_messages(tx, &run, now, how).await?.into_iter().map(Outcome::Message));
            }
            Job::Support(write, _) => outcomes.push(Outcome::Support(writes::apply_support(tx, write, now, how.chain).await?)),
            Job::Read(mark, _) => outcomes.push(Outcome::Read(writes::apply_mark(tx, *mark, now).await?)),
            Job::Session(session, _) => {
                writes::save_session(tx, session).await?;
                outcomes.push(Outcome::Nothing);
            }
            Job::Flush(_) => outcomes.push(Outcome::Nothing),
        }
    }
    Ok(outcomes)
}

/// What a transaction failed with that was lost during its commit.
fn lost() -> DbErr {
    DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed)
}

fn refusal(e: &DbErr) -> Error {
    if is_orphan(e) { Error::NotFound("Conversation not found") } else { failure(e.clone()) }
}

fn refuse_all(waiting: &mut mpsc::Receiver<Job>) {
    while let Ok(job) = waiting.try_recv() {
        tell(job, Err(Error::Unavailable));
    }
}

/// Tells the callers of a batch, in order, that it is committed.
fn tell_stored(jobs: Vec<Job>, outcomes: Vec<Outcome>, metrics: &Metrics) {
    let committed = clock::instant();
    metrics.committed(jobs.len(), jobs.iter().filter_map(Job::accepted).map(|accepted| committed - accepted));
    for (job, outcome) in jobs.into_iter().zip(outcomes) {
        let is_message = job.accepted().is_some();
        tell(job, Ok(outcome));
        if is_message {
            metrics.delivered(committed.elapsed());
        }
    }
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

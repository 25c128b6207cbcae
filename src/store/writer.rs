//! The writer: one task that owns every write. It takes what has queued, writes it as one transaction, and after the commit has each caller
//! told in order. So one fsync pays for a batch, under no load a batch is one message and nothing waits, and the order of ids is the order of
//! commits is the order in which callers are told. What a batch is made of stands in `turns`, how callers are told in `teller`, and the SQL of
//! each job in `writes`.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use sea_orm::{ConnAcquireErr, DbErr};
use tokio::sync::mpsc;

use super::jobs::{Done, Execute, Insert, Inserted, Job, MarkedPiece, NewMessage, Stored, SupportWritten};
use super::teller::{Busy, Callers};
use super::turns::{Sizes, Turns};
use super::write::Transaction;
use super::writes::How;
use super::{Message, Store, failure, inserts, is_away, is_broken, is_collision, is_duplicate, is_late, is_misplaced, writes};
use crate::clock::{self, Timestamp};
use crate::error::{Error, Result};
use crate::metrics::Metrics;
use crate::vital::Vital;

/// The way to the writer's task. A full queue makes the caller wait.
#[derive(Clone)]
pub struct Writer {
    queue: mpsc::Sender<Job>,
    /// How many the writer has taken out of the queue and not come to yet.
    waiting: Arc<AtomicUsize>,
    /// Of the writer, and of the teller.
    busy: [Busy; 2],
}

/// How long to wait before each new attempt of a transaction that collided, or whose connection broke before the commit.
const PAUSES: [Duration; 3] = [Duration::from_millis(10), Duration::from_millis(50), Duration::from_millis(200)];
/// How soon a database that is away is asked again what became of a commit.
const SETTLE_PAUSE: Duration = Duration::from_millis(100);
/// How many messages one transaction marks as read at most: whoever has more waits for another turn, and nobody waits for all of them.
const MARKED_AT_ONCE: usize = 2000;

impl Writer {
    /// Starts the task, on a thread of its own where it blocks.
    pub fn start(store: Arc<Store>, metrics: Arc<Metrics>, vital: &Vital, sizes: Sizes) -> Self {
        let (queue, receiver) = mpsc::channel(sizes.queue);
        let (writing, telling, blocks) = (Busy::default(), Busy::default(), store.write.blocks());
        let (busy, waiting) = ([writing.clone(), telling.clone()], Arc::<AtomicUsize>::default());
        let turns = Turns::new(Sizes { bytes: sizes.bytes.min(store.batch_bytes), ..sizes }, waiting.clone());
        let mut callers = Callers::new(receiver, turns, metrics, vital, telling);
        let work = async move {
            while let Some(jobs) = callers.next().await {
                *writing.since() = Some(clock::instant());
                crate::faults::strike("writer");
                store.commit(jobs, &mut callers).await;
                *writing.since() = None;
            }
        };
        if blocks {
            vital.spawn_thread("writer", work);
        } else {
            vital.spawn("writer", work);
        }
        Self { queue, waiting, busy }
    }

    /// How many jobs wait.
    pub fn queued(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity() + self.waiting.load(Ordering::Relaxed)
    }

    /// For how long one batch has been written or told, if there is one.
    pub fn busy_for(&self) -> Option<Duration> {
        self.busy.iter().filter_map(|busy| *busy.since()).map(|since| since.elapsed()).max()
    }

    /// Whether the task has ended: nothing will be written any more.
    pub fn is_gone(&self) -> bool {
        self.queue.is_closed()
    }

    /// Queues a job. Whoever waits for it is told in every case.
    pub async fn submit(&self, job: Job) {
        self.queue.send(job).await.ok();
    }

    /// Queues a job and waits for what becomes of it. `told` is called with that first, also when nobody waits any more: a request whose
    /// client goes away is dropped at the wait, and others must be told of what it wrote all the same.
    pub async fn perform<T: Send + Sync + 'static>(
        &self,
        job: impl FnOnce(Done<T>) -> Job,
        told: impl FnOnce(&Result<T>) + Send + Sync + 'static,
    ) -> Result<T> {
        let (tell, wait) = tokio::sync::oneshot::channel();
        let done = Done::new(move |outcome: Result<T>| {
            told(&outcome);
            tell.send(outcome).ok();
        });
        self.submit(job(done)).await;
        wait.await.unwrap_or_else(|_| Err(Error::internal("the writer is gone")))
    }

    /// Inserts a row, as [`perform`](Self::perform) does a job.
    pub async fn insert(&self, row: Insert, told: impl FnOnce(&Result<Inserted>) + Send + Sync + 'static) -> Result<Inserted> {
        self.perform(|done| Job::Insert(row, done), told).await
    }

    /// Runs statements, as [`perform`](Self::perform) does a job.
    pub async fn execute(&self, statements: Execute, told: impl FnOnce(&Result<()>) + Send + Sync + 'static) -> Result<()> {
        self.perform(|done| Job::Execute(statements, done), told).await
    }
}

/// What one job of a transaction has to tell.
pub(super) enum Outcome {
    Message(Stored<Message>),
    Support(Result<SupportWritten>),
    Read(MarkedPiece),
    Inserted(Inserted),
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
    /// Writes the jobs as one transaction. When one of them fails the others are written without it. When the database is away, those who wait
    /// behind them fail too, for they have waited as long.
    async fn commit(&self, jobs: Vec<Job>, callers: &mut Callers) {
        let mut parts = vec![jobs];
        while let Some(mut jobs) = parts.pop() {
            let mut at = 0..0;
            let outcomes = match self.attempt_again(&jobs, false, &mut at, callers).await {
                Err(e) if is_duplicate(&e) => self.attempt_again(&jobs, true, &mut at, callers).await,
                other => other,
            };
            // One that waits for a lock of somebody else, or takes too long, fails alone, while the database answers others.
            let is_one = |e: &DbErr| !at.is_empty() && is_late(e) && !self.write.connections().is_away();
            if !outcomes.as_ref().is_err_and(is_one) {
                self.health.note(&outcomes);
            }
            match outcomes {
                Ok(outcomes) => {
                    let (jobs, outcomes) = callers.turns.put_back_unfinished(jobs, outcomes);
                    callers.tell_stored(jobs, outcomes).await;
                }
                Err(e) if is_one(&e) => {
                    parts.extend(Some(jobs.split_off(at.end)).filter(|after| !after.is_empty()));
                    let failed = jobs.split_off(at.start);
                    parts.extend(Some(jobs).filter(|before| !before.is_empty()));
                    callers.tell_failed(failed, &e).await;
                }
                Err(e) if is_away(&e) => {
                    jobs.extend(parts.drain(..).rev().flatten());
                    callers.tell_failed(jobs, &e).await;
                    callers.refuse().await;
                }
                Err(e) if jobs.len() == 1 || is_collision(&e) => callers.tell_failed(jobs, &e).await,
                Err(_) => {
                    let after = jobs.split_off(jobs.len() / 2);
                    parts.extend([after, jobs]);
                }
            }
        }
    }

    /// Runs statements at once: for a process that has no writer.
    pub async fn execute(&self, statements: Execute) -> Result<()> {
        let run = async {
            let tx = self.write.begin().await?;
            inserts::apply_statements(&tx, &statements).await?;
            tx.commit().await
        };
        run.await.map_err(failure)
    }

    /// One transaction; again, when it collided with another node's or with the legacy backend's, lost its connection, or had one to the wrong
    /// server. An unclear one is settled before anything else is written, for what is stored is told in the order of its ids.
    async fn attempt_again(&self, jobs: &[Job], look: bool, at: &mut Range<usize>, callers: &mut Callers) -> Result<Vec<Outcome>, DbErr> {
        let mut pauses = PAUSES.iter();
        loop {
            match self.attempt(jobs, look, at).await {
                Ok(outcomes) => return Ok(outcomes),
                Err(Failed::Unclear(outcomes)) => {
                    return if self.settle(jobs, &outcomes, callers).await? { Ok(outcomes) } else { Err(lost()) };
                }
                Err(Failed::Before(e)) => {
                    let may_pass = is_collision(&e) || is_misplaced(&e) || is_broken(&e) && !matches!(e, DbErr::ConnectionAcquire(_));
                    let Some(pause) = pauses.next().filter(|_| may_pass) else { return Err(e) };
                    tokio::time::sleep(*pause).await;
                }
            }
        }
    }

    /// One transaction. `look` asks for the send keys first; without it a repeated one is noticed as a duplicate key, which is cheaper when they
    /// are rare. `at` says which jobs it came to, and is empty before and after them.
    async fn attempt(&self, jobs: &[Job], look: bool, at: &mut Range<usize>) -> Result<Vec<Outcome>, Failed> {
        *at = 0..0;
        let now = self.kept(clock::now());
        let tx = self.write.begin().await?;
        let how = How { look, chain: self.is_shared };
        let outcomes = self.write.within(perform(&tx, jobs, now, how, at)).await?;
        *at = 0..0;
        let committed = self.write.within(tx.commit()).await;
        self.health.note(&committed);
        match committed {
            Ok(()) => {
                self.write.connections().note_written();
                Ok(outcomes)
            }
            Err(e) if is_broken(&e) => Err(Failed::Unclear(outcomes)),
            Err(e) => Err(Failed::Before(e)),
        }
    }

    /// Waits until the database tells what became of a commit. Whoever comes meanwhile is refused: nothing waits for a database that is away.
    async fn settle(&self, jobs: &[Job], outcomes: &[Outcome], callers: &mut Callers) -> Result<bool, DbErr> {
        tracing::warn!(jobs = outcomes.len(), "a commit was not answered; its writes are looked up");
        loop {
            match self.is_committed(jobs, outcomes).await {
                Err(e) if is_away(&e) || is_collision(&e) => {
                    callers.refuse().await;
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

/// Does the jobs inside a transaction. `at` says which of them are under way.
async fn perform(tx: &Transaction, jobs: &[Job], now: Timestamp, how: How, at: &mut Range<usize>) -> Result<Vec<Outcome>, DbErr> {
    let mut outcomes = Vec::with_capacity(jobs.len());
    let mut to_mark = MARKED_AT_ONCE;
    while let Some(job) = jobs.get(outcomes.len()) {
        *at = outcomes.len()..outcomes.len() + 1;
        match job {
            Job::Message(..) => {
                let rest = jobs.get(outcomes.len()..).unwrap_or_default();
                let run: Vec<&NewMessage> =
                    rest.iter().map_while(|job| if let Job::Message(new, _) = job { Some(new) } else { None }).collect();
                at.end = at.start + run.len();
                outcomes.extend(writes::insert_messages(tx, &run, now, how).await?.into_iter().map(Outcome::Message));
            }
            Job::Support(write, _) => outcomes.push(Outcome::Support(writes::apply_support(tx, write, now, how.chain).await?)),
            Job::Read(mark, _) => {
                let piece = writes::apply_mark(tx, mark, to_mark, now).await?;
                to_mark = to_mark.saturating_sub(usize::try_from(piece.marked.updated).unwrap_or(usize::MAX));
                outcomes.push(Outcome::Read(piece));
            }
            Job::Insert(insert, _) => outcomes.push(Outcome::Inserted(inserts::apply_insert(tx, insert).await?)),
            Job::Execute(execute, _) => {
                inserts::apply_statements(tx, execute).await?;
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

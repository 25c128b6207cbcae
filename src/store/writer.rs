//! The writer: one task that owns every write of messages, marks and tickets. It takes what has queued, writes it as one transaction, and
//! after the commit has each caller told in order. So one fsync pays for a batch, under no load a batch is one message and nothing waits, and
//! the order of ids is the order of commits is the order in which callers are told. How they are told stands in `teller`, and the SQL of each
//! job in `writes`.

use std::{sync::Arc, time::Duration};

use sea_orm::{ConnAcquireErr, DbErr};
use tokio::sync::mpsc;

use super::jobs::{Done, Job, Marked, NewMessage, Stored, SupportWritten};
use super::teller::{Busy, Callers};
use super::write::Transaction;
use super::writes::How;
use super::{Message, Store, is_away, is_broken, is_collision, is_duplicate, is_misplaced, writes};
use crate::clock::{self, Timestamp};
use crate::error::{Error, Result};
use crate::metrics::Metrics;
use crate::vital::Vital;

/// The way to the writer's task. A full queue makes the caller wait.
#[derive(Clone)]
pub struct Writer {
    queue: mpsc::Sender<Job>,
    /// Of the writer, and of the teller.
    busy: [Busy; 2],
}

/// How long to wait before each new attempt of a transaction that collided, or whose connection broke before the commit.
const PAUSES: [Duration; 3] = [Duration::from_millis(10), Duration::from_millis(50), Duration::from_millis(200)];
/// How soon a database that is away is asked again what became of a commit.
const SETTLE_PAUSE: Duration = Duration::from_millis(100);

impl Writer {
    /// Starts the task, on a thread of its own where it blocks. `queue` jobs may wait, `batch` of them share a transaction.
    pub fn start(store: Arc<Store>, metrics: Arc<Metrics>, vital: &Vital, queue: usize, batch: usize) -> Self {
        let (queue, receiver) = mpsc::channel(queue);
        let (writing, telling, blocks) = (Busy::default(), Busy::default(), store.write.blocks());
        let busy = [writing.clone(), telling.clone()];
        let mut callers = Callers::new(receiver, metrics, vital, telling);
        let work = async move {
            let mut jobs = Vec::new();
            while callers.waiting.recv_many(&mut jobs, batch).await > 0 {
                *writing.since() = Some(clock::instant());
                crate::faults::strike("writer");
                store.commit(std::mem::take(&mut jobs), &mut callers).await;
                *writing.since() = None;
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
    async fn commit(&self, jobs: Vec<Job>, callers: &mut Callers) {
        let outcomes = match self.attempt_again(&jobs, false, callers).await {
            Err(e) if is_duplicate(&e) => self.attempt_again(&jobs, true, callers).await,
            other => other,
        };
        self.health.note(&outcomes);
        match outcomes {
            Ok(outcomes) => callers.tell_stored(jobs, outcomes).await,
            Err(e) if is_away(&e) => {
                callers.tell_failed(jobs, &e).await;
                callers.refuse().await;
            }
            Err(e) if jobs.len() == 1 || is_collision(&e) => callers.tell_failed(jobs, &e).await,
            Err(_) => {
                for job in jobs {
                    let job = vec![job];
                    match self.attempt_again(&job, true, callers).await {
                        Ok(outcomes) => callers.tell_stored(job, outcomes).await,
                        Err(e) => callers.tell_failed(job, &e).await,
                    }
                }
            }
        }
    }

    /// One transaction; again, when it collided with another node's or with the legacy backend's, lost its connection, or had one to the wrong server. An unclear one is
    /// settled before anything else is written, for what is stored is told in the order of its ids.
    async fn attempt_again(&self, jobs: &[Job], look: bool, callers: &mut Callers) -> Result<Vec<Outcome>, DbErr> {
        let mut pauses = PAUSES.iter();
        loop {
            match self.attempt(jobs, look).await {
                Ok(outcomes) => return Ok(outcomes),
                Err(Failed::Unclear(outcomes)) => {
                    return if self.settle(&outcomes, callers).await? { Ok(outcomes) } else { Err(lost()) };
                }
                Err(Failed::Before(e)) => {
                    let may_pass = is_collision(&e) || is_misplaced(&e) || is_broken(&e) && !matches!(e, DbErr::ConnectionAcquire(_));
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
    async fn settle(&self, outcomes: &[Outcome], callers: &mut Callers) -> Result<bool, DbErr> {
        tracing::warn!(jobs = outcomes.len(), "a commit was not answered; its writes are looked up");
        loop {
            match self.is_committed(outcomes).await {
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

//! The teller: a task that tells each caller of the writer what became of its job, in the order of the commits. It wakes the sockets from the
//! threads that they are on, and while the writer is at the next batch. What a caller does with its news is not decided here.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sea_orm::DbErr;
use tokio::{sync::mpsc, time::Instant};

use super::jobs::Job;
use super::turns::Turns;
use super::writer::Outcome;
use super::{failure, is_orphan};
use crate::clock;
use crate::error::{Error, Result};
use crate::metrics::Metrics;
use crate::vital::Vital;

/// Since when somebody has been at the present batch.
#[derive(Clone, Default)]
pub(super) struct Busy(Arc<Mutex<Option<Instant>>>);

impl Busy {
    /// The moment, to be set and taken back.
    pub fn since(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many batches may be committed and not yet told; then the writer waits.
const UNTOLD: usize = 4;
/// For how long the teller tells without letting the tasks beside it run.
const AT_ONCE: Duration = Duration::from_millis(2);

/// What became of jobs, in order, and since when it is so.
struct News {
    since: Instant,
    outcomes: Vec<(Job, Result<Outcome>)>,
}

/// Those who wait for the writer: with jobs that it has not taken yet, and for news of those that it has done.
pub(super) struct Callers {
    coming: mpsc::Receiver<Job>,
    /// The jobs that wait, by user.
    pub turns: Turns,
    news: mpsc::Sender<News>,
    metrics: Arc<Metrics>,
}

impl Callers {
    /// Starts the teller.
    pub fn new(coming: mpsc::Receiver<Job>, turns: Turns, metrics: Arc<Metrics>, vital: &Vital, telling: Busy) -> Self {
        let (news, told) = mpsc::channel(UNTOLD);
        vital.spawn("teller", tell_all(told, metrics.clone(), telling));
        Self { coming, turns, news, metrics }
    }

    /// The next batch; waits for one. Nothing when nobody can ask for anything any more.
    pub async fn next(&mut self) -> Option<Vec<Job>> {
        if self.turns.is_empty() {
            let first = self.coming.recv().await?;
            self.admit(first);
        }
        while !self.turns.is_full() {
            let Ok(job) = self.coming.try_recv() else { break };
            self.admit(job);
        }
        Some(self.turns.take())
    }

    /// Queues a job. A user who has too many of them in the queue has this one refused.
    fn admit(&mut self, job: Job) {
        let Some(e) = self.turns.refusal(&job) else { return self.turns.push(job) };
        if matches!(e, Error::RateLimited { .. }) {
            self.metrics.rate_limited("writer_queue");
        }
        job.refuse(e);
    }

    /// Tells the callers of a batch that it is committed.
    pub async fn tell_stored(&self, jobs: Vec<Job>, outcomes: Vec<Outcome>) {
        if jobs.is_empty() {
            return;
        }
        let committed = clock::instant();
        self.metrics.committed(jobs.len(), jobs.iter().filter_map(Job::accepted).map(|accepted| committed - accepted));
        self.tell(jobs.into_iter().zip(outcomes.into_iter().map(Ok)).collect()).await;
    }

    /// Tells the callers of a batch why it is not stored.
    pub async fn tell_failed(&self, jobs: Vec<Job>, e: &DbErr) {
        self.tell(jobs.into_iter().map(|job| (job, Err(refusal(e)))).collect()).await;
    }

    /// Refuses all who wait now.
    pub async fn refuse(&mut self) {
        let coming = std::iter::from_fn(|| self.coming.try_recv().ok());
        let refused = self.turns.drain().into_iter().chain(coming).map(|job| (job, Err(Error::Unavailable))).collect();
        self.tell(refused).await;
    }

    async fn tell(&self, outcomes: Vec<(Job, Result<Outcome>)>) {
        // Without the teller the process ends.
        self.news.send(News { since: clock::instant(), outcomes }).await.ok();
    }
}

/// Tells all callers what became of their jobs, in order.
async fn tell_all(mut news: mpsc::Receiver<News>, metrics: Arc<Metrics>, telling: Busy) {
    while let Some(News { since, outcomes }) = news.recv().await {
        let mut start = clock::instant();
        *telling.since() = Some(start);
        for (job, outcome) in outcomes {
            let is_stored = job.accepted().is_some() && outcome.is_ok();
            tell(job, outcome);
            let now = clock::instant();
            if is_stored {
                metrics.delivered(now - since);
            }
            if now - start > AT_ONCE {
                tokio::task::yield_now().await;
                start = clock::instant();
            }
        }
        *telling.since() = None;
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
        Job::Read(mut mark, done) => done.tell(outcome.and_then(|outcome| {
            if let Outcome::Read(piece) = outcome {
                mark.add(piece);
            }
            mark.marked.ok_or_else(astray)
        })),
        Job::Insert(_, done) => done.tell(outcome.and_then(|o| if let Outcome::Inserted(row) = o { Ok(row) } else { Err(astray()) })),
        Job::Execute(_, done) | Job::Flush(done) => done.tell(outcome.map(drop)),
    }
}

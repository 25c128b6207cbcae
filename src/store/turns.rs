//! What waits for the writer. Users take turns, so that nobody waits for the whole of another's burst; what one user asks for stays in its
//! order. How a batch is written stands in `writer`.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use entity::UserId;

use super::jobs::{Job, MarkedPiece, NOBODY};
use super::writer::Outcome;
use crate::error::Error;

/// How soon somebody who has too many jobs in the queue shall come back.
const SOON: Duration = Duration::from_secs(1);

/// How much may wait, and how much makes a batch.
#[derive(Clone, Copy)]
pub struct Sizes {
    /// Jobs that wait.
    pub queue: usize,
    /// Those of one user among them.
    pub per_user: usize,
    /// Messages that share a transaction; of other jobs there are fewer.
    pub batch: usize,
    /// Bytes that share a transaction.
    pub bytes: usize,
}

/// The jobs that wait, by user.
pub(super) struct Turns {
    waiting: HashMap<UserId, VecDeque<Job>>,
    /// Whose turn is next: everybody who has something waiting, once.
    users: VecDeque<UserId>,
    /// To be told when nothing else waits.
    flushes: Vec<Job>,
    count: Arc<AtomicUsize>,
    sizes: Sizes,
}

impl Turns {
    /// Nothing waits. `count` says how many jobs do.
    pub fn new(sizes: Sizes, count: Arc<AtomicUsize>) -> Self {
        Self { waiting: HashMap::new(), users: VecDeque::new(), flushes: Vec::new(), count, sizes }
    }

    pub fn is_empty(&self) -> bool {
        self.users.is_empty() && self.flushes.is_empty()
    }

    pub fn is_full(&self) -> bool {
        self.count.load(Ordering::Relaxed) >= self.sizes.queue
    }

    /// Why a job cannot be added.
    pub fn refusal(&self, job: &Job) -> Option<Error> {
        if job.bytes() > self.sizes.bytes {
            return Some(Error::MessageTooLong(self.sizes.bytes / 4));
        }
        let user = job.user();
        let is_over = self.waiting.get(&user).is_some_and(|jobs| jobs.len() >= self.sizes.per_user) && user != NOBODY;
        is_over.then_some(Error::RateLimited { retry_after: SOON })
    }

    /// Adds a job.
    pub fn push(&mut self, job: Job) {
        if matches!(job, Job::Flush(_)) {
            return self.flushes.push(job);
        }
        let user = job.user();
        let jobs = self.waiting.entry(user).or_default();
        if jobs.is_empty() {
            self.users.push_back(user);
        }
        jobs.push_back(job);
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    /// The next batch: a job of each user in turn, and so on. Messages stand together, as one statement inserts them.
    pub fn take(&mut self) -> Vec<Job> {
        let (mut jobs, mut cost, mut bytes) = (Vec::new(), 0, 0);
        while cost < self.sizes.batch
            && let Some(user) = self.users.pop_front()
        {
            let Some(waiting) = self.waiting.get_mut(&user) else { continue };
            let size = waiting.front().map_or(0, Job::bytes);
            if !jobs.is_empty() && bytes + size > self.sizes.bytes {
                self.users.push_front(user);
                break;
            }
            jobs.extend(waiting.pop_front());
            if waiting.is_empty() {
                self.waiting.remove(&user);
            } else {
                self.users.push_back(user);
            }
            cost += jobs.last().map_or(0, Job::cost);
            bytes += size;
        }
        self.count.fetch_sub(jobs.len(), Ordering::Relaxed);
        if jobs.is_empty() {
            jobs = std::mem::take(&mut self.flushes);
        }
        jobs.sort_by_key(Job::rank);
        jobs
    }

    /// Puts back the marks of which only a piece is done: the rest waits for another turn. Returns what is done, with its outcome.
    pub fn put_back_unfinished(&mut self, jobs: Vec<Job>, outcomes: Vec<Outcome>) -> (Vec<Job>, Vec<Outcome>) {
        let mut done = (Vec::with_capacity(jobs.len()), Vec::with_capacity(jobs.len()));
        let mut untouched = Vec::new();
        for (job, outcome) in jobs.into_iter().zip(outcomes) {
            match (job, outcome) {
                (Job::Read(mut mark, told), Outcome::Read(piece @ MarkedPiece { is_last: false, .. })) => {
                    let is_touched = piece.marked.updated > 0;
                    mark.add(piece);
                    if is_touched {
                        self.put_back(Job::Read(mark, told), VecDeque::push_back);
                    } else {
                        untouched.push(Job::Read(mark, told));
                    }
                }
                (job, outcome) => {
                    done.0.push(job);
                    done.1.push(outcome);
                }
            }
        }
        // Those for whom nothing was left of this turn come first in the next.
        untouched.into_iter().rev().for_each(|job| self.put_back(job, VecDeque::push_front));
        done
    }

    /// A job is the next of its user again, whose turn comes as `turn` says.
    fn put_back(&mut self, job: Job, turn: fn(&mut VecDeque<UserId>, UserId)) {
        let user = job.user();
        self.users.retain(|waiting| *waiting != user);
        turn(&mut self.users, user);
        self.waiting.entry(user).or_default().push_front(job);
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    /// Everything that waits, out of the queue.
    pub fn drain(&mut self) -> Vec<Job> {
        let mut all: Vec<Job> = self.users.drain(..).filter_map(|user| self.waiting.remove(&user)).flatten().collect();
        self.count.store(0, Ordering::Relaxed);
        all.append(&mut self.flushes);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::jobs::{Done, Execute, Mark, Marked, NewMessage};
    use entity::{ConversationId, MessageId};

    const SIZES: Sizes = Sizes { queue: 100, per_user: 10, batch: 8, bytes: 4000 };

    fn message(user: i64, text: &str) -> Job {
        let new = NewMessage {
            conversation: ConversationId(1),
            sender: UserId(user),
            receiver: UserId(99),
            text: text.to_owned(),
            key: None,
            accepted: crate::clock::instant(),
        };
        Job::Message(new, Done::new(drop))
    }

    fn execute(user: i64) -> Job {
        Job::Execute(Execute { user: UserId(user), statements: Vec::new() }, Done::new(drop))
    }

    fn turns(jobs: impl IntoIterator<Item = Job>) -> Turns {
        let mut turns = Turns::new(SIZES, Arc::default());
        jobs.into_iter().for_each(|job| turns.push(job));
        turns
    }

    fn texts(jobs: &[Job]) -> Vec<&str> {
        jobs.iter().map(|job| if let Job::Message(new, _) = job { &*new.text } else { "-" }).collect()
    }

    #[test]
    fn users_take_turns_and_keep_their_own_order_and_messages_stand_together() {
        let burst = (0..10).map(|n| message(1, &format!("a{n}")));
        let mut turns = turns(burst.chain([message(2, "b0"), message(2, "b1"), message(3, "c0")]));
        assert_eq!(texts(&turns.take()), ["a0", "b0", "c0", "a1", "b1", "a2", "a3", "a4"]);
        turns.push(execute(4));
        turns.push(message(4, "d0"));
        assert_eq!(texts(&turns.take()), ["-", "a5", "a6", "d0", "a7"], "what has a statement of its own counts for more");
        assert_eq!(texts(&turns.take()), ["a8", "a9"]);
        assert!(turns.is_empty());
    }

    #[test]
    fn a_user_has_so_many_in_the_queue_and_a_batch_so_many_bytes() {
        let mut turns = turns((0..10).map(|_| message(1, &"x".repeat(2000))));
        assert!(matches!(turns.refusal(&message(1, "one more")), Some(Error::RateLimited { .. })));
        assert!(turns.refusal(&message(2, "of another")).is_none());
        turns.push(message(2, "of another"));
        assert_eq!(turns.take().len(), 2);
        assert!(matches!(turns.refusal(&message(3, &"x".repeat(4000))), Some(Error::MessageTooLong(1000))), "no batch can hold it");
        assert_eq!(turns.drain().len(), 9);
        assert!(turns.is_empty() && !turns.is_full());
    }

    #[test]
    fn the_rest_of_a_mark_waits_for_another_turn_and_is_told_whole() {
        let mark = |user| Job::Read(Mark::new(UserId(user), ConversationId(1), None), Done::new(drop));
        let mut turns = turns([mark(1), message(1, "after the mark"), mark(2), message(3, "c0")]);
        let piece = |ids: &[i64], is_last| {
            let marked =
                Marked { updated: ids.len() as u64, messages: ids.iter().copied().map(MessageId).collect(), read_at: crate::clock::now() };
            Outcome::Read(MarkedPiece { marked, before: ids.first().copied().map(MessageId), is_last })
        };
        let jobs = turns.take();
        let (done, _) = turns.put_back_unfinished(jobs, vec![piece(&[8, 9], false), piece(&[], false)]);
        assert!(done.is_empty());
        let mut next = turns.take();
        assert_eq!(next.iter().map(Job::user).collect::<Vec<_>>(), [2, 1, 3].map(UserId), "who had nothing comes before who had something");
        next.truncate(2);
        let (done, outcomes) = turns.put_back_unfinished(next, vec![piece(&[3], true), piece(&[6, 7], false)]);
        assert_eq!((done.len(), outcomes.len()), (1, 1));
        let rest = turns.take();
        let [Job::Read(mark, _), Job::Message(..)] = &*rest else { panic!("the rest waits, before what its user asked for later") };
        let marked = mark.marked.as_ref().expect("something is marked");
        assert_eq!((marked.updated, marked.messages.clone()), (4, [6, 7, 8, 9].map(MessageId).to_vec()));
        assert_eq!(mark.before, Some(MessageId(6)));
    }
}

//! How many bytes a socket is behind: given to it and not yet taken by its transport. The library bounds the packets that wait, not their bytes,
//! and does not tell of either; but the bytes pass through TCP connections and answers to polls, which are ours.

use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::adapter::QueueFull;
use crate::app::Link;
use crate::clock;

/// The bytes that all sockets are behind together, as of when each was last given something or looked at.
#[derive(Clone)]
pub struct Pool {
    most: u64,
    behind: Arc<AtomicU64>,
}

impl Pool {
    /// Nobody is behind.
    pub fn new(most: usize) -> Self {
        Self { most: most as u64, behind: Arc::default() }
    }

    fn is_full(&self) -> bool {
        self.behind.load(Ordering::Relaxed) >= self.most
    }

    fn change(&self, from: u64, to: u64) {
        if to >= from {
            self.behind.fetch_add(to - from, Ordering::Relaxed);
        } else {
            self.behind.fetch_sub(from - to, Ordering::Relaxed);
        }
    }
}

/// How far each socket may be behind when the pool is full: who reads what it gets does not notice.
const WHEN_FULL: u64 = 65_536;

/// What was given to a socket, and what its transport has taken.
pub struct Backlog {
    most: u64,
    pool: Pool,
    /// How much of the pool is its.
    counted: AtomicU64,
    given: AtomicU64,
    polled: AtomicU64,
    websocket: OnceLock<Link>,
    /// While something waits: how much had been taken when that was first noticed, and when.
    still: Mutex<Option<(u64, Instant)>>,
}

impl Backlog {
    /// Nothing was given yet. The socket may be `most` bytes behind, less when the pool is full.
    pub fn new(most: usize, websocket: Option<Link>, pool: Pool) -> Self {
        let websocket = websocket.map_or_else(OnceLock::new, OnceLock::from);
        Self {
            most: most as u64,
            pool,
            counted: AtomicU64::new(0),
            given: AtomicU64::new(0),
            polled: AtomicU64::new(0),
            websocket,
            still: Mutex::default(),
        }
    }

    /// Notes that a poll was answered with so many bytes.
    pub fn answer(&self, bytes: u64) {
        self.polled.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Notes that the session goes on by a websocket.
    pub fn upgrade(&self, websocket: Link) {
        self.websocket.set(websocket).ok();
    }

    /// How many bytes were given and not yet taken.
    pub fn behind(&self) -> u64 {
        self.given.load(Ordering::Relaxed).saturating_sub(self.taken())
    }

    /// For how long something waits and nothing was taken, as far as is known from asking this now and then.
    pub fn stands(&self) -> Duration {
        self.count();
        let mut still = self.still.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = self.taken();
        let began = still.filter(|(then, _)| *then == taken).map_or_else(clock::instant, |(_, since)| since);
        *still = (self.behind() > 0).then_some((taken, began));
        still.map_or(Duration::ZERO, |(_, since)| since.elapsed())
    }

    fn count(&self) {
        let behind = self.behind();
        self.pool.change(self.counted.swap(behind, Ordering::Relaxed), behind);
    }

    fn taken(&self) -> u64 {
        self.polled.load(Ordering::Relaxed) + self.websocket.get().map_or(0, Link::written)
    }

    /// Notes that so many bytes are to be given, unless the socket is too far behind; whoever is not behind is given anything.
    pub fn give(&self, bytes: usize) -> Result<(), QueueFull> {
        let taken = self.taken();
        // More is taken than was given: frames, pings and heads of answers go by the same way. So this catches up whenever nothing waits.
        let given = self.given.fetch_max(taken, Ordering::Relaxed).max(taken);
        let (behind, bytes) = (given - taken, bytes as u64);
        let most = if self.pool.is_full() { self.most.min(WHEN_FULL) } else { self.most };
        if behind > 0 && behind + bytes > most {
            return Err(QueueFull);
        }
        self.given.fetch_add(bytes, Ordering::Relaxed);
        self.count();
        Ok(())
    }

    /// Notes that what was to be given was not.
    pub fn take_back(&self, bytes: usize) {
        self.given.fetch_sub(bytes as u64, Ordering::Relaxed);
        self.count();
    }
}

impl Drop for Backlog {
    fn drop(&mut self) {
        self.pool.change(*self.counted.get_mut(), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_behind_gets_so_many_bytes_and_no_more_until_some_are_taken() {
        let backlog = Backlog::new(100, None, Pool::new(1_000_000));
        assert!(backlog.give(1000).is_ok(), "one that waits for nothing is given anything");
        assert!(backlog.give(1).is_err());
        backlog.answer(950);
        assert!(backlog.give(50).is_ok() && backlog.give(1).is_err());
        backlog.take_back(50);
        assert!(backlog.give(50).is_ok() && backlog.give(1).is_err());
        // What is taken beyond what was given counts for nothing later.
        backlog.answer(5000);
        assert!(backlog.give(60).is_ok() && backlog.give(40).is_ok() && backlog.give(1).is_err());
    }

    #[test]
    fn all_together_may_be_behind_so_many_bytes_and_who_reads_does_not_notice() {
        let pool = Pool::new(1_000_000);
        let deaf: Vec<Backlog> = (0..60).map(|_| Backlog::new(4_000_000, None, pool.clone())).collect();
        for _ in 0..100 {
            deaf.iter().for_each(|backlog| drop(backlog.give(40_000)));
        }
        let behind: u64 = deaf.iter().map(Backlog::behind).sum();
        assert!((1_000_000..1_000_000 + 60 * WHEN_FULL).contains(&behind), "{behind}");
        let other = Backlog::new(4_000_000, None, pool.clone());
        for _ in 0..100 {
            assert!(other.give(30_000).is_ok() && other.give(30_000).is_ok());
            other.answer(60_000);
        }
        other.stands();
        drop(deaf);
        assert_eq!(pool.behind.load(Ordering::Relaxed), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn it_stands_from_when_something_waits_until_anything_is_taken() {
        let (backlog, second) = (Backlog::new(100, None, Pool::new(1_000_000)), Duration::from_secs(1));
        let after = async |seconds: u32| {
            tokio::time::advance(second * seconds).await;
            backlog.stands()
        };
        assert_eq!(after(9).await, Duration::ZERO, "nothing waits");
        assert!(backlog.give(50).is_ok());
        assert_eq!([after(9).await, after(9).await], [Duration::ZERO, 9 * second]);
        assert!(backlog.give(50).is_ok());
        assert_eq!(after(1).await, 10 * second, "to be given more is not to take");
        backlog.answer(60);
        assert_eq!([after(1).await, after(1).await], [Duration::ZERO, second]);
        backlog.answer(60);
        assert_eq!(after(1).await, Duration::ZERO);
    }
}

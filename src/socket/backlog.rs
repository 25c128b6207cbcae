//! How many bytes a socket is behind: given to it and not yet taken by its transport. Each may be so far behind, and all together.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use engineioxide::Transport;

use super::adapter::QueueFull;

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
}

/// How far each socket may be behind when the pool is full: who reads what it gets does not notice.
const WHEN_FULL: u64 = 65_536;

/// How far a socket is behind.
pub struct Backlog {
    transport: Transport,
    share: Share,
}

impl Backlog {
    /// The socket may be `most` bytes behind, less when the pool is full.
    pub fn new(most: usize, transport: Transport, pool: Pool) -> Self {
        Self { transport, share: Share { most: most as u64, pool, counted: AtomicU64::new(0) } }
    }

    /// How many bytes were given and not yet taken.
    pub fn behind(&self) -> u64 {
        self.transport.bytes_waiting()
    }

    /// For how long something waits and nothing was taken.
    pub fn stands(&self) -> Duration {
        self.share.count(self.behind());
        self.transport.stalled_for()
    }

    /// Gives it so many bytes, unless it is too far behind; whoever is not behind is given anything.
    pub fn give(&self, bytes: usize, send: impl FnOnce() -> Result<(), QueueFull>) -> Result<(), QueueFull> {
        if !self.share.has_room(self.behind(), bytes as u64) {
            return Err(QueueFull);
        }
        send()?;
        self.share.count(self.behind());
        Ok(())
    }
}

/// A socket's part of the pool.
struct Share {
    most: u64,
    pool: Pool,
    /// How much of the pool is its.
    counted: AtomicU64,
}

impl Share {
    fn has_room(&self, behind: u64, bytes: u64) -> bool {
        let most = if self.pool.is_full() { self.most.min(WHEN_FULL) } else { self.most };
        behind == 0 || behind + bytes <= most
    }

    fn count(&self, behind: u64) {
        let before = self.counted.swap(behind, Ordering::Relaxed);
        if behind >= before {
            self.pool.behind.fetch_add(behind - before, Ordering::Relaxed);
        } else {
            self.pool.behind.fetch_sub(before - behind, Ordering::Relaxed);
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.count(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(most: u64, pool: &Pool) -> Share {
        Share { most, pool: pool.clone(), counted: AtomicU64::new(0) }
    }

    #[test]
    fn whoever_is_behind_gets_so_many_bytes_and_no_more_until_some_are_taken() {
        let share = share(100, &Pool::new(1_000_000));
        assert!(share.has_room(0, 1000), "one that waits for nothing is given anything");
        assert!(!share.has_room(1000, 1) && share.has_room(50, 50) && !share.has_room(50, 51));
    }

    #[test]
    fn all_together_may_be_behind_so_many_bytes_and_who_reads_does_not_notice() {
        let pool = Pool::new(1_000_000);
        let mut deaf: Vec<(Share, u64)> = (0..60).map(|_| (share(4_000_000, &pool), 0)).collect();
        for _ in 0..100 {
            for (share, behind) in deaf.iter_mut().filter(|(share, behind)| share.has_room(*behind, 40_000)) {
                *behind += 40_000;
                share.count(*behind);
            }
        }
        let behind: u64 = deaf.iter().map(|(_, behind)| behind).sum();
        assert!((1_000_000..1_000_000 + 60 * WHEN_FULL).contains(&behind), "{behind}");
        let other = share(4_000_000, &pool);
        assert!(other.has_room(0, 30_000) && other.has_room(30_000, 30_000));
        drop((deaf, other));
        assert_eq!(pool.behind.load(Ordering::Relaxed), 0);
    }
}

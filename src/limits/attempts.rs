//! Attempts by key, so many in a window of time, in bounded memory. An attempt that succeeds counts a tenth of one that fails, so that guessing is
//! slow and whoever knows the password is not locked out by using it.

use std::{
    convert::Infallible,
    hash::{BuildHasher, Hash, RandomState},
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use quick_cache::sync::Cache;
use tokio::time::Instant;

use crate::clock;

/// How many keys are remembered. Strangers name keys, and of more than these the least used are forgotten.
const REMEMBERED: usize = 100_000;
/// So many successes count as much as one failure.
const SUCCESSES: u64 = 10;

/// A leaky bucket for each key: the moment, in nanoseconds since `start`, at which it is empty again.
pub struct Attempts {
    buckets: Cache<u64, Arc<AtomicU64>>,
    hasher: RandomState,
    start: Instant,
    window: u64,
    /// The time in which one attempt leaks out.
    period: u64,
}

impl Attempts {
    /// Empty buckets for `count` attempts in `window`.
    pub fn new(count: NonZeroU32, window: Duration) -> Self {
        let window = nanoseconds(window).max(u64::from(count.get()));
        let period = window / u64::from(count.get());
        Self { buckets: Cache::new(REMEMBERED), hasher: RandomState::new(), start: clock::instant(), window, period }
    }

    /// What a key is known by here: nothing that a stranger named is kept.
    pub fn id(&self, key: impl Hash) -> u64 {
        self.hasher.hash_one(key)
    }

    /// Whether there is a bucket.
    pub fn knows(&self, id: u64) -> bool {
        self.buckets.contains_key(&id)
    }

    /// Makes a bucket if there is none.
    pub fn learn(&self, id: u64) -> Arc<AtomicU64> {
        let Ok(bucket) = self.buckets.get_or_insert_with(&id, || Ok::<_, Infallible>(Arc::default()));
        bucket
    }

    /// Counts an attempt as one that fails.
    ///
    /// # Errors
    /// After what time there is room for one.
    pub fn count(&self, id: u64) -> Result<(), Duration> {
        let now = nanoseconds(self.start.elapsed());
        let filled = |empty: u64| empty.max(now).saturating_add(self.period);
        let most = now.saturating_add(self.window);
        let counted = self.learn(id).fetch_update(Relaxed, Relaxed, |empty| Some(filled(empty)).filter(|empty| *empty <= most));
        counted.map(drop).map_err(|empty| Duration::from_nanos(filled(empty) - most))
    }

    /// An attempt that was counted has succeeded.
    pub fn succeed(&self, id: u64) {
        let surplus = self.period - self.period / SUCCESSES;
        self.learn(id).fetch_update(Relaxed, Relaxed, |empty| Some(empty.saturating_sub(surplus))).ok();
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempts(count: u32) -> Attempts {
        Attempts::new(NonZeroU32::new(count).expect("not zero"), Duration::from_secs(60))
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_fail_in_a_window_and_the_next_one_may_when_one_has_leaked_out() {
        let attempts = attempts(3);
        let (ann, bob) = (attempts.id("ann"), attempts.id("bob"));
        assert!((0..3).all(|_| attempts.count(ann).is_ok()));
        assert_eq!(attempts.count(ann), Err(Duration::from_secs(20)));
        assert!(attempts.count(bob).is_ok(), "another key");
        tokio::time::advance(Duration::from_secs(20)).await;
        assert!(attempts.count(ann).is_ok() && attempts.count(ann).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn ten_times_as_many_may_succeed() {
        let attempts = attempts(3);
        let ann = attempts.id("ann");
        let succeeded = (0..100).take_while(|_| attempts.count(ann).map(|()| attempts.succeed(ann)).is_ok()).count();
        assert!((20..=30).contains(&succeeded), "{succeeded}");
    }

    #[test]
    fn whatever_strangers_name_memory_is_bounded() {
        let attempts = attempts(3);
        let victim = attempts.id("victim");
        while attempts.count(victim).is_ok() {}
        for n in 0..3 * REMEMBERED {
            attempts.count(attempts.id(n)).ok();
        }
        assert!(attempts.buckets.len() <= REMEMBERED, "{}", attempts.buckets.len());
    }
}

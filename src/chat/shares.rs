//! Fair shares of reading. What a user reads at a time is bounded, in requests, in readings of the database and in bytes that wait to be taken;
//! what all read together leaves some of the database's connections free, for knowing who calls and what a socket may do. Whoever waits is
//! served in the order of coming, and since nobody has more than a few places in that order, nobody waits for one who asks for much.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use entity::UserId;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::Chat;
use crate::config;
use crate::error::{Error, Result};
use crate::metrics::Metrics;

/// What is shared.
pub(super) struct Shares {
    users: Mutex<HashMap<UserId, OfUser>>,
    /// Readings of the database at a time, of all users.
    lanes: Arc<Semaphore>,
    /// Of answers that are made or wait to be taken, in units.
    bytes: Arc<Semaphore>,
    requests: usize,
    reads: usize,
    /// What an answer may take while it is made: its rows, and its text.
    most: u32,
    patience: Duration,
    metrics: Arc<Metrics>,
}

#[derive(Clone)]
struct OfUser {
    requests: Arc<Semaphore>,
    turns: Arc<Semaphore>,
}

/// A request of a user that is at work, until this is dropped.
pub struct AtWork {
    _place: OwnedSemaphorePermit,
}

/// A reading of a user, and then the answer that is made of it, until this is dropped.
pub struct Share {
    bytes: OwnedSemaphorePermit,
    lane: Option<OwnedSemaphorePermit>,
    _turn: OwnedSemaphorePermit,
}

/// The bytes of a unit.
const UNIT: usize = 1024;
/// One connection of so many is left free by those who read much.
const RESERVED: usize = 4;
/// Who has too much at work tries again after this time.
const RETRY: Duration = Duration::from_secs(1);

fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX)
}

impl Shares {
    /// Nobody reads yet. The database has so many connections to read.
    pub(super) fn new(connections: usize, limits: &config::Limits, patience: Duration, metrics: Arc<Metrics>) -> Self {
        let lanes = connections - connections.div_ceil(RESERVED).min(connections - 1);
        Self {
            users: Mutex::default(),
            lanes: Arc::new(Semaphore::new(lanes)),
            bytes: Arc::new(Semaphore::new(units(limits.answers_bytes) as usize)),
            requests: limits.requests_per_user,
            reads: limits.reads_per_user,
            most: units(limits.answer_bytes.saturating_mul(2)),
            patience,
            metrics,
        }
    }

    fn of(&self, user: UserId) -> OfUser {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = || OfUser { requests: Arc::new(Semaphore::new(self.requests)), turns: Arc::new(Semaphore::new(self.reads)) };
        users.entry(user).or_insert_with(fresh).clone()
    }

    fn admit(&self, user: UserId) -> Result<AtWork> {
        let refused = |_| {
            self.metrics.rate_limited("requests");
            Error::RateLimited { retry_after: RETRY }
        };
        self.of(user).requests.try_acquire_owned().map(|place| AtWork { _place: place }).map_err(refused)
    }

    async fn take(&self, user: UserId) -> Result<Share> {
        let turn = self.of(user).turns.acquire_owned().await.map_err(Error::internal)?;
        let lane = self.lanes.clone().acquire_owned().await.map_err(Error::internal)?;
        let bytes = timeout(self.patience, self.bytes.clone().acquire_many_owned(self.most)).await;
        let bytes = bytes.map_err(|_| Error::Unavailable)?.map_err(Error::internal)?;
        Ok(Share { bytes, lane: Some(lane), _turn: turn })
    }

    /// Forgets who reads nothing. To be called now and then.
    pub(super) fn forget_idle(&self) {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        users.retain(|_, of| Arc::strong_count(&of.requests) > 1 || Arc::strong_count(&of.turns) > 1);
    }
}

impl Share {
    /// The answer is made, and this long: others may read.
    pub fn answer(&mut self, bytes: usize) {
        self.lane = None;
        let (all, used) = (self.bytes.num_permits(), units(bytes) as usize);
        drop(self.bytes.split(all.saturating_sub(used)));
    }
}

impl Chat {
    /// A request of a user begins. Refused: when too many are at work, whose answers were not taken yet.
    pub fn admit(&self, user: UserId) -> Result<AtWork> {
        self.shares.admit(user)
    }

    /// A user reads what may be much. Waits for the user's turn, and for that of all.
    pub async fn reading(&self, user: UserId) -> Result<Share> {
        self.shares.take(user).await
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn shares() -> Shares {
        let settings = config::Settings::load_with(None, |_| None).expect("the defaults are good");
        let limits =
            config::Limits { requests_per_user: 3, reads_per_user: 2, answer_bytes: 1 << 20, answers_bytes: 8 << 20, ..settings.limits };
        Shares::new(4, &limits, Duration::from_secs(4), Arc::new(Metrics::new(&[])))
    }

    #[tokio::test]
    async fn a_user_has_so_many_requests_and_readings_at_a_time_and_others_have_theirs() {
        let shares = shares();
        let mut work: Vec<AtWork> = (0..3).map(|_| shares.admit(UserId(1)).expect("there is room")).collect();
        assert!(matches!(shares.admit(UserId(1)), Err(Error::RateLimited { .. })));
        assert!(shares.admit(UserId(2)).is_ok(), "another user is not concerned");
        work.pop();
        assert!(shares.admit(UserId(1)).is_ok());

        let mut first = shares.take(UserId(1)).await.expect("reads");
        let second = shares.take(UserId(1)).await.expect("reads");
        assert!(shares.take(UserId(1)).now_or_never().is_none(), "two of the three lanes");
        let other = shares.take(UserId(2)).await.expect("reads");
        assert!(shares.take(UserId(3)).now_or_never().is_none(), "one connection is free, and not for this");
        first.answer(100);
        assert!(shares.take(UserId(3)).now_or_never().is_some(), "an answer that waits takes no lane");
        assert!(shares.take(UserId(1)).now_or_never().is_none(), "but a turn of its user");
        drop(first);
        drop((second, other));
        assert!(shares.take(UserId(1)).now_or_never().is_some());
        drop(work);
        shares.forget_idle();
        assert!(shares.users.lock().expect("no holder panics").is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn answers_that_nobody_takes_are_bounded_in_bytes_and_short_ones_take_few() {
        let shares = shares();
        let mut waiting = Vec::new();
        for user in 1..=6 {
            let mut share = shares.take(UserId(user)).await.expect("reads");
            share.answer(1 << 20);
            waiting.push(share);
        }
        let mut last = shares.take(UserId(7)).await.expect("2 MiB are left, for its rows and its text");
        assert!(matches!(shares.take(UserId(8)).await, Err(Error::Unavailable)), "nothing is left");
        last.answer(10);
        assert!(matches!(shares.take(UserId(8)).await, Err(Error::Unavailable)), "not enough is left");
        waiting.pop();
        assert!(shares.take(UserId(8)).await.is_ok());
    }
}

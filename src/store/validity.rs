//! Since when connections to a server may be used: after a failover, older ones may lead to a server that was the primary once.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::clock;

/// Connections are given up at most this often, for as long as no server can be written.
const PATIENCE_WITH_NEW: Duration = Duration::from_millis(500);

/// Since when connections may be used, of all pools to one server: one that is older may lead to a server that was the primary once.
#[derive(Clone)]
pub struct Validity(Arc<Mutex<Since>>);

struct Since {
    moment: Instant,
    /// Whether the last connection that was to write led to the wrong server.
    is_misplaced: bool,
}

impl Validity {
    /// Of connections from now on.
    pub fn from_now() -> Self {
        Self(Arc::new(Mutex::new(Since { moment: clock::instant(), is_misplaced: false })))
    }

    /// Whether a connection of this age may be used.
    pub fn admits(&self, age: Duration) -> bool {
        age <= self.since().moment.elapsed()
    }

    /// Gives up all connections that there are. False when that was done a moment ago.
    pub(super) fn renew(&self) -> bool {
        let mut since = self.since();
        since.is_misplaced = true;
        let is_due = since.moment.elapsed() > PATIENCE_WITH_NEW;
        if is_due {
            since.moment = clock::instant();
        }
        is_due
    }

    /// A server can be written again: those that read may still be connected to the one that could not.
    pub(super) fn settle(&self) {
        let mut since = self.since();
        if std::mem::take(&mut since.is_misplaced) {
            since.moment = clock::instant();
        }
    }

    fn since(&self) -> MutexGuard<'_, Since> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

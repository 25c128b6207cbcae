//! The one place that is asked for the time. Moments are UTC and end at the millisecond, so that what is announced equals what is stored.

use chrono::{DateTime, SubsecRound, Utc};

/// A moment in UTC.
pub type Timestamp = DateTime<Utc>;

/// The present moment, to the millisecond.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn now() -> Timestamp {
    Utc::now().trunc_subsecs(3)
}

/// The monotonic clock of the timers, for durations.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn instant() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

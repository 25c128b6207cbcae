//! The one place that asks for the time.

use tokio::time::Instant;

/// Now, by the runtime's clock, which tests may stop.
#[expect(clippy::disallowed_methods, reason = "this is the place")]
pub fn now() -> Instant {
    Instant::now()
}

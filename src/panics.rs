//! What becomes of a panic: it is counted, and the log says once where it happened, never its text, which may quote what somebody wrote.
//! Who is answered, and what goes on, is decided where panics are caught.

use std::{
    panic::{self, PanicHookInfo},
    sync::atomic::{AtomicU64, Ordering},
};

static COUNT: AtomicU64 = AtomicU64::new(0);

/// How many there were in this process.
pub fn count() -> u64 {
    COUNT.load(Ordering::Relaxed)
}

/// Takes the place of Rust's own report, which prints the text.
pub fn install() {
    panic::set_hook(Box::new(report));
}

fn report(panicked: &PanicHookInfo<'_>) {
    COUNT.fetch_add(1, Ordering::Relaxed);
    let at = panicked.location().map(ToString::to_string).unwrap_or_default();
    tracing::error!(%at, "panicked");
}

//! Faults that unit tests put in the way, to see what becomes of a panic. In every other build a place is nothing at all.

/// A place where a test may have a panic happen.
#[cfg(not(test))]
#[inline(always)]
pub fn strike(_place: &'static str) {}

#[cfg(test)]
pub use armed::{TEXT, arm, strike};

#[cfg(test)]
mod armed {
    use std::sync::{Mutex, PoisonError};

    static ARMED: Mutex<Option<&str>> = Mutex::new(None);
    /// What the panics say, and nobody may hear.
    pub const TEXT: &str = "the text of a panic may quote a secret";

    /// The next one who comes to this place panics.
    pub fn arm(place: &'static str) {
        *ARMED.lock().unwrap_or_else(PoisonError::into_inner) = Some(place);
    }

    #[track_caller]
    pub fn strike(place: &'static str) {
        if ARMED.lock().unwrap_or_else(PoisonError::into_inner).take_if(|armed| *armed == place).is_some() {
            panic!("{TEXT}");
        }
    }
}

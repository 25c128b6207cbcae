//! The names of the events that clients send, for those who count and log them.

/// The events that clients may send, and what all others count as.
pub const NAMES: [&str; 10] = [
    "user-online",
    "join-conversation",
    "leave-conversation",
    "send-message",
    "typing",
    "stop-typing",
    "mark-as-read",
    "join-support",
    "send-support-message",
    crate::metrics::OTHER,
];

/// The name of an event as one of [`NAMES`]: what a client made up is told to nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventName(usize);

impl EventName {
    /// That of an event as it came.
    pub fn of(name: &str) -> Self {
        Self(NAMES.iter().position(|known| *known == name).unwrap_or(NAMES.len() - 1))
    }

    /// Its place in [`NAMES`].
    pub fn number(self) -> usize {
        self.0
    }

    /// The name.
    pub fn as_str(self) -> &'static str {
        NAMES.get(self.0).copied().unwrap_or(crate::metrics::OTHER)
    }
}

impl Default for EventName {
    fn default() -> Self {
        Self(NAMES.len() - 1)
    }
}

//! Which messages were told lately, recognised by all that they are. An id alone does not do: when a backup of the database is restored, or a
//! replica that lags is promoted, ids are given out again.

use std::{
    collections::VecDeque,
    hash::{DefaultHasher, Hash, Hasher},
};

use crate::chat::Event;

/// The fingerprints of the newest messages that were told, oldest first.
#[derive(Default)]
pub struct Recent(VecDeque<u64>);

/// So many are remembered: more than are ever told from the tables while they are on their way to be told live.
const MOST: usize = 1000;

impl Recent {
    /// A message is told.
    pub fn note(&mut self, event: &Event) {
        if self.0.len() >= MOST {
            self.0.pop_front();
        }
        self.0.extend(fingerprint(event));
    }

    /// Whether this very message was told lately.
    pub fn contains(&self, event: &Event) -> bool {
        !self.0.is_empty() && fingerprint(event).is_some_and(|print| self.0.contains(&print))
    }
}

/// The same for the same message, read from the tables or told live on any node; another one for another message with the same id.
fn fingerprint(event: &Event) -> Option<u64> {
    let mut hash = DefaultHasher::new();
    match event {
        Event::Message { message: m, .. } => (0, m.id, m.conversation, m.sender, m.created_at, &m.text).hash(&mut hash),
        Event::SupportMessage { message: m, .. } => (1, m.id, m.ticket, m.sender, m.created_at, &m.text).hash(&mut hash),
        _ => return None,
    }
    Some(hash.finish())
}

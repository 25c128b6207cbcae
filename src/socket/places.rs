//! Counted places: how many sessions or sockets an address or a user has. A place is taken before anything else is done, so that those who come
//! at the same moment are counted, too, and is free again when it is dropped. Who is refused for it is decided by whoever takes one.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The places that are taken.
#[derive(Clone)]
pub struct Places<K: Copy + Eq + Hash>(Arc<Mutex<HashMap<K, usize>>>);

/// One of them.
pub struct Place<K: Copy + Eq + Hash> {
    places: Places<K>,
    key: K,
}

impl<K: Copy + Eq + Hash> Default for Places<K> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K: Copy + Eq + Hash> Places<K> {
    /// One more place, unless `most` are taken.
    pub fn take(&self, key: K, most: usize) -> Option<Place<K>> {
        let mut counts = self.counts();
        let count = counts.get(&key).copied().unwrap_or_default();
        if count >= most {
            return None;
        }
        counts.insert(key, count + 1);
        Some(Place { places: self.clone(), key })
    }

    /// How many are taken.
    pub fn count(&self, key: K) -> usize {
        self.counts().get(&key).copied().unwrap_or_default()
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<K, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Copy + Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        let mut counts = self.places.counts();
        if let Some(count) = counts.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.key);
            }
        }
    }
}

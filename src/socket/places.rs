//! How many sessions each client address has, polling ones and websockets, for as long as the library keeps them: a session is there before its
//! socket, and may be there after it. Who is refused for it is decided in the gate.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::limits::network_of;

/// The sessions of each address.
#[derive(Clone, Default)]
pub struct Places(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// The place of one session. It lies in the parts of its handshake, which live as long as the session does.
#[derive(Clone)]
pub struct Place(#[expect(dead_code, reason = "it is held, not read")] Arc<Held>);

struct Held {
    places: Places,
    network: IpAddr,
}

impl Places {
    /// A place for one more session of an address, unless it has `most`.
    pub fn take(&self, address: IpAddr, most: usize) -> Option<Place> {
        let network = network_of(address);
        let mut counts = self.counts();
        let count = counts.get(&network).copied().unwrap_or_default();
        if count >= most {
            return None;
        }
        counts.insert(network, count + 1);
        Some(Place(Arc::new(Held { places: self.clone(), network })))
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut counts = self.places.counts();
        if let Some(count) = counts.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.network);
            }
        }
    }
}

//! Who is online, and who is told of it: the contacts, that is those with whom one shares a conversation. One coming or going costs
//! O(contacts), never O(users).

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use entity::UserId;

use super::{Audience, Chat, Event, SocketId};
use crate::clock::{self, Timestamp};

/// The users who are online on this node.
#[derive(Default)]
pub(super) struct Presence(Mutex<HashMap<UserId, Online>>);

struct Online {
    name: Arc<str>,
    sockets: HashSet<SocketId>,
    contacts: BTreeSet<UserId>,
    /// Whether all contacts are known; else they are read as soon as the database answers.
    is_complete: bool,
    /// Counts the times that the last socket went, so that a grace period knows whether it is still the newest.
    departures: u64,
}

impl Presence {
    fn lock(&self) -> MutexGuard<'_, HashMap<UserId, Online>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn online_contacts(users: &HashMap<UserId, Online>, user: UserId) -> Vec<UserId> {
    users.get(&user).map_or_else(Vec::new, |u| u.contacts.iter().copied().filter(|c| users.contains_key(c)).collect())
}

impl Chat {
    /// How many users are online.
    pub fn count_online(&self) -> usize {
        self.presence.lock().len()
    }

    /// A socket of a user is there. Told: it, which contacts are online; they, when the user was offline before.
    pub async fn arrive(&self, user: UserId, name: &Arc<str>, socket: SocketId) {
        let came_online = {
            let mut users = self.presence.lock();
            let known = users.contains_key(&user);
            let fresh =
                || Online { name: name.clone(), sockets: HashSet::new(), contacts: BTreeSet::new(), is_complete: false, departures: 0 };
            users.entry(user).or_insert_with(fresh).sockets.insert(socket);
            !known
        };
        // The entry exists before the contacts are read: a conversation that is opened meanwhile adds to it.
        self.read_contacts(user).await;
        self.tell_online_contacts(user, socket);
        if came_online {
            self.tell_contacts(user, name, None);
        }
    }

    /// Reads the contacts of a user who is online. False when they cannot be read now: then those count whose contact the user is.
    async fn read_contacts(&self, user: UserId) -> bool {
        let read = self.store.contacts(user).await;
        let is_complete = read.is_ok();
        let mut users = self.presence.lock();
        let known = || users.iter().filter(|(_, other)| other.contacts.contains(&user)).map(|(id, _)| *id).collect();
        let contacts = read.unwrap_or_else(|_| known());
        if let Some(entry) = users.get_mut(&user) {
            entry.contacts.extend(contacts);
            entry.is_complete = is_complete;
        }
        is_complete
    }

    /// Reads the contacts that could not be read when their users came, and tells both sides what they have not heard.
    pub(super) async fn learn_contacts(&self) {
        let pending = |(user, entry): (&UserId, &Online)| (!entry.is_complete).then(|| (*user, entry.name.clone()));
        let unknown: Vec<_> = self.presence.lock().iter().filter_map(pending).collect();
        for (user, name) in unknown {
            if !self.read_contacts(user).await {
                return;
            }
            let online = online_contacts(&self.presence.lock(), user);
            self.outbox.tell(Audience::Users(vec![user]), Event::OnlineUsers(online));
            self.tell_contacts(user, &name, None);
        }
    }

    /// Tells a socket which contacts of its user are online.
    pub fn tell_online_contacts(&self, user: UserId, socket: SocketId) {
        let online = online_contacts(&self.presence.lock(), user);
        self.outbox.tell(Audience::Socket(socket), Event::OnlineUsers(online));
    }

    /// A socket of a user is gone. When it was the last one, and none comes within the grace time, the contacts are told.
    pub fn depart(self: &Arc<Self>, user: UserId, socket: SocketId) {
        self.stop_typing_of(socket);
        let departure = {
            let mut users = self.presence.lock();
            let Some(entry) = users.get_mut(&user) else { return };
            if !entry.sockets.remove(&socket) || !entry.sockets.is_empty() {
                return;
            }
            entry.departures += 1;
            entry.departures
        };
        let (chat, last_seen) = (Arc::clone(self), clock::now());
        tokio::spawn(async move {
            tokio::time::sleep(chat.settings.presence.grace).await;
            chat.go_offline(user, departure, last_seen);
        });
    }

    fn go_offline(&self, user: UserId, departure: u64, last_seen: Timestamp) {
        let (entry, others) = {
            let mut users = self.presence.lock();
            if !users.get(&user).is_some_and(|u| u.sockets.is_empty() && u.departures == departure) {
                return;
            }
            let others = online_contacts(&users, user);
            let Some(entry) = users.remove(&user) else { return };
            (entry, others)
        };
        self.tell_of(user, entry.name, Some(last_seen), others);
    }

    fn tell_contacts(&self, user: UserId, name: &Arc<str>, last_seen: Option<Timestamp>) {
        let others = online_contacts(&self.presence.lock(), user);
        self.tell_of(user, name.clone(), last_seen, others);
    }

    fn tell_of(&self, user: UserId, name: Arc<str>, last_seen: Option<Timestamp>, others: Vec<UserId>) {
        if others.is_empty() {
            return;
        }
        for other in &others {
            let online = online_contacts(&self.presence.lock(), *other);
            self.outbox.tell(Audience::Users(vec![*other]), Event::OnlineUsers(online));
        }
        self.outbox.tell(Audience::Users(others), Event::Presence { user, name, last_seen });
    }

    /// Two users share a conversation from now on: each who is online hears whether the other is.
    pub(super) fn become_contacts(&self, a: (UserId, &Arc<str>), b: (UserId, &Arc<str>)) {
        let both_online = {
            let mut users = self.presence.lock();
            for (one, other) in [(a.0, b.0), (b.0, a.0)] {
                if let Some(entry) = users.get_mut(&one) {
                    entry.contacts.insert(other);
                }
            }
            users.contains_key(&a.0) && users.contains_key(&b.0)
        };
        if both_online {
            self.tell_of(a.0, a.1.clone(), None, vec![b.0]);
            self.tell_of(b.0, b.1.clone(), None, vec![a.0]);
        }
    }
}

//! Who is online, and who is told of it: the contacts, that is those with whom one shares a conversation. One coming or going costs
//! O(contacts), never O(users). Each node tells its own sockets; what it knows of the others is in `nodes`.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use entity::UserId;
use tokio::time::Instant;

use super::{Audience, Chat, Event, Fact, NodeId, SocketId};
use crate::clock::{self, Timestamp};

/// The users who are online.
#[derive(Default)]
pub(super) struct Presence(Mutex<Users>);

#[derive(Default)]
pub(super) struct Users {
    pub(super) here: HashMap<UserId, Online>,
    pub(super) elsewhere: HashMap<UserId, Elsewhere>,
    /// Who is in whose contacts, as it was known a moment ago: for those who come while the contacts cannot be read.
    contact_of: Option<(Instant, HashMap<UserId, Vec<UserId>>)>,
    /// Whose list has changed since it was told.
    changed: HashSet<(UserId, SocketId)>,
}

/// A list is told at most this often; it is as long as there are contacts who are online.
const LIST_INTERVAL: Duration = Duration::from_secs(1);
/// How often it is looked which lists are to be told.
const LOOK: Duration = Duration::from_millis(100);
/// How long it is taken to be known who is in whose contacts: to find out is to go through all of them.
const KNOWN_FOR: Duration = Duration::from_secs(1);

/// A user with sockets on this node.
pub(super) struct Online {
    pub(super) name: Arc<str>,
    /// And when each was told the list of those who are online.
    sockets: HashMap<SocketId, Option<Instant>>,
    pub(super) contacts: BTreeSet<UserId>,
    /// Whether the contacts could not be read; then they are as soon as the database answers.
    is_unread: bool,
    /// Counts the times that the last socket went, so that a grace period knows whether it is still the newest.
    departures: u64,
}

/// A user with sockets on other nodes.
pub(super) struct Elsewhere {
    pub(super) name: Arc<str>,
    pub(super) nodes: Vec<NodeId>,
}

/// Who came or went, under which name, and when somebody who went was last seen.
pub(super) type Change = (UserId, Arc<str>, Option<Timestamp>);

impl Presence {
    pub(super) fn lock(&self) -> MutexGuard<'_, Users> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Users {
    pub(super) fn is_online(&self, user: UserId) -> bool {
        self.here.contains_key(&user) || self.elsewhere.contains_key(&user)
    }

    /// The contacts of a user of this node who are online.
    fn online_contacts(&self, user: UserId) -> Vec<UserId> {
        self.here.get(&user).map_or_else(Vec::new, |u| u.contacts.iter().copied().filter(|c| self.is_online(*c)).collect())
    }

    /// Those who are here and whose contact a user is.
    fn contact_of(&mut self, user: UserId) -> Vec<UserId> {
        if self.contact_of.as_ref().is_none_or(|(at, _)| at.elapsed() >= KNOWN_FOR) {
            let mut all: HashMap<UserId, Vec<UserId>> = HashMap::new();
            for (id, entry) in &self.here {
                entry.contacts.iter().for_each(|contact| all.entry(*contact).or_default().push(*id));
            }
            self.contact_of = Some((clock::instant(), all));
        }
        self.contact_of.as_ref().and_then(|(_, all)| all.get(&user).cloned()).unwrap_or_default()
    }

    /// The list for a socket, which is told it now; nothing when the socket is gone.
    fn list_for(&mut self, user: UserId, socket: SocketId) -> Option<Vec<UserId>> {
        *self.here.get_mut(&user)?.sockets.get_mut(&socket)? = Some(clock::instant());
        Some(self.online_contacts(user))
    }

    /// The lists that are to be told by now.
    fn due_lists(&mut self) -> Vec<(SocketId, Vec<UserId>)> {
        if self.changed.is_empty() {
            return Vec::new();
        }
        let here = &self.here;
        let is_due = |(user, socket): &(UserId, SocketId)| {
            let told = here.get(user).and_then(|entry| entry.sockets.get(socket)).copied().flatten();
            told.is_none_or(|told| told.elapsed() >= LIST_INTERVAL)
        };
        let due: Vec<(UserId, SocketId)> = self.changed.extract_if(is_due).collect();
        due.into_iter().filter_map(|(user, socket)| Some((socket, self.list_for(user, socket)?))).collect()
    }
}

impl Chat {
    /// How many users are online on this node.
    pub fn count_online(&self) -> usize {
        self.presence.lock().here.len()
    }

    /// A socket of a user is there. Told: it, which contacts are online; they, when the user was offline before.
    pub async fn arrive(&self, user: UserId, name: &Arc<str>, socket: SocketId) {
        let (is_first, was_online) = {
            let mut users = self.presence.lock();
            let known = (!users.here.contains_key(&user), users.is_online(user));
            let fresh =
                || Online { name: name.clone(), sockets: HashMap::new(), contacts: BTreeSet::new(), is_unread: false, departures: 0 };
            users.here.entry(user).or_insert_with(fresh).sockets.insert(socket, None);
            known
        };
        // The entry exists before the contacts are read: a conversation that is opened meanwhile adds to it.
        self.read_contacts(user).await;
        if is_first {
            let users = self.presence.lock();
            if let Some(entry) = users.here.get(&user) {
                let contacts = entry.contacts.iter().copied().collect();
                self.outbox.share(Fact::Online { user, name: name.clone(), contacts });
            }
        }
        self.tell_online_contacts(user, socket);
        if !was_online {
            self.tell_contacts(user, name);
        }
    }

    /// Reads the contacts of a user who is online. False when they cannot be read now: then those count whose contact the user is.
    async fn read_contacts(&self, user: UserId) -> bool {
        let before = self.presence.lock().here.get(&user).map(|entry| entry.contacts.clone()).unwrap_or_default();
        let read = self.store.contacts(user).await;
        let is_complete = read.is_ok();
        let mut users = self.presence.lock();
        if is_complete {
            users.contact_of = None;
        }
        let contacts = read.unwrap_or_else(|_| users.contact_of(user));
        if let Some(entry) = users.here.get_mut(&user) {
            // Who became a contact meanwhile stays one; with whom nothing is shared any more does not.
            entry.contacts.retain(|contact| !is_complete || !before.contains(contact));
            entry.contacts.extend(contacts);
            entry.is_unread = !is_complete;
        }
        is_complete
    }

    /// Reads the contacts that could not be read when their users came, and tells both sides what they have not heard.
    pub(super) async fn learn_contacts(&self) {
        let pending = |(user, entry): (&UserId, &Online)| entry.is_unread.then(|| (*user, entry.name.clone()));
        let unknown: Vec<_> = self.presence.lock().here.iter().filter_map(pending).collect();
        for (user, name) in unknown {
            if !self.read_contacts(user).await {
                return;
            }
            self.change_list(user);
            self.tell_contacts(user, &name);
        }
    }

    /// Tells a socket which contacts of its user are online.
    pub fn tell_online_contacts(&self, user: UserId, socket: SocketId) {
        let list = {
            let mut users = self.presence.lock();
            users.changed.remove(&(user, socket));
            users.list_for(user, socket)
        };
        if let Some(list) = list {
            self.outbox.tell_here(Audience::Socket(socket), Event::OnlineUsers(list));
        }
    }

    /// The list of a user has changed: the sockets are told, at once or when that is due.
    fn change_list(&self, user: UserId) {
        {
            let mut users = self.presence.lock();
            let Some(entry) = users.here.get(&user) else { return };
            let sockets: Vec<_> = entry.sockets.keys().map(|socket| (user, *socket)).collect();
            users.changed.extend(sockets);
        }
        self.tell_due_lists();
    }

    fn tell_due_lists(&self) {
        let due = self.presence.lock().due_lists();
        for (socket, list) in due {
            self.outbox.tell_here(Audience::Socket(socket), Event::OnlineUsers(list));
        }
    }

    /// Tells the lists that had to wait, each as it is then.
    pub async fn tell_lists(self: Arc<Self>) {
        let mut tick = tokio::time::interval(LOOK);
        loop {
            tick.tick().await;
            self.tell_due_lists();
        }
    }

    /// A socket of a user is gone. When it was the last one, and none comes within the grace time, the contacts are told.
    pub fn depart(self: &Arc<Self>, user: UserId, socket: SocketId) {
        self.stop_typing_of(socket);
        let departure = {
            let mut users = self.presence.lock();
            let Some(entry) = users.here.get_mut(&user) else { return };
            if entry.sockets.remove(&socket).is_none() || !entry.sockets.is_empty() {
                return;
            }
            entry.departures += 1;
            entry.departures
        };
        let (chat, last_seen) = (Arc::clone(self), clock::now());
        tokio::spawn(async move {
            tokio::time::sleep(chat.settings.presence.grace).await;
            let Some(known) = chat.presence.lock().here.get(&user).map(|entry| entry.name.clone()) else { return };
            let name = chat.name_of_today(user, known).await;
            chat.go_offline(user, name, departure, last_seen);
        });
    }

    fn go_offline(&self, user: UserId, name: Arc<str>, departure: u64, last_seen: Timestamp) {
        let (entry, is_online) = {
            let mut users = self.presence.lock();
            if !users.here.get(&user).is_some_and(|u| u.sockets.is_empty() && u.departures == departure) {
                return;
            }
            let Some(entry) = users.here.remove(&user) else { return };
            let contacts = entry.contacts.iter().copied().collect();
            self.outbox.share(Fact::Offline { user, name: name.clone(), last_seen, contacts });
            (entry, users.is_online(user))
        };
        if !is_online {
            self.tell_change(&(user, name, Some(last_seen)), entry.contacts);
        }
    }

    /// A user is online: tells the contacts here.
    fn tell_contacts(&self, user: UserId, name: &Arc<str>) {
        let contacts = self.presence.lock().here.get(&user).map(|entry| entry.contacts.clone()).unwrap_or_default();
        self.tell_change(&(user, name.clone(), None), contacts);
    }

    /// Somebody came or went: tells those of `contacts` who are here.
    pub(super) fn tell_change(&self, change: &Change, contacts: impl IntoIterator<Item = UserId>) {
        for other in contacts {
            self.tell_changes(other, std::iter::once(change));
        }
    }

    /// Tells a user who is here which contacts came and went, and who is online now.
    pub(super) fn tell_changes<'a>(&self, user: UserId, changes: impl Iterator<Item = &'a Change>) {
        if !self.presence.lock().here.contains_key(&user) {
            return;
        }
        self.change_list(user);
        for (contact, name, last_seen) in changes {
            let event = Event::Presence { user: *contact, name: name.clone(), last_seen: *last_seen };
            self.outbox.tell_here(Audience::Users(vec![user]), event);
        }
    }

    /// Two users share a conversation from now on: each who is online hears whether the other is.
    pub(super) fn become_contacts(&self, pair: [(UserId, Arc<str>); 2]) {
        self.outbox.share(Fact::Contacts(pair.clone()));
        self.note_contacts(pair);
    }

    /// The same for those who are here.
    pub(super) fn note_contacts(&self, [a, b]: [(UserId, Arc<str>); 2]) {
        let both_online = {
            let mut users = self.presence.lock();
            for (one, other) in [(a.0, b.0), (b.0, a.0)] {
                if let Some(entry) = users.here.get_mut(&one) {
                    entry.contacts.insert(other);
                }
            }
            users.is_online(a.0) && users.is_online(b.0)
        };
        if both_online {
            self.tell_change(&(a.0, a.1, None), [b.0]);
            self.tell_change(&(b.0, b.1, None), [a.0]);
        }
    }
}

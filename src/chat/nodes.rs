//! What the other nodes of a server let this one know: who is online there, who became contacts, who left with a node that is gone; and what
//! this one tells a node that has just come. How it is carried, and when a node is gone, is not decided here.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use entity::UserId;

use super::presence::{Change, Elsewhere};
use super::{Chat, Fact, NodeId};
use crate::clock;

impl Chat {
    /// Another node says who is online there, or became contacts. Told: the contacts who are here.
    pub fn learn(&self, node: NodeId, fact: Fact) {
        match fact {
            Fact::Online { user, name, contacts } => {
                if self.note_elsewhere(node, user, &name) {
                    self.tell_change(&(user, name, None), contacts);
                }
            }
            Fact::Offline { user, name, last_seen, contacts } => {
                if self.note_gone(node, user) {
                    self.tell_change(&(user, name, Some(last_seen)), contacts);
                }
            }
            Fact::Roster(users) => self.learn_roster(node, users.into_iter().collect()),
            Fact::Contacts(pair) => self.note_contacts(pair),
            Fact::Gone(user) => drop(self.learn_user_gone(user)),
            Fact::Seen { .. } | Fact::Resumed { .. } | Fact::Expelled(_) => {}
        }
    }

    /// A user is online on a node. True when the user was offline before.
    fn note_elsewhere(&self, node: NodeId, user: UserId, name: &Arc<str>) -> bool {
        let mut users = self.presence.lock();
        let was_online = users.is_online(user);
        let entry = users.elsewhere.entry(user).or_insert_with(|| Elsewhere { name: name.clone(), nodes: Vec::new() });
        if !entry.nodes.contains(&node) {
            entry.nodes.push(node);
        }
        !was_online
    }

    /// A user is no longer online on a node. True when the user is offline now.
    fn note_gone(&self, node: NodeId, user: UserId) -> bool {
        let mut users = self.presence.lock();
        let Some(entry) = users.elsewhere.get_mut(&user) else { return false };
        let before = entry.nodes.len();
        entry.nodes.retain(|n| *n != node);
        let left = entry.nodes.len() < before;
        if entry.nodes.is_empty() {
            users.elsewhere.remove(&user);
        }
        left && !users.is_online(user)
    }

    /// All who are online on a node: what was missed of it before shows as the difference.
    fn learn_roster(&self, node: NodeId, roster: HashMap<UserId, Arc<str>>) {
        let gone: Vec<Change> = self.users_on(node).into_iter().filter(|(user, ..)| !roster.contains_key(user)).collect();
        let mut changes: Vec<Change> = gone.into_iter().filter(|(user, ..)| self.note_gone(node, *user)).collect();
        for (user, name) in roster {
            if self.note_elsewhere(node, user, &name) {
                changes.push((user, name, None));
            }
        }
        self.tell_all(changes);
    }

    /// A node is gone, and with it after a grace time those who are online nowhere else.
    pub fn forget_node(self: &Arc<Self>, node: NodeId, is_stopping: bool) {
        let chat = Arc::clone(self);
        // Those whom it sent away come back to another node; whom it took along has been missed for longer than any grace.
        let grace = if is_stopping { self.settings.presence.grace } else { Duration::ZERO };
        tokio::spawn(async move {
            tokio::time::sleep(grace).await;
            chat.learn_roster(node, HashMap::new());
        });
    }

    /// The users who are online on a node, as changes that take them away.
    fn users_on(&self, node: NodeId) -> Vec<Change> {
        let (now, users) = (clock::now(), self.presence.lock());
        let there = users.elsewhere.iter().filter(|(_, entry)| entry.nodes.contains(&node));
        there.map(|(user, entry)| (*user, entry.name.clone(), Some(now))).collect()
    }

    /// Tells everybody here of those contacts who are among many that came and went.
    fn tell_all(&self, changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        let changes: HashMap<UserId, Change> = changes.into_iter().map(|change| (change.0, change)).collect();
        let mut concerned: BTreeMap<UserId, Vec<UserId>> = BTreeMap::new();
        for (user, entry) in &self.presence.lock().here {
            let contacts: Vec<UserId> = entry.contacts.iter().filter(|c| changes.contains_key(c)).copied().collect();
            if !contacts.is_empty() {
                concerned.insert(*user, contacts);
            }
        }
        for (user, contacts) in concerned {
            self.tell_changes(user, contacts.iter().filter_map(|c| changes.get(c)));
        }
    }

    /// Lets the other nodes know all that they need to know of this one.
    pub fn introduce(&self) {
        {
            let users = self.presence.lock();
            let roster = users.here.iter().map(|(user, entry)| (*user, entry.name.clone())).collect();
            self.outbox.share(Fact::Roster(roster));
        }
        self.share_seen(false);
    }
}

//! Where the sockets of this node are found: by number, by user, by room. Who is told what is not decided here.

use std::{collections::HashMap, sync::Arc};

use entity::UserId;

use super::conn::Conn;
use super::order::SharedOrder;
use super::recovery::Following;
use crate::chat::{Audience, Room, SocketId};
use crate::limits::network_of;

/// The indexes.
#[derive(Default)]
pub(super) struct Registry {
    pub sockets: HashMap<SocketId, Arc<Conn>>,
    pub users: HashMap<UserId, Vec<Arc<Conn>>>,
    pub rooms: HashMap<Room, Vec<Arc<Conn>>>,
    /// Of the rooms that are followed here.
    pub orders: HashMap<Room, SharedOrder>,
    admins: Vec<Arc<Conn>>,
}

/// True when nobody is left under the key.
fn remove<K: std::hash::Hash + Eq>(index: &mut HashMap<K, Vec<Arc<Conn>>>, key: &K, socket: SocketId) -> bool {
    let Some(conns) = index.get_mut(key) else { return false };
    conns.retain(|c| c.id != socket);
    if conns.is_empty() {
        index.remove(key);
        return true;
    }
    false
}

impl Registry {
    fn enter(&mut self, following: Following, conn: &Arc<Conn>) {
        self.rooms.entry(following.room).or_default().push(conn.clone());
        self.orders.entry(following.room).or_default();
    }

    fn leave(&mut self, room: Room, socket: SocketId) {
        if remove(&mut self.rooms, &room, socket) {
            self.orders.remove(&room);
        }
    }

    /// Registers a connected socket. False when it is gone already.
    pub fn add(&mut self, conn: &Arc<Conn>) -> bool {
        if conn.is_gone() {
            return false;
        }
        self.sockets.insert(conn.id, conn.clone());
        if let Some(actor) = &conn.actor {
            self.users.entry(actor.id).or_default().push(conn.clone());
            if actor.is_admin {
                self.admins.push(conn.clone());
            }
        }
        true
    }

    /// A guest counts as a user from now on, and as nobody else. Nothing when it does so already or is gone; else who counts no more: itself as
    /// another, and the oldest guest of the user from the same address, when there were `most`.
    pub fn add_guest(&mut self, conn: &Arc<Conn>, user: UserId, most: usize) -> Option<Vec<(UserId, Arc<Conn>)>> {
        let before = conn.state().guest_of;
        if conn.is_gone() || before == Some(user) {
            return None;
        }
        let is_beside = |c: &&Arc<Conn>| c.actor.is_none() && network_of(c.visitor.address) == network_of(conn.visitor.address);
        let beside: Vec<_> = self.users.get(&user).into_iter().flatten().filter(is_beside).cloned().collect();
        let oldest = beside.iter().min_by_key(|c| c.id).filter(|_| beside.len() >= most);
        let over = oldest.map(|oldest| (user, oldest.clone())).into_iter().chain(before.map(|before| (before, conn.clone())));
        let over: Vec<_> = over.filter(|(user, conn)| self.remove_guest(conn, *user)).collect();
        conn.state().guest_of = Some(user);
        self.users.entry(user).or_default().push(conn.clone());
        Some(over)
    }

    /// A guest counts as a user no more. False when it did not.
    pub fn remove_guest(&mut self, conn: &Conn, user: UserId) -> bool {
        let counted = conn.state().guest_of.take_if(|counted| *counted == user).is_some();
        if counted {
            remove(&mut self.users, &user, conn.id);
        }
        counted
    }

    /// Forgets a socket. True when it was known.
    pub fn remove(&mut self, conn: &Conn) -> bool {
        let rooms: Vec<Room> = conn.state().following.drain(..).map(|f| f.room).collect();
        let was_known = self.sockets.remove(&conn.id).is_some();
        if let Some(user) = conn.user() {
            remove(&mut self.users, &user, conn.id);
        }
        self.admins.retain(|c| c.id != conn.id);
        for room in rooms {
            self.leave(room, conn.id);
        }
        was_known
    }

    /// The socket follows these rooms from now on, too. Returns those that are new to it.
    pub fn follow(&mut self, conn: &Arc<Conn>, rooms: &[Following]) -> Vec<Room> {
        let mut entered = Vec::new();
        if conn.is_gone() {
            return entered;
        }
        let mut state = conn.state();
        for new in rooms {
            if !state.following.iter().any(|f| f.room == new.room) {
                state.following.push(*new);
                self.enter(*new, conn);
                entered.push(new.room);
            }
        }
        entered
    }

    /// The socket follows no other rooms of the kind of these. True when it did.
    pub fn leave_others(&mut self, conn: &Arc<Conn>, rooms: &[Room]) -> bool {
        let Some(first) = rooms.first() else { return false };
        let goes = |f: &mut Following| std::mem::discriminant(&f.room) == std::mem::discriminant(first) && !rooms.contains(&f.room);
        let left: Vec<Following> = conn.state().following.extract_if(.., goes).collect();
        left.iter().for_each(|f| self.leave(f.room, conn.id));
        !left.is_empty()
    }

    /// The socket follows these rooms no more.
    pub fn unfollow(&mut self, conn: &Arc<Conn>, rooms: &[Room]) -> bool {
        let mut changed = false;
        for left in conn.state().following.extract_if(.., |f| rooms.contains(&f.room)) {
            self.leave(left.room, conn.id);
            changed = true;
        }
        changed
    }

    /// The sockets of an audience.
    pub fn audience(&self, audience: &Audience) -> Vec<Arc<Conn>> {
        let of_user = |user: &UserId| self.users.get(user).into_iter().flatten();
        let in_room = |room: &Room| self.rooms.get(room).into_iter().flatten();
        match audience {
            Audience::Socket(socket) => self.sockets.get(socket).into_iter().cloned().collect(),
            Audience::RoomAnd(room, also) => {
                let also = also.and_then(|socket| self.sockets.get(&socket)).filter(|conn| !conn.follows(*room));
                in_room(room).chain(also).cloned().collect()
            }
            Audience::RoomWithout(room, user) => in_room(room).filter(|conn| conn.user() != Some(*user)).cloned().collect(),
            Audience::Users(users) => users.iter().flat_map(of_user).cloned().collect(),
            Audience::UserOutside(user, _) => of_user(user).cloned().collect(),
            Audience::Admins => self.admins.clone(),
            Audience::OwnerAndAdmins(owner) => {
                let mut all: Vec<Arc<Conn>> = of_user(owner).chain(&self.admins).cloned().collect();
                all.sort_unstable_by_key(|conn| conn.id);
                all.dedup_by_key(|conn| conn.id);
                all
            }
        }
    }
}

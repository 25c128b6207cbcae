//! All connected sockets of this node: who stands in which room, and who is turned out. What they are told stands in `delivery.rs`.

use std::{
    net::IpAddr,
    sync::{
        Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use entity::UserId;
use tokio::{sync::mpsc, time::Instant};

use super::Io;
use super::adapter::Line;
use super::backlog::Pool;
use super::conn::Conn;
use super::gate::Gate;
use super::order::SharedOrder;
use super::places::Places;
use super::recovery::Following;
use super::registry::Registry;
use super::tally::Lines;
use crate::chat::{Barred, Room, SocketId};
use crate::config::Settings;
use crate::wire::outbound;

/// The sockets of this node.
pub struct Hub {
    pub(super) settings: Settings,
    pub(super) line: Line,
    pub(super) gate: Arc<Gate>,
    pub(super) io: OnceLock<Io>,
    registry: RwLock<Registry>,
    /// The sockets of each user and of each client address, from when they are admitted.
    pub(super) users: Places<UserId>,
    pub(super) addresses: Places<IpAddr>,
    /// What each address may leave in the log.
    pub(super) lines: Lines,
    /// What waits to be sent to all of them.
    pub(super) pool: Pool,
    next_id: AtomicU64,
    /// Rooms of which something was missed.
    pub(super) behind: mpsc::UnboundedSender<Room>,
    pub(super) myself: std::sync::Weak<Hub>,
}

impl Hub {
    /// A hub without sockets, and the rooms that are to catch up.
    pub fn new(settings: &Settings, gate: Arc<Gate>) -> (Arc<Self>, mpsc::UnboundedReceiver<Room>) {
        let (behind, late) = mpsc::unbounded_channel();
        let hub = Arc::new_cyclic(|myself| Self {
            settings: settings.clone(),
            line: Line::default(),
            gate,
            io: OnceLock::new(),
            registry: RwLock::default(),
            users: Places::default(),
            addresses: Places::default(),
            lines: Lines::default(),
            pool: Pool::new(settings.limits.outbound_total),
            next_id: AtomicU64::new(1),
            behind,
            myself: myself.clone(),
        });
        (hub, late)
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, Registry> {
        self.registry.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Registry> {
        self.registry.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number for a new socket.
    pub(super) fn next_id(&self) -> SocketId {
        SocketId(self.next_id.fetch_add(1, Ordering::Relaxed))
    }

    /// Registers a connected socket. False when it is gone already. Refused: one whose user is barred, which is asked under the lock, so that whoever
    /// bars a user finds each socket either registered or not yet.
    pub(super) fn add(&self, conn: &Arc<Conn>, barred: impl FnOnce(UserId) -> Option<Barred>) -> Result<bool, Barred> {
        let mut registry = self.write();
        match conn.actor.as_ref().and_then(|actor| barred(actor.id)) {
            Some(barred) => Err(barred),
            None => Ok(registry.add(conn)),
        }
    }

    /// A guest counts as a user from now on, if under the lock it still `may`. Returns who counts no more for it.
    pub(super) fn add_guest(&self, conn: &Arc<Conn>, user: UserId, may: impl FnOnce() -> bool) -> Option<Vec<(UserId, Arc<Conn>)>> {
        let mut registry = self.write();
        if may() { registry.add_guest(conn, user, self.settings.limits.guests_per_user) } else { None }
    }

    /// A guest counts as a user no more, if that `is_over`. False when it did not.
    pub(super) fn remove_guest(&self, conn: &Conn, user: UserId, is_over: impl FnOnce() -> bool) -> bool {
        let mut registry = self.write();
        is_over() && registry.remove_guest(conn, user)
    }

    /// Forgets a socket. True when it was known.
    pub(super) fn remove(&self, conn: &Conn) -> bool {
        self.write().remove(conn)
    }

    /// The socket follows these rooms from now on, too. Returns those that are new to it.
    pub(super) fn follow(&self, conn: &Arc<Conn>, rooms: &[Following]) -> Vec<Room> {
        self.write().follow(conn, rooms)
    }

    /// The socket follows no other rooms of the kind of these. True when it did.
    pub(super) fn leave_others(&self, conn: &Arc<Conn>, rooms: &[Room]) -> bool {
        self.write().leave_others(conn, rooms)
    }

    /// The socket follows these rooms no more.
    pub(super) fn unfollow(&self, conn: &Arc<Conn>, rooms: &[Room]) -> bool {
        self.write().unfollow(conn, rooms)
    }

    /// The socket with this number.
    pub(super) fn find(&self, socket: SocketId) -> Option<Arc<Conn>> {
        self.read().sockets.get(&socket).cloned()
    }

    /// The sockets of a user, guests included.
    pub(super) fn sockets_of(&self, user: UserId) -> Vec<Arc<Conn>> {
        self.read().users.get(&user).cloned().unwrap_or_default()
    }

    /// How many sockets there are.
    pub fn count(&self) -> usize {
        self.read().sockets.len()
    }

    /// All sockets.
    pub fn all(&self) -> Vec<Arc<Conn>> {
        self.read().sockets.values().cloned().collect()
    }

    /// Cuts off a socket whose client does not read what is sent to it.
    pub(super) fn cut(&self, conn: &Arc<Conn>) {
        self.cut_for(conn, "queue_full");
    }

    /// Closes the transport of a socket, not its namespace: a client does not come back after the latter.
    pub(super) fn cut_for(&self, conn: &Arc<Conn>, reason: &'static str) {
        conn.tally.end(reason);
        conn.transport.cut();
    }

    /// Disconnects all sockets of a user for good.
    pub fn expel_user(&self, user: UserId) {
        self.sockets_of(user).iter().for_each(|conn| self.expel(conn, "user_gone"));
    }

    /// Disconnects all sockets of barred users, guests included.
    pub fn turn_out(&self, barred: impl Fn(UserId, Instant) -> Option<Barred>) {
        let out: Vec<(Arc<Conn>, Barred)> = {
            let registry = self.read();
            let all = registry.users.iter().flat_map(|(user, conns)| conns.iter().map(|conn| (*user, conn)));
            all.filter_map(|(user, conn)| Some((conn.clone(), barred(user, conn.since)?))).collect()
        };
        out.iter().for_each(|(conn, barred)| self.turn_out_one(conn, *barred));
    }

    /// Tells a socket why its user may have none, and disconnects it for good.
    pub(super) fn turn_out_one(&self, conn: &Arc<Conn>, barred: Barred) {
        conn.send(&outbound::failure(&barred.error(), &Default::default())).ok();
        self.expel(conn, if barred == Barred::Banned { "banned" } else { "user_gone" });
    }

    /// The users who have sockets here.
    pub fn users(&self) -> Vec<UserId> {
        self.read().users.keys().copied().collect()
    }

    /// Cuts off the sockets that a client has left behind, when it came back by the private id of its session.
    pub fn supersede(&self, user: UserId, pid: &str, by: Option<SocketId>) {
        for old in self.sockets_of(user) {
            if Some(old.id) != by && old.state().pid.as_deref() == Some(pid) {
                // The session is the new socket's now.
                old.state().is_unsaved = false;
                self.cut_for(&old, "superseded");
            }
        }
    }

    /// Disconnects a socket's namespace: its client shall not come back by itself.
    pub(super) fn expel(&self, conn: &Arc<Conn>, reason: &'static str) {
        conn.tally.end(reason);
        let socket = self.io.get().and_then(|io| io.get_socket(conn.sid));
        // With a full queue there is no room for the word that disconnects it.
        if socket.is_some_and(|socket| socket.disconnect().is_err()) {
            self.cut_for(conn, reason);
        }
    }

    /// The followers of a room, and its order; nothing when nobody follows it here.
    pub(super) fn room(&self, room: Room) -> Option<(Vec<Arc<Conn>>, SharedOrder)> {
        let registry = self.read();
        Some((registry.rooms.get(&room)?.clone(), registry.orders.get(&room)?.clone()))
    }

    /// The orders of all rooms that are followed here.
    pub(super) fn orders(&self) -> Vec<(Room, SharedOrder)> {
        self.read().orders.iter().map(|(room, order)| (*room, order.clone())).collect()
    }
}

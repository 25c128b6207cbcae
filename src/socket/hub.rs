//! All connected sockets of this node: by number, by user, by room. The hub is the chat's outbox: it finds the sockets of an audience,
//! encodes each event once, and cuts off a socket whose queue is full, so that it comes back and recovers.

use std::{
    collections::HashMap,
    sync::{
        Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use entity::UserId;
use socketioxide_core::Sid;
use tokio::sync::mpsc;

use super::Io;
use super::adapter::{Line, QueueFull};
use super::conn::{Conn, State};
use super::gate::Gate;
use super::recovery::{Following, message_of};
use crate::chat::{Audience, Event, Outbox, Room, SocketId};
use crate::config::Settings;
use crate::wire::outbound::{self, Frame};

/// The sockets of this node.
pub struct Hub {
    pub(super) settings: Settings,
    pub(super) line: Line,
    pub(super) gate: Arc<Gate>,
    pub(super) io: OnceLock<Io>,
    registry: RwLock<Registry>,
    next_id: AtomicU64,
    /// Sockets that were cut off, to be signed off in the chat.
    cut: mpsc::UnboundedSender<Arc<Conn>>,
    myself: std::sync::Weak<Hub>,
}

#[derive(Default)]
struct Registry {
    sockets: HashMap<SocketId, Arc<Conn>>,
    users: HashMap<UserId, Vec<Arc<Conn>>>,
    rooms: HashMap<Room, Vec<Arc<Conn>>>,
    admins: Vec<Arc<Conn>>,
}

fn remove<K: std::hash::Hash + Eq>(index: &mut HashMap<K, Vec<Arc<Conn>>>, key: &K, socket: SocketId) {
    if let Some(conns) = index.get_mut(key) {
        conns.retain(|c| c.id != socket);
        if conns.is_empty() {
            index.remove(key);
        }
    }
}

impl Hub {
    /// A hub without sockets, and the sockets that it will cut off.
    pub fn new(settings: &Settings, gate: Arc<Gate>) -> (Arc<Self>, mpsc::UnboundedReceiver<Arc<Conn>>) {
        let (cut, doomed) = mpsc::unbounded_channel();
        let hub = Arc::new_cyclic(|myself| Self {
            settings: settings.clone(),
            line: Line::default(),
            gate,
            io: OnceLock::new(),
            registry: RwLock::default(),
            next_id: AtomicU64::new(1),
            cut,
            myself: myself.clone(),
        });
        (hub, doomed)
    }

    fn read(&self) -> RwLockReadGuard<'_, Registry> {
        self.registry.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Registry> {
        self.registry.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number for a new socket.
    pub(super) fn next_id(&self) -> SocketId {
        SocketId(self.next_id.fetch_add(1, Ordering::Relaxed))
    }

    /// Registers a connected socket. False when it is gone already.
    pub(super) fn add(&self, conn: &Arc<Conn>) -> bool {
        let mut registry = self.write();
        if conn.is_gone() {
            return false;
        }
        registry.sockets.insert(conn.id, conn.clone());
        if let Some(actor) = &conn.actor {
            registry.users.entry(actor.id).or_default().push(conn.clone());
            if actor.is_admin {
                registry.admins.push(conn.clone());
            }
        }
        true
    }

    /// A guest counts as a user from now on.
    pub(super) fn add_guest(&self, conn: &Arc<Conn>, user: UserId) -> bool {
        let mut registry = self.write();
        if conn.is_gone() || conn.state().guest_of.replace(user).is_some() {
            return false;
        }
        registry.users.entry(user).or_default().push(conn.clone());
        true
    }

    /// Forgets a socket.
    pub(super) fn remove(&self, conn: &Conn) {
        let mut registry = self.write();
        let rooms: Vec<Room> = conn.state().following.drain(..).map(|f| f.room).collect();
        registry.sockets.remove(&conn.id);
        if let Some(user) = conn.user() {
            remove(&mut registry.users, &user, conn.id);
        }
        registry.admins.retain(|c| c.id != conn.id);
        for room in rooms {
            remove(&mut registry.rooms, &room, conn.id);
        }
    }

    /// The socket follows these rooms from now on; with `instead` no others of the same kind. True when that changed something.
    pub(super) fn follow(&self, conn: &Arc<Conn>, rooms: &[Following], instead: bool) -> bool {
        let mut registry = self.write();
        if conn.is_gone() {
            return false;
        }
        let mut state = conn.state();
        let mut changed = false;
        if let Some(first) = rooms.first().filter(|_| instead) {
            let same_kind = |room: &Room| std::mem::discriminant(room) == std::mem::discriminant(&first.room);
            let stays = |f: &mut Following| !same_kind(&f.room) || rooms.iter().any(|r| r.room == f.room);
            for left in state.following.extract_if(.., |f| !stays(f)) {
                remove(&mut registry.rooms, &left.room, conn.id);
                changed = true;
            }
        }
        for new in rooms {
            if !state.following.iter().any(|f| f.room == new.room) {
                state.following.push(*new);
                registry.rooms.entry(new.room).or_default().push(conn.clone());
                changed = true;
            }
        }
        changed
    }

    /// The socket follows these rooms no more.
    pub(super) fn unfollow(&self, conn: &Arc<Conn>, rooms: &[Room]) -> bool {
        let mut registry = self.write();
        let mut changed = false;
        for left in conn.state().following.extract_if(.., |f| rooms.contains(&f.room)) {
            remove(&mut registry.rooms, &left.room, conn.id);
            changed = true;
        }
        changed
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
    pub(super) fn all(&self) -> Vec<Arc<Conn>> {
        self.read().sockets.values().cloned().collect()
    }

    /// Closes the transport of a socket, not its namespace: a client does not come back after the latter.
    pub(super) fn cut(&self, conn: &Arc<Conn>) {
        self.gate.cut(conn.sid, conn.link.as_ref(), self.is_websocket(conn.sid));
        self.cut.send(conn.clone()).ok();
    }

    fn is_websocket(&self, sid: Sid) -> bool {
        let socket = self.io.get().and_then(|io| io.get_socket(sid));
        socket.is_none_or(|s| s.transport_type() == socketioxide::TransportType::Websocket)
    }

    /// Disconnects a socket's namespace: its client shall not come back by itself.
    pub(super) fn expel(&self, conn: &Conn) {
        if let Some(socket) = self.io.get().and_then(|io| io.get_socket(conn.sid)) {
            socket.disconnect().ok();
        }
    }

    fn audience(&self, audience: &Audience) -> Vec<Arc<Conn>> {
        let registry = self.read();
        let of_user = |user: &UserId| registry.users.get(user).into_iter().flatten();
        let in_room = |room: &Room| registry.rooms.get(room).into_iter().flatten();
        match audience {
            Audience::Socket(socket) => registry.sockets.get(socket).into_iter().cloned().collect(),
            Audience::RoomAnd(room, also) => {
                let also = also.and_then(|socket| registry.sockets.get(&socket)).filter(|conn| !conn.follows(*room));
                in_room(room).chain(also).cloned().collect()
            }
            Audience::RoomWithout(room, user) => in_room(room).filter(|conn| conn.user() != Some(*user)).cloned().collect(),
            Audience::Users(users) => users.iter().flat_map(of_user).cloned().collect(),
            Audience::UserOutside(user, _) => of_user(user).cloned().collect(),
            Audience::Admins => registry.admins.clone(),
            Audience::Ticket { ticket, owner } => {
                let mut all: Vec<Arc<Conn>> =
                    in_room(&Room::Ticket(*ticket)).chain(of_user(owner)).chain(&registry.admins).cloned().collect();
                all.sort_unstable_by_key(|conn| conn.id);
                all.dedup_by_key(|conn| conn.id);
                all
            }
        }
    }

    /// Sends an event that is no nudge. A socket may leave the room while its audience is told: what it still follows is decided under its
    /// lock, so that nothing of a room is heard after the answer to a join that left it.
    fn tell_one(&self, conn: &Arc<Conn>, audience: &Audience, event: &Event, frames: &[Frame]) {
        let mut state = conn.state();
        let follows = |room: &Room| state.following.iter().any(|f| f.room == *room);
        let still = match audience {
            Audience::RoomAnd(room, also) => *also == Some(conn.id) || follows(room),
            Audience::RoomWithout(room, _) => follows(room),
            _ => true,
        };
        if !still {
            return;
        }
        let is_message = message_of(event).is_some();
        // An answer to one socket is told in any case, news only to those who were not told it as missed.
        if !matches!(audience, Audience::Socket(_)) && state.has_heard(event) {
            return;
        }
        let sent = match &mut state.held {
            Some(held) if is_message && held.len() < self.settings.limits.outbound_queue => {
                held.push(event.clone());
                Ok(())
            }
            Some(_) if is_message => Err(QueueFull),
            _ if is_message => frames.iter().try_for_each(|frame| conn.send_message(&mut state, frame, event)),
            _ => conn.send(frames),
        };
        drop(state);
        if sent.is_err() {
            self.cut(conn);
        }
    }

    /// Lets go what was held, without what the socket was told as missed.
    pub(super) fn release(&self, conn: &Arc<Conn>) {
        let mut state = conn.state();
        for event in state.held.take().unwrap_or_default() {
            if state.has_heard(&event) {
                continue;
            }
            if self.send_now(conn, &mut state, &event).is_err() {
                drop(state);
                return self.cut(conn);
            }
        }
    }

    /// Sends a message event to a socket whose state is in hand.
    pub(super) fn send_now(&self, conn: &Conn, state: &mut State, event: &Event) -> Result<(), QueueFull> {
        outbound::frames(event).iter().try_for_each(|frame| conn.send_message(state, frame, event))
    }
}

impl Outbox for Hub {
    fn tell(&self, audience: Audience, event: Event) {
        let conns = self.audience(&audience);
        if conns.is_empty() {
            return;
        }
        match event {
            Event::ConversationUpdated { .. } | Event::MessagesRead { .. } => {
                let outside = if let Audience::UserOutside(_, room) = audience { Some(room) } else { None };
                if let Some(hub) = self.myself.upgrade() {
                    conns.iter().for_each(|conn| hub.nudge(conn, &event, outside));
                }
            }
            _ => {
                let frames = outbound::frames(&event);
                for conn in conns.iter().filter(|conn| conn.actor.is_some()) {
                    self.tell_one(conn, &audience, &event, &frames);
                }
            }
        }
    }
}

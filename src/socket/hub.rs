//! All connected sockets of this node: by number, by user, by room. The hub is the chat's outbox: it finds the sockets of an audience,
//! encodes each event once, and cuts off a socket whose queue is full, so that it comes back and recovers.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
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
use super::order::{Order, SharedOrder};
use super::recovery::{Following, message_of};
use crate::chat::{Audience, BANNED, Event, Fact, Outbox, Room, SocketId};
use crate::config::Settings;
use crate::limits::network_of;
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
    /// Rooms of which something was missed.
    pub(super) behind: mpsc::UnboundedSender<Room>,
    myself: std::sync::Weak<Hub>,
}

#[derive(Default)]
struct Registry {
    sockets: HashMap<SocketId, Arc<Conn>>,
    users: HashMap<UserId, Vec<Arc<Conn>>>,
    rooms: HashMap<Room, Vec<Arc<Conn>>>,
    /// Of the rooms that are followed here.
    orders: HashMap<Room, SharedOrder>,
    /// How many sockets there are of each client address.
    addresses: HashMap<IpAddr, usize>,
    admins: Vec<Arc<Conn>>,
}

/// What the hub finds that others must do: sockets to be signed off, rooms to catch up.
pub struct Chores {
    pub cut: mpsc::UnboundedReceiver<Arc<Conn>>,
    pub behind: mpsc::UnboundedReceiver<Room>,
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
        self.orders.entry(following.room).or_insert_with(|| Arc::new(Mutex::new(Order::since(following.reached()))));
    }

    fn leave_address(&mut self, address: IpAddr) {
        if let Some(count) = self.addresses.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.addresses.remove(&address);
            }
        }
    }

    fn leave(&mut self, room: Room, socket: SocketId) {
        if remove(&mut self.rooms, &room, socket) {
            self.orders.remove(&room);
        }
    }
}

impl Hub {
    /// A hub without sockets, and what it will find to be done.
    pub fn new(settings: &Settings, gate: Arc<Gate>) -> (Arc<Self>, Chores) {
        let (cut, doomed) = mpsc::unbounded_channel();
        let (behind, late) = mpsc::unbounded_channel();
        let hub = Arc::new_cyclic(|myself| Self {
            settings: settings.clone(),
            line: Line::default(),
            gate,
            io: OnceLock::new(),
            registry: RwLock::default(),
            next_id: AtomicU64::new(1),
            cut,
            behind,
            myself: myself.clone(),
        });
        (hub, Chores { cut: doomed, behind: late })
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
        *registry.addresses.entry(network_of(conn.visitor.address)).or_default() += 1;
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

    /// Forgets a socket. True when it was known.
    pub(super) fn remove(&self, conn: &Conn) -> bool {
        let mut registry = self.write();
        let rooms: Vec<Room> = conn.state().following.drain(..).map(|f| f.room).collect();
        let was_known = registry.sockets.remove(&conn.id).is_some();
        if was_known {
            registry.leave_address(network_of(conn.visitor.address));
        }
        if let Some(user) = conn.user() {
            remove(&mut registry.users, &user, conn.id);
        }
        registry.admins.retain(|c| c.id != conn.id);
        for room in rooms {
            registry.leave(room, conn.id);
        }
        was_known
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
                registry.leave(left.room, conn.id);
                changed = true;
            }
        }
        for new in rooms {
            if !state.following.iter().any(|f| f.room == new.room) {
                state.following.push(*new);
                registry.enter(*new, conn);
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
            registry.leave(left.room, conn.id);
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

    /// How many sockets a client address has.
    pub(super) fn count_from(&self, address: IpAddr) -> usize {
        self.read().addresses.get(&network_of(address)).copied().unwrap_or_default()
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
        self.gate.cut(conn.sid, conn.link.as_ref(), self.is_websocket(conn.sid));
        self.cut.send(conn.clone()).ok();
    }

    /// Whether a socket is connected by a websocket now, and not by polling.
    pub fn is_websocket(&self, sid: Sid) -> bool {
        let socket = self.io.get().and_then(|io| io.get_socket(sid));
        socket.is_none_or(|s| s.transport_type() == socketioxide::TransportType::Websocket)
    }

    /// Disconnects all sockets of a user for good.
    pub fn expel_user(&self, user: UserId) {
        self.sockets_of(user).iter().for_each(|conn| self.expel(conn, "user_gone"));
    }

    /// Tells all sockets of a user that it is banned, and disconnects them for good.
    pub fn turn_out(&self, user: UserId) {
        for conn in self.sockets_of(user) {
            conn.send(&outbound::failure(&BANNED, &Default::default())).ok();
            self.expel(&conn, "banned");
        }
    }

    /// Cuts off the sockets that a client has left behind, when it came back by the private id of its session.
    pub fn supersede(&self, user: UserId, pid: &str, by: Option<SocketId>) {
        for old in self.sockets_of(user) {
            if Some(old.id) != by && old.state().pid.as_deref() == Some(pid) {
                self.cut_for(&old, "superseded");
            }
        }
    }

    /// Disconnects a socket's namespace: its client shall not come back by itself.
    pub(super) fn expel(&self, conn: &Conn, reason: &'static str) {
        conn.tally.end(reason);
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

    /// The followers of a room, and its order; nothing when nobody follows it here.
    pub(super) fn room(&self, room: Room) -> Option<(Vec<Arc<Conn>>, SharedOrder)> {
        let registry = self.read();
        Some((registry.rooms.get(&room)?.clone(), registry.orders.get(&room)?.clone()))
    }

    /// The orders of all rooms that are followed here.
    pub(super) fn orders(&self) -> Vec<(Room, SharedOrder)> {
        self.read().orders.iter().map(|(room, order)| (*room, order.clone())).collect()
    }

    /// Tells a message to these followers of a room and to the socket that sent it.
    pub(super) fn tell_room(&self, room: Room, conns: &[Arc<Conn>], from: Option<SocketId>, event: &Event) {
        let frames = outbound::frames(event);
        let sender = from.and_then(|socket| self.find(socket)).filter(|conn| !conn.follows(room));
        for conn in conns.iter().chain(&sender) {
            self.tell_one(conn, &Audience::RoomAnd(room, from), event, &frames);
        }
    }

    /// Tells a message to the socket that sent it, when that does not follow its room.
    pub(super) fn tell_sender(&self, room: Room, from: Option<SocketId>, event: &Event) {
        self.tell_room(room, &[], from, event);
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
        let (limits, bytes) = (&self.settings.limits, frames.iter().map(Frame::bytes).sum::<usize>());
        let State { held, held_bytes, .. } = &mut *state;
        let sent = match held {
            Some(held) if is_message && held.len() < limits.outbound_queue && *held_bytes + bytes <= limits.outbound_bytes => {
                held.push(event.clone());
                *held_bytes += bytes;
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
        state.held_bytes = 0;
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

/// The id of a message, and of the one before it, where other nodes store messages too.
pub(super) fn turn_of(event: &Event) -> Option<(i64, i64)> {
    match event {
        Event::Message { message, after, .. } => Some((message.id.0, (*after)?)),
        Event::SupportMessage { message, after, .. } => Some((message.id.0, (*after)?)),
        _ => None,
    }
}

/// A node that is alone.
impl Outbox for Hub {
    fn tell(&self, audience: Audience, event: Event) {
        self.tell_here(audience, event);
    }

    fn share(&self, _: Fact) {}

    fn tell_here(&self, audience: Audience, event: Event) {
        if let (Audience::RoomAnd(room, from), Some((id, after))) = (&audience, turn_of(&event)) {
            return self.tell_in_turn(*room, *from, id, after, &event);
        }
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

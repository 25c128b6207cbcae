//! One connected socket: who it is, its events in their order, and what it follows. The library runs the handlers of a socket side by side;
//! here they queue, and one task at a time takes them out. An idle socket has no task.

use std::{
    collections::VecDeque,
    net::IpAddr,
    panic::AssertUnwindSafe,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use engineioxide::{Transport, TransportType};
use entity::UserId;
use futures_util::FutureExt;
use socketioxide_core::{Sid, Str};
use tokio::{sync::Notify, time::Instant};

use super::Context;
use super::adapter::{Line, QueueFull};
use super::backlog::Backlog;
use super::nudges::Nudges;
use super::places::Place;
use super::recent::Recent;
use super::recovery::{self, Following, message_of};
use super::tally::Tally;
use crate::auth::Actor;
use crate::chat::{Event, Room, SocketId, Visitor};
use crate::wire::{inbound, outbound::Frame};

/// The transport's side of a socket.
pub struct Handshaken {
    /// Its number in the library.
    pub sid: Sid,
    /// By what it is connected.
    pub transport: Transport,
    /// How far it is behind.
    pub backlog: Backlog,
    /// When it was asked who it is.
    pub since: Instant,
}

/// A socket and all that is known of it.
pub struct Conn {
    /// Its number on this node.
    pub id: SocketId,
    /// Its number in the library.
    pub sid: Sid,
    /// Who it is; none for a guest.
    pub actor: Option<Actor>,
    /// When it was asked who it is.
    pub since: Instant,
    /// Where it comes from.
    pub visitor: Visitor,
    /// Whether it understands connection state recovery.
    pub recovers: bool,
    /// By what it is connected.
    pub transport: Transport,
    /// What is counted of it.
    pub tally: Tally,
    /// How far it is behind.
    pub backlog: Backlog,
    /// Wakes the nudges that wait for a draft to be sent.
    pub(super) draft_ended: Notify,
    line: Line,
    inbox: Mutex<Inbox>,
    state: Mutex<State>,
    gone: AtomicBool,
}

/// What changes in the life of a socket.
#[derive(Default)]
pub struct State {
    /// What it follows, and how far it has heard there.
    pub following: Vec<Following>,
    /// As whom a guest counts.
    pub guest_of: Option<UserId>,
    /// Whether a guest may have missed a nudge, because it counted before and does not now.
    pub missed_nudge: bool,
    /// Its places among the sockets of its address and of its user, until it leaves.
    pub places: Option<(Place<IpAddr>, Option<Place<UserId>>)>,
    /// The private id of its session.
    pub pid: Option<String>,
    /// Whether its session was saved.
    pub is_saved: bool,
    /// Whether its session is still to be saved: it was a moment ago, or could not be.
    pub is_unsaved: bool,
    /// From when on its session may be saved as often as in the beginning.
    pub saves_until: Option<Instant>,
    /// Until it was told what it missed: the messages that came meanwhile.
    pub held: Option<Vec<Event>>,
    /// How many bytes those will be.
    pub held_bytes: usize,
    /// What it was told as missed, and may yet come live.
    pub replayed: Recent,
    /// Held back and coalesced nudges.
    pub nudges: Nudges,
}

impl State {
    /// The socket is told a message: that is how far it has heard in the room. An id below the one before is no mistake: the tables may have
    /// been put back.
    pub fn reach(&mut self, event: &Event) {
        if let Some((room, id)) = message_of(event)
            && let Some(following) = self.following.iter_mut().find(|f| f.room == room)
        {
            following.heard = id;
        }
    }
}

/// An event as it came in.
pub struct Incoming {
    /// The JSON array of the name and the arguments.
    pub packet: Str,
    /// The number of the ack that is asked for.
    pub ack: Option<i64>,
}

#[derive(Default)]
struct Inbox {
    waiting: VecDeque<Incoming>,
    bytes: usize,
    open: bool,
    running: bool,
}

impl Conn {
    /// A socket whose events wait until it is [opened](Self::open).
    pub fn new(id: SocketId, socket: Handshaken, actor: Option<Actor>, visitor: Visitor, recovers: bool, line: Line) -> Self {
        let (tally, inbox, state, draft_ended) = Default::default();
        let Handshaken { sid, transport, backlog, since } = socket;
        let gone = AtomicBool::new(false);
        Self { id, sid, actor, since, visitor, recovers, transport, tally, backlog, draft_ended, line, inbox, state, gone }
    }

    /// As whom the socket counts: its user, or the one a guest was corroborated to be.
    pub fn user(&self) -> Option<UserId> {
        self.actor.as_ref().map(|actor| actor.id).or_else(|| self.state().guest_of)
    }

    /// A user's socket, or a guest's.
    pub fn kind(&self) -> &'static str {
        if self.actor.is_some() { "user" } else { "guest" }
    }

    /// How it is connected now.
    pub fn transport_name(&self) -> &'static str {
        match self.transport.kind() {
            TransportType::Websocket => "websocket",
            TransportType::Polling => "polling",
        }
    }

    /// What changes.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the socket follows a room.
    pub fn follows(&self, room: Room) -> bool {
        self.state().following.iter().any(|f| f.room == room)
    }

    /// Sends frames in their order.
    pub fn send(&self, frames: &[Frame]) -> Result<(), QueueFull> {
        frames.iter().try_for_each(|frame| self.event(frame.packet(None)))
    }

    /// Sends a message event, with its offset to those who recover.
    pub fn send_message(&self, state: &State, frame: &Frame) -> Result<(), QueueFull> {
        let offset = self.recovers.then(|| recovery::offset(&state.following));
        self.event(frame.packet(offset.as_deref()))
    }

    /// Answers an ack.
    pub fn ack(&self, array: String, ack: i64) -> Result<(), QueueFull> {
        self.give(array, |array| self.line.ack(self.sid, array, ack))
    }

    fn event(&self, array: String) -> Result<(), QueueFull> {
        self.give(array, |array| self.line.event(self.sid, array))
    }

    fn give(&self, array: String, send: impl FnOnce(String) -> Result<(), QueueFull>) -> Result<(), QueueFull> {
        self.tally.tell(1);
        self.backlog.give(array.len(), || send(array))
    }

    /// The private id of its session, if that was saved.
    pub fn saved_pid(&self) -> Option<String> {
        let state = self.state();
        state.pid.clone().filter(|_| state.is_saved)
    }

    /// Notes that the socket is gone. True for the first who notes it.
    pub fn leave(&self) -> bool {
        !self.gone.swap(true, Ordering::AcqRel)
    }

    /// Whether the socket is gone.
    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// Queues an event, or gives it back when too many wait.
    pub fn push(self: &Arc<Self>, context: &Context, event: Incoming) -> Result<(), Incoming> {
        self.tally.hear();
        let mut inbox = self.inbox();
        let (limits, bytes) = (&context.settings.limits, inbox.bytes.saturating_add(event.packet.len()));
        // A page that was offline says at once all that was typed meanwhile: what was sent shall find room.
        if inbox.waiting.len() >= limits.inbound_queue / 2 && event.ack.is_none() && inbound::is_typing(&event.packet) {
            context.metrics.rate_limited("inbound_queue");
            return Ok(());
        }
        if inbox.waiting.len() >= limits.inbound_queue || bytes > limits.inbound_bytes {
            return Err(event);
        }
        inbox.bytes = bytes;
        inbox.waiting.push_back(event);
        self.run(context, &mut inbox);
        Ok(())
    }

    /// The socket is connected: its events may run.
    pub fn open(self: &Arc<Self>, context: &Context) {
        let mut inbox = self.inbox();
        inbox.open = true;
        self.run(context, &mut inbox);
    }

    /// How many of its events wait.
    pub fn waiting(&self) -> usize {
        self.inbox().waiting.len()
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(self: &Arc<Self>, context: &Context, inbox: &mut Inbox) {
        if !inbox.open || inbox.running || inbox.waiting.is_empty() {
            return;
        }
        inbox.running = true;
        let (conn, context) = (Arc::clone(self), context.clone());
        tokio::spawn(async move {
            while let Some(event) = conn.next() {
                let unread = Incoming { packet: event.packet.clone(), ack: event.ack };
                let handled = AssertUnwindSafe(super::events::handle(&context, &conn, event)).catch_unwind().await;
                if handled.is_err() {
                    let panicked = crate::error::Error::internal("an event handler panicked");
                    super::events::refuse_unread(&context, &conn, &unread, &panicked);
                }
            }
        });
    }

    fn next(&self) -> Option<Incoming> {
        let mut inbox = self.inbox();
        if self.is_gone() {
            inbox.waiting.clear();
        }
        let next = inbox.waiting.pop_front();
        inbox.bytes = next.as_ref().map_or(0, |event| inbox.bytes.saturating_sub(event.packet.len()));
        inbox.running = next.is_some();
        next
    }
}

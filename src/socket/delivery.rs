//! The hub as the chat's outbox: it finds the sockets of an audience, encodes each event once, and cuts off a socket whose queue is full, so that
//! it comes back and recovers.

use std::sync::Arc;

use super::Hub;
use super::adapter::QueueFull;
use super::conn::{Conn, State};
use super::recovery::message_of;
use crate::chat::{Audience, Event, Fact, Outbox, Room, SocketId};
use crate::wire::outbound::{self, Frame};

impl Hub {
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
    /// lock, so that nothing of a room is heard after the answer to a join that left it. Nor does it hear what is for others.
    fn tell_one(&self, conn: &Arc<Conn>, audience: &Audience, event: &Event, frames: &[Frame]) {
        let mut state = conn.state();
        let is_for = conn.actor.as_ref().is_some_and(|actor| event.is_for(actor));
        let follows = |room: &Room| is_for && state.following.iter().any(|f| f.room == *room);
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
        let is_news = !matches!(audience, Audience::Socket(_));
        if is_news && state.replayed.contains(event) {
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
            _ if is_message => {
                if is_news {
                    state.reach(event);
                }
                frames.iter().try_for_each(|frame| conn.send_message(&state, frame))
            }
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
            if state.replayed.contains(&event) {
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
        state.reach(event);
        outbound::frames(event).iter().try_for_each(|frame| conn.send_message(state, frame))
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
        let conns = self.read().audience(&audience);
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

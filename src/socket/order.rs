//! The order of a room's messages on several nodes. Each message says after which one it comes; when that one has not been told here, it was
//! lost on the way or is late, and the room catches up from the tables. So a follower hears each message once, in the order of ids, whatever
//! becomes of the connection between the nodes.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::mpsc;

use super::conn::Conn;
use super::hub::turn_of;
use super::recovery::message_of;
use super::{Context, Hub};
use crate::chat::{Event, Room, SocketId};

/// How far a room has been told on this node.
pub struct Order {
    /// The newest message when it was first followed here. What is not newer may come late, and is told to whoever has not heard it.
    since: i64,
    /// The newest message that was told, all before it too.
    told: i64,
    /// What waits until the room has caught up.
    waiting: BTreeMap<i64, Event>,
    is_behind: bool,
    /// How often it was looked up in a row without finding anything.
    in_vain: usize,
}

/// The order of a room, for all who tell there.
pub type SharedOrder = Arc<Mutex<Order>>;

/// What is to be done with a message.
#[derive(Debug, PartialEq, Eq)]
enum Turn {
    /// It is the next one, or none that the order knows of.
    Tell,
    /// It was told.
    Told,
    /// One before it is missing.
    Wait,
}

/// No room has more messages waiting: the tables have them, too.
const WAITING: usize = 1000;
/// How many rooms are looked up at a time, and how soon again when the database is away or does not show yet what it must.
const ROOMS: usize = 100;
const PAUSE: Duration = Duration::from_millis(100);
/// So many times a room is looked up in vain, before what waits is told all the same: its rows have been removed.
const ATTEMPTS: usize = 20;

impl Order {
    /// The order of a room that is first followed here, when `newest` is its newest message.
    pub fn since(newest: i64) -> Self {
        Self { since: newest, told: newest, waiting: BTreeMap::new(), is_behind: false, in_vain: 0 }
    }

    fn turn(&mut self, id: i64, after: i64) -> Turn {
        if id <= self.since {
            Turn::Tell
        } else if id <= self.told {
            Turn::Told
        } else if after <= self.told && !self.is_behind {
            self.told = id;
            Turn::Tell
        } else {
            Turn::Wait
        }
    }

    /// Takes the oldest message that waits, when all before it were told.
    fn next_waiting(&mut self) -> Option<(i64, Event)> {
        let (_, oldest) = self.waiting.first_key_value()?;
        let is_next = turn_of(oldest).is_none_or(|(_, after)| after <= self.told);
        if is_next || self.in_vain >= ATTEMPTS { self.waiting.pop_first() } else { None }
    }
}

fn locked(order: &Mutex<Order>) -> MutexGuard<'_, Order> {
    order.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hub {
    /// Tells a message that comes after another one to the followers of its room, in its turn, and to the socket that sent it.
    pub(super) fn tell_in_turn(&self, room: Room, from: Option<SocketId>, id: i64, after: i64, event: &Event) {
        let Some((conns, order)) = self.room(room) else { return self.tell_sender(room, from, event) };
        let mut order = locked(&order);
        match order.turn(id, after) {
            Turn::Tell => self.tell_room(room, &conns, from, event),
            Turn::Told => self.tell_sender(room, from, event),
            Turn::Wait => {
                order.waiting.insert(id, event.clone());
                if order.waiting.len() > WAITING {
                    order.waiting.pop_first();
                }
                if !std::mem::replace(&mut order.is_behind, true) {
                    self.behind.send(room).ok();
                }
                self.tell_sender(room, from, event);
            }
        }
    }

    /// Something may have been missed in every room: all of them catch up.
    pub fn fall_behind(&self) {
        for (room, order) in self.orders() {
            let mut order = locked(&order);
            if !std::mem::replace(&mut order.is_behind, true) {
                self.behind.send(room).ok();
            }
        }
    }

    /// How far a room that is behind has been told.
    fn told_in(&self, room: Room) -> Option<i64> {
        let (_, order) = self.room(room)?;
        let told = locked(&order).told;
        Some(told)
    }

    /// Tells the followers of a room what they missed, as the tables have it, and what waited for that. True when something waits still, or
    /// there is more in the tables.
    fn catch_up_one(&self, room: Room, missed: Vec<Event>, has_more: bool) -> bool {
        let Some((conns, order)) = self.room(room) else { return false };
        let mut order = locked(&order);
        let before = order.told;
        for event in missed {
            let Some((_, id)) = message_of(&event).filter(|(_, id)| *id > order.told) else { continue };
            order.told = id;
            match order.waiting.remove(&id) {
                Some(live) => self.tell_room(room, &conns, None, &live),
                None => self.tell_missed(room, &conns, &event),
            }
        }
        let told = order.told;
        order.waiting.retain(|id, _| *id > told);
        order.in_vain = if told > before || has_more { 0 } else { order.in_vain + 1 };
        // What came during the look-up follows at once, as far as nothing is missing before it.
        while let Some((id, event)) = order.next_waiting() {
            order.told = id;
            self.tell_room(room, &conns, None, &event);
        }
        order.is_behind = has_more || !order.waiting.is_empty();
        if !order.is_behind {
            order.in_vain = 0;
        }
        order.is_behind
    }

    fn tell_missed(&self, room: Room, conns: &[Arc<Conn>], event: &Event) {
        // Who joined later found it in the history.
        let newer = |conn: &Conn| {
            let state = conn.state();
            let id = message_of(event).map_or(0, |(_, id)| id);
            state.following.iter().any(|f| f.room == room && id > f.reached())
        };
        let missed: Vec<_> = conns.iter().filter(|conn| newer(conn)).cloned().collect();
        self.tell_room(room, &missed, None, event);
    }
}

/// Looks up what rooms have missed.
pub async fn catch_up(context: Context, mut behind: mpsc::UnboundedReceiver<Room>) {
    let mut rooms = Vec::new();
    while behind.recv_many(&mut rooms, ROOMS).await > 0 {
        let told: Vec<(Room, i64)> = rooms.drain(..).filter_map(|room| Some((room, context.hub.told_in(room)?))).collect();
        let mut missed: BTreeMap<Room, Vec<Event>> = told.iter().map(|(room, _)| (*room, Vec::new())).collect();
        let late: Vec<Room> = match context.chat.since(&told).await {
            Ok(found) => {
                for event in found.rows {
                    if let Some(all) = message_of(&event).and_then(|(room, _)| missed.get_mut(&room)) {
                        all.push(event);
                    }
                }
                missed.into_iter().filter_map(|(room, all)| context.hub.catch_up_one(room, all, found.has_more).then_some(room)).collect()
            }
            Err(_) => missed.into_keys().collect(),
        };
        if !late.is_empty() {
            tokio::time::sleep(PAUSE).await;
            for room in late {
                context.hub.behind.send(room).ok();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::store::SupportMessage;

    #[test]
    fn a_message_is_told_when_all_before_it_were() {
        let mut order = Order::since(10);
        assert_eq!(order.turn(9, 8), Turn::Tell, "late from before the first join");
        assert_eq!(order.turn(12, 10), Turn::Tell);
        assert_eq!(order.turn(12, 10), Turn::Told);
        assert_eq!(order.turn(11, 10), Turn::Told, "there was none between");
        assert_eq!(order.turn(15, 14), Turn::Wait, "14 is missing");
        assert_eq!(order.turn(14, 12), Turn::Tell);
        assert_eq!(order.turn(15, 14), Turn::Tell);
    }

    fn message(id: i64) -> SupportMessage {
        let (ticket, sender) = (entity::TicketId(1), entity::UserId(1));
        SupportMessage { id: entity::SupportMessageId(id), ticket, sender, text: String::new(), is_admin: false, created_at: clock::now() }
    }

    #[test]
    fn what_waits_is_let_go_as_far_as_nothing_is_missing_before_it() {
        let mut order = Order::since(10);
        for (id, after) in [(12, 11), (13, 12), (16, 15)] {
            assert_eq!(order.turn(id, after), Turn::Wait);
            order.waiting.insert(id, Event::SupportMessage { message: message(id), temp_id: None, after: Some(after) });
        }
        assert!(order.next_waiting().is_none(), "11 is missing");
        order.told = 11;
        for id in [12, 13] {
            assert_eq!(order.next_waiting().map(|(id, _)| id), Some(id));
            order.told = id;
        }
        assert!(order.next_waiting().is_none(), "15 is missing, however long others were waited for");
        order.in_vain = ATTEMPTS;
        assert_eq!(order.next_waiting().map(|(id, _)| id), Some(16), "until it was looked up in vain too often");
    }
}

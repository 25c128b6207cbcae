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
use super::delivery::turn_of;
use super::recent::Recent;
use super::recovery::message_of;
use super::{Context, Hub};
use crate::chat::{Event, Room, SocketId, Void};
use crate::clock::{self, Timestamp};
use crate::error::Result;

/// How far a room has been told on this node. What clients say of it counts for nothing here.
#[derive(Default)]
pub struct Order {
    /// The newest message that was told, all before it too; none until the tables or a message say where the room stands.
    told: Option<i64>,
    /// Since when, by the time of the messages, something may be untold: where the room stands when its ids were put back.
    seen: Timestamp,
    recent: Recent,
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
    /// It is the next one.
    Tell,
    /// It was told.
    Told,
    /// One before it is missing, or it has an id that was passed: the tables say what comes when.
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
    fn turn(&mut self, id: i64, after: i64, event: &Event) -> Turn {
        if self.recent.contains(event) {
            return Turn::Told;
        }
        let told = *self.told.get_or_insert(after);
        if id <= told {
            // It is late from before the first join, or the tables were put back and ids are given out again: what was told is void from here.
            self.told = Some(after);
            self.waiting.clear();
        } else if after <= told && !self.is_behind {
            self.note(id, event);
            return Turn::Tell;
        }
        Turn::Wait
    }

    fn note(&mut self, id: i64, event: &Event) {
        self.told = Some(id);
        self.seen = created_at(event).unwrap_or(self.seen);
        self.recent.note(event);
    }

    /// Takes the oldest message that waits, when all before it were told.
    fn next_waiting(&mut self) -> Option<(i64, Event)> {
        let (_, oldest) = self.waiting.first_key_value()?;
        let is_next = turn_of(oldest).is_none_or(|(_, after)| self.told.is_none_or(|told| after <= told));
        if is_next || self.in_vain >= ATTEMPTS { self.waiting.pop_first() } else { None }
    }
}

fn locked(order: &Mutex<Order>) -> MutexGuard<'_, Order> {
    order.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hub {
    /// A room that was entered stands here, as the tables have it. A message that was told there meanwhile knows better.
    pub(super) fn settle(&self, conn: &Conn, room: Room, newest: i64) {
        if let Some(following) = conn.state().following.iter_mut().find(|f| f.room == room && f.since.is_none()) {
            following.since = Some(newest);
        }
        if let Some((_, order)) = self.room(room) {
            let mut order = locked(&order);
            if order.told.is_none() {
                (order.told, order.seen) = (Some(newest), clock::now());
            }
        }
    }

    /// Tells a message that comes after another one to the followers of its room, in its turn, and to the socket that sent it.
    pub(super) fn tell_in_turn(&self, room: Room, from: Option<SocketId>, id: i64, after: i64, event: &Event) {
        let Some((conns, order)) = self.room(room) else { return self.tell_sender(room, from, event) };
        let mut order = locked(&order);
        match order.turn(id, after, event) {
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
            // Of a room that is just being entered, the newest message is read after this.
            if order.told.is_some() && !std::mem::replace(&mut order.is_behind, true) {
                self.behind.send(room).ok();
            }
        }
    }

    /// How far a room that is behind has been told, and since when something may be untold; the latter where no message says it.
    fn told_in(&self, room: Room) -> Option<(i64, Option<Timestamp>)> {
        let (_, order) = self.room(room)?;
        let order = locked(&order);
        Some((order.told?, order.waiting.is_empty().then_some(order.seen)))
    }

    /// The tables were put back under a room: what is newer than `newest` is void, and it was told as far as `told`.
    fn put_back(&self, room: Room, newest: i64, told: i64) {
        let Some((conns, order)) = self.room(room) else { return };
        let mut order = locked(&order);
        if order.waiting.is_empty() {
            order.told = Some(told);
        }
        for conn in conns {
            conn.state().following.iter_mut().filter(|f| f.room == room && f.reached() > newest).for_each(|f| f.put_back(told));
        }
    }

    /// Tells the followers of a room what they missed, as the tables have it, and what waited for that. True when something waits still, or
    /// there is more in the tables.
    fn catch_up_one(&self, room: Room, missed: Vec<Event>, has_more: bool) -> bool {
        let Some((conns, order)) = self.room(room) else { return false };
        let mut order = locked(&order);
        let before = order.told;
        for event in missed {
            let Some((_, id)) = message_of(&event).filter(|(_, id)| order.told.is_none_or(|told| *id > told)) else { continue };
            let live = order.waiting.remove(&id);
            let was_told = order.recent.contains(&event);
            order.note(id, &event);
            match live {
                _ if was_told => conns.iter().for_each(|conn| conn.state().reach(&event)),
                Some(live) => self.tell_room(room, &conns, None, &live),
                None => self.tell_missed(room, &conns, &event),
            }
        }
        let told = order.told;
        order.waiting.retain(|id, _| told.is_none_or(|told| *id > told));
        order.in_vain = if told != before || has_more { 0 } else { order.in_vain + 1 };
        // What came during the look-up follows at once, as far as nothing is missing before it.
        while let Some((id, event)) = order.next_waiting() {
            order.note(id, &event);
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

fn created_at(event: &Event) -> Option<Timestamp> {
    match event {
        Event::Message { message, .. } => Some(message.created_at),
        Event::SupportMessage { message, .. } => Some(message.created_at),
        _ => None,
    }
}

/// Where rooms stand, as the tables bear it out: a position that they do not reach is void.
async fn stand(context: &Context, told: Vec<(Room, (i64, Option<Timestamp>))>) -> Result<Vec<(Room, i64)>> {
    let stands = told.into_iter().map(async |(room, (told, seen))| {
        let void = match seen {
            Some(seen) => context.chat.void(room, told, seen).await?,
            None => None,
        };
        let Some(Void { newest, valid }) = void else { return Ok((room, told)) };
        context.hub.put_back(room, newest, valid);
        Ok((room, valid))
    });
    futures_util::future::try_join_all(stands).await
}

/// Looks up what rooms have missed.
pub async fn catch_up(context: Context, mut behind: mpsc::UnboundedReceiver<Room>) {
    let mut rooms = Vec::new();
    while behind.recv_many(&mut rooms, ROOMS).await > 0 {
        let told: Vec<_> = rooms.drain(..).filter_map(|room| Some((room, context.hub.told_in(room)?))).collect();
        let mut missed: BTreeMap<Room, Vec<Event>> = told.iter().map(|(room, _)| (*room, Vec::new())).collect();
        let found = async { context.chat.since(&stand(&context, told).await?).await };
        let late: Vec<Room> = match found.await {
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
    use crate::store::SupportMessage;

    fn message(id: i64, after: i64, text: &str) -> Event {
        let (ticket, sender) = (entity::TicketId(1), entity::UserId(1));
        let id = entity::SupportMessageId(id);
        let message = SupportMessage { id, ticket, sender, text: text.to_owned(), is_admin: false, created_at: Timestamp::default() };
        Event::SupportMessage { message, owner: sender, temp_id: None, after: Some(after) }
    }

    fn stands_at(newest: i64) -> Order {
        Order { told: Some(newest), ..Order::default() }
    }

    #[test]
    fn a_message_is_told_when_all_before_it_were() {
        let mut order = stands_at(10);
        let mut turn = |id, after| order.turn(id, after, &message(id, after, "x"));
        assert_eq!(turn(12, 10), Turn::Tell);
        assert_eq!(turn(12, 10), Turn::Told);
        assert_eq!(turn(15, 14), Turn::Wait, "14 is missing");
        assert_eq!(turn(14, 12), Turn::Tell);
        assert_eq!(turn(15, 14), Turn::Tell);
        assert_eq!(Order::default().turn(7, 5, &message(7, 5, "x")), Turn::Tell, "the first of a room that is just being entered");
    }

    #[test]
    fn an_id_that_is_given_out_again_is_another_message() {
        let mut order = stands_at(10);
        for (id, after) in [(11, 10), (12, 11)] {
            assert_eq!(order.turn(id, after, &message(id, after, "before the backup was restored")), Turn::Tell);
        }
        assert_eq!(order.turn(11, 10, &message(11, 10, "after")), Turn::Wait);
        assert_eq!(order.told, Some(10), "what is not in the tables counts as told no more");
        assert_eq!(order.turn(12, 11, &message(12, 11, "before the backup was restored")), Turn::Told);
    }

    #[test]
    fn what_waits_is_let_go_as_far_as_nothing_is_missing_before_it() {
        let mut order = stands_at(10);
        for (id, after) in [(12, 11), (13, 12), (16, 15)] {
            let event = message(id, after, "x");
            assert_eq!(order.turn(id, after, &event), Turn::Wait);
            order.waiting.insert(id, event);
        }
        assert!(order.next_waiting().is_none(), "11 is missing");
        order.told = Some(11);
        for id in [12, 13] {
            assert_eq!(order.next_waiting().map(|(id, _)| id), Some(id));
            order.told = Some(id);
        }
        assert!(order.next_waiting().is_none(), "15 is missing, however long others were waited for");
        order.in_vain = ATTEMPTS;
        assert_eq!(order.next_waiting().map(|(id, _)| id), Some(16), "until it was looked up in vain too often");
    }
}

//! Who types where. A typist who disconnects or falls silent is taken to have stopped.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use entity::UserId;
use tokio::time::Instant;

use super::{Audience, Chat, Event, Participant, Room, SocketId, TicketAccess};
use crate::auth::Actor;
use crate::clock;

/// The typists of all nodes, by place.
#[derive(Default)]
pub(super) struct Typing(Mutex<HashMap<(Room, UserId), Typist>>);

struct Typist {
    /// None on another node.
    socket: Option<SocketId>,
    /// The other one of the conversation, or the owner of the ticket.
    with: UserId,
    name: Arc<str>,
    last: Instant,
}

impl Typing {
    fn change<T>(&self, change: impl FnOnce(&mut HashMap<(Room, UserId), Typist>) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Chat {
    /// The actor types in a conversation, or has stopped. Told: the other followers.
    pub fn type_in(&self, actor: &Actor, place: Participant, from: SocketId, is_typing: bool) {
        self.set_typing(actor, Room::Conversation(place.conversation), place.other, from, is_typing);
    }

    /// The same in a ticket.
    pub fn type_in_ticket(&self, actor: &Actor, access: TicketAccess, from: SocketId, is_typing: bool) {
        self.set_typing(actor, Room::Ticket(access.ticket), access.owner, from, is_typing);
    }

    fn set_typing(&self, actor: &Actor, room: Room, with: UserId, from: SocketId, is_typing: bool) {
        let name = self.current_name(actor);
        self.typing.change(|typists| {
            if is_typing {
                typists.insert((room, actor.id), Typist { socket: Some(from), with, name: name.clone(), last: clock::instant() });
            } else {
                typists.remove(&(room, actor.id));
            }
        });
        self.outbox.tell(Audience::RoomWithout(room, actor.id), typing(room, actor.id, with, name, is_typing));
    }

    /// The actor sends a message, and so has stopped typing there; not every client says so. Told, when the actor was typing: the other
    /// followers.
    pub(super) fn end_typing(&self, actor: &Actor, room: Room) {
        if let Some(typist) = self.typing.change(|typists| typists.remove(&(room, actor.id))) {
            self.outbox.tell(Audience::RoomWithout(room, actor.id), typing(room, actor.id, typist.with, typist.name, false));
        }
    }

    /// Somebody types on another node, or has stopped.
    pub fn note_typing(&self, room: Room, user: UserId, with: UserId, name: Option<Arc<str>>, is_typing: bool) {
        self.typing.change(|typists| match name {
            Some(name) if is_typing => drop(typists.insert((room, user), Typist { socket: None, with, name, last: clock::instant() })),
            _ => drop(typists.remove(&(room, user))),
        });
    }

    /// Tells a socket that joined a conversation whether the other one types there: its user interface may still show what it last heard
    /// elsewhere.
    pub fn tell_who_types(&self, place: Participant, to: SocketId) {
        let room = Room::Conversation(place.conversation);
        let is_typing = self.typing.change(|typists| typists.get(&(room, place.other)).is_some_and(|typist| typist.with == place.user));
        let event = Event::Typing { room, user: place.other, with: place.user, name: None, is_typing };
        self.outbox.tell_here(Audience::Socket(to), event);
    }

    /// Tells a socket that joined a ticket who types there.
    pub fn tell_who_types_in_ticket(&self, actor: &Actor, access: TicketAccess, to: SocketId) {
        let (room, owner) = (Room::Ticket(access.ticket), access.owner);
        let others = |typists: &mut HashMap<(Room, UserId), Typist>| -> Vec<UserId> {
            let others = typists.iter().filter(|((r, user), typist)| *r == room && *user != actor.id && typist.with == owner);
            others.map(|((_, user), _)| *user).collect()
        };
        for user in self.typing.change(others) {
            self.outbox.tell_here(Audience::Socket(to), Event::Typing { room, user, with: owner, name: None, is_typing: true });
        }
    }

    /// A socket is gone, and with it what it typed.
    pub(super) fn stop_typing_of(&self, socket: SocketId) {
        self.stop_where(|typist| typist.socket == Some(socket));
    }

    /// Those who have said nothing for too long have stopped.
    pub(super) fn expire_typists(&self) {
        self.stop_where(|typist| typist.last.elapsed() >= self.settings.presence.typing_timeout);
    }

    fn stop_where(&self, stopped: impl Fn(&Typist) -> bool) {
        let gone: Vec<_> = self.typing.change(|typists| typists.extract_if(|_, typist| stopped(typist)).collect());
        for ((room, user), typist) in gone {
            let (audience, event) = (Audience::RoomWithout(room, user), typing(room, user, typist.with, typist.name, false));
            match typist.socket {
                Some(_) => self.outbox.tell(audience, event),
                None => self.outbox.tell_here(audience, event),
            }
        }
    }
}

fn typing(room: Room, user: UserId, with: UserId, name: Arc<str>, is_typing: bool) -> Event {
    Event::Typing { room, user, with, name: Some(name), is_typing }
}

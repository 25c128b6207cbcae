//! What is told to whom, and what the nodes of a server let each other know. The chat decides; whoever implements [`Outbox`] carries it there.

use std::{sync::Arc, time::Duration};

use entity::{ConversationId, MessageId, TicketId, UserId};
use serde::{Deserialize, Serialize};

use super::{TempId, Visitor};
use crate::auth::Actor;
use crate::clock::Timestamp;
use crate::store::{Message, SupportMessage, Ticket};

/// A connected socket of this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SocketId(pub u64);

/// Another process of this server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId(pub u64);

/// What sockets follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Room {
    /// A conversation.
    Conversation(ConversationId),
    /// A support ticket.
    Ticket(TicketId),
}

/// To whom something is told; each socket once.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Audience {
    /// One socket.
    Socket(SocketId),
    /// The followers of a room, and the socket that caused it.
    RoomAnd(Room, Option<SocketId>),
    /// The followers of a room without the sockets of a user.
    RoomWithout(Room, UserId),
    /// All sockets of users; guests of theirs hear nudges only.
    Users(Vec<UserId>),
    /// The sockets of a user that do not follow a room.
    UserOutside(UserId, Room),
    /// Everybody whom a ticket concerns: its owner, and every admin.
    OwnerAndAdmins(UserId),
    /// Every admin.
    Admins,
}

/// What is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Event {
    /// A direct message is stored.
    Message {
        /// Which.
        message: Message,
        /// Its sender's mark.
        temp_id: Option<TempId>,
        /// The one before it in its conversation, where other nodes may have stored that.
        after: Option<i64>,
    },
    /// A support message is stored.
    SupportMessage {
        /// Which.
        message: SupportMessage,
        /// Whose ticket it is in.
        owner: UserId,
        /// Its sender's mark.
        temp_id: Option<TempId>,
        /// The one before it in its ticket, where other nodes may have stored that.
        after: Option<i64>,
    },
    /// The lists that show this conversation are out of date. A nudge: it may be held back and collapse with others.
    ConversationUpdated {
        /// Which one.
        conversation: ConversationId,
        /// How long to wait first.
        delay: Duration,
    },
    /// Messages were read. A nudge as well.
    MessagesRead {
        /// Where.
        conversation: ConversationId,
        /// By whom.
        reader: UserId,
        /// The other one there.
        other: UserId,
        /// When.
        read_at: Timestamp,
        /// Which, ascending.
        messages: Vec<MessageId>,
    },
    /// Somebody types, or has stopped.
    Typing {
        /// Where.
        room: Room,
        /// Who.
        user: UserId,
        /// The other one of the conversation, or the owner of the ticket.
        with: UserId,
        /// The typist's name, where it is known.
        name: Option<Arc<str>>,
        /// Or has stopped.
        is_typing: bool,
    },
    /// A contact came or went.
    Presence {
        /// Who.
        user: UserId,
        /// The user's name.
        name: Arc<str>,
        /// When the user was last seen; none for who is online.
        last_seen: Option<Timestamp>,
    },
    /// The contacts who are online.
    OnlineUsers(Vec<UserId>),
    /// A ticket is new or has changed.
    Ticket(Ticket, TicketNews),
}

impl Event {
    /// Whether what is told in a room is for a user. The write that caused it says so, not the room: when the tables are put back, ids of
    /// conversations and tickets are given out again, and whoever followed the one before takes no part in the new one.
    pub fn is_for(&self, actor: &Actor) -> bool {
        let is_one_of = |users: [&UserId; 2]| users.contains(&&actor.id);
        match self {
            Self::Message { message, .. } => is_one_of([&message.sender, &message.receiver]),
            Self::MessagesRead { reader, other, .. } => is_one_of([reader, other]),
            Self::SupportMessage { owner, .. } => actor.is_admin || *owner == actor.id,
            Self::Typing { room: Room::Conversation(_), user, with, .. } => is_one_of([user, with]),
            Self::Typing { room: Room::Ticket(_), with, .. } => actor.is_admin || *with == actor.id,
            Self::ConversationUpdated { .. } | Self::Presence { .. } | Self::OnlineUsers(_) | Self::Ticket(..) => true,
        }
    }
}

impl From<Message> for Event {
    fn from(message: Message) -> Self {
        Self::Message { message, temp_id: None, after: None }
    }
}

impl From<(SupportMessage, UserId)> for Event {
    fn from((message, owner): (SupportMessage, UserId)) -> Self {
        Self::SupportMessage { message, owner, temp_id: None, after: None }
    }
}

/// Whether a ticket is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TicketNews {
    /// It was just created.
    Created,
    /// Its status or priority changed.
    Changed,
}

/// What a node lets the others know, for their own decisions.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Fact {
    /// A user has sockets here from now on.
    Online {
        /// Who.
        user: UserId,
        /// The user's name.
        name: Arc<str>,
        /// With whom the user shares a conversation.
        contacts: Vec<UserId>,
    },
    /// A user has no socket here any more.
    Offline {
        /// Who.
        user: UserId,
        /// The user's name.
        name: Arc<str>,
        /// When the last socket went.
        last_seen: Timestamp,
        /// With whom the user shares a conversation.
        contacts: Vec<UserId>,
    },
    /// These are all users who have sockets here, for a node that may have missed some of the above.
    Roster(Vec<(UserId, Arc<str>)>),
    /// Two users share a conversation from now on.
    Contacts([(UserId, Arc<str>); 2]),
    /// A user was seen with a token.
    Seen {
        /// Who.
        user: UserId,
        /// From where.
        visitor: Visitor,
    },
    /// A client came back here: a socket that it left behind elsewhere is void.
    Resumed {
        /// Who.
        user: UserId,
        /// The private id of its session.
        pid: String,
    },
    /// A user was banned: no socket of the user's is to stay.
    Expelled(UserId),
    /// A user was found to exist no more.
    Gone(UserId),
}

/// Carries news to sockets. Must not block: it is called from the teller's task, in the order in which things were stored.
pub trait Outbox: Send + Sync + 'static {
    /// Tells `event` to each socket of `audience`, on every node.
    fn tell(&self, audience: Audience, event: Event);

    /// Tells `event` to the sockets of `audience` that are here: each node tells its own.
    fn tell_here(&self, audience: Audience, event: Event);

    /// Lets the other nodes know.
    fn share(&self, fact: Fact);
}

//! Connection state recovery, as `socket.io-client` 4.6 and later speak it: a private id (`pid`) in a CONNECT packet, an offset as the last
//! argument of each message, and both sent back by a client that was cut off. What a socket follows is stored under its `pid`, so that it
//! outlives the process; what was missed is read from the tables, so that nothing needs to be kept in memory.

use std::{fmt, str::FromStr, sync::Arc, time::Duration};

use entity::{ConversationId, MessageId, SupportMessageId, TicketId, UserId};

use super::Context;
use super::conn::Conn;
use crate::auth::random_hex;
use crate::chat::{Audience, Event, Outbox, Room, Visitor};
use crate::clock;
use crate::error::{Error, Result};
use crate::store::Session;
use crate::store::writer::Done;

/// A room that a socket follows, and the newest message there when it joined: what came before is not missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Following {
    /// Which room.
    pub room: Room,
    /// The id of its newest message then.
    pub since: i64,
}

/// How far a client has heard: the ids of the last message and the last support message, as `12.5`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offset {
    message: i64,
    support: i64,
}

impl Offset {
    /// Takes note of an event that is told.
    pub fn advance(&mut self, event: &Event) {
        match event {
            Event::Message(message, _) => self.message = self.message.max(message.id.0),
            Event::SupportMessage(message, _) => self.support = self.support.max(message.id.0),
            _ => {}
        }
    }

    /// Whether an event is not newer.
    pub fn covers(&self, event: &Event) -> bool {
        match event {
            Event::Message(message, _) => message.id.0 <= self.message,
            Event::SupportMessage(message, _) => message.id.0 <= self.support,
            _ => false,
        }
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.message, self.support)
    }
}

impl FromStr for Offset {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (message, support) = text.split_once('.').ok_or(())?;
        Ok(Self { message: message.parse().map_err(drop)?, support: support.parse().map_err(drop)? })
    }
}

/// What a client brings back from before it was cut off.
pub struct Restored {
    /// Its private id.
    pub pid: String,
    /// As whom a guest counted, and counts again: it comes from where it was corroborated.
    pub guest_of: Option<UserId>,
    /// What it followed and may follow still.
    pub following: Vec<Following>,
    /// How far it has heard.
    pub offset: Offset,
}

/// How long a client may take to read what it missed, and how long to wait while its queue is full.
const PATIENCE: Duration = Duration::from_secs(25);
const PAUSE: Duration = Duration::from_millis(20);

/// The form in which a guest's session is stored: it follows nothing, and is worth something only where it was corroborated.
fn guest_form(visitor: Visitor) -> String {
    let agent = visitor.agent.map_or_else(String::new, |digest| format!("{digest:016x}"));
    format!("{GUEST}{},{agent}", visitor.address)
}

const GUEST: &str = "guest@";

fn store_form(following: &[Following]) -> String {
    let one = |f: &Following| match f.room {
        Room::Conversation(id) => format!("c{id}@{}", f.since),
        Room::Ticket(id) => format!("t{id}@{}", f.since),
    };
    following.iter().map(one).collect::<Vec<_>>().join(",")
}

fn parse_form(text: &str) -> Vec<Following> {
    let one = |part: &str| {
        let (room, since) = part.split_once('@')?;
        let room = match room.split_at_checked(1)? {
            ("c", id) => Room::Conversation(ConversationId(id.parse().ok()?)),
            ("t", id) => Room::Ticket(TicketId(id.parse().ok()?)),
            _ => return None,
        };
        Some(Following { room, since: since.parse().ok()? })
    };
    text.split(',').filter_map(one).collect()
}

/// Looks up what a client says it was, and verifies its rights anew. Fails only when that cannot be known now.
pub async fn restore(context: &Context, conn: &Conn, pid: &str, offset: Option<&str>) -> Result<Option<Restored>> {
    let Some(session) = context.chat.find_session(pid).await? else { return Ok(None) };
    let offset = offset.and_then(|text| text.parse().ok()).unwrap_or_default();
    let mut restored = Restored { pid: session.pid, guest_of: None, following: Vec::new(), offset };
    let Some(actor) = &conn.actor else {
        restored.guest_of = (session.follows == guest_form(conn.visitor)).then_some(session.user);
        return Ok(restored.guest_of.is_some().then_some(restored));
    };
    if session.user != actor.id || session.follows.starts_with(GUEST) {
        return Ok(None);
    }
    for following in parse_form(&session.follows) {
        let allowed = match following.room {
            Room::Conversation(id) => context.chat.require_participant(actor, id).await.map(drop),
            Room::Ticket(id) => context.chat.require_ticket(actor, id).await.map(drop),
        };
        match allowed {
            Ok(()) => restored.following.push(following),
            Err(Error::Forbidden(_) | Error::NotFound(_)) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(Some(restored))
}

/// A client notes offsets from its private id on only: before it has one, messages wait. True when they did not wait already.
pub fn hold(conn: &Conn) -> bool {
    let mut state = conn.state();
    let holds = conn.recovers && !state.offered && state.held.is_none();
    if holds {
        state.held = Some(Vec::new());
    }
    holds
}

/// Stores what a socket follows and tells it its private id, the first time when that is on disk.
pub async fn remember(context: &Context, conn: &Arc<Conn>) {
    if !conn.recovers {
        return;
    }
    let session = {
        let mut state = conn.state();
        // A socket that is gone follows nothing any more, but its client will come back for what it followed.
        if conn.is_gone() {
            return;
        }
        let Some(user) = conn.actor.as_ref().map(|actor| actor.id).or(state.guest_of) else { return };
        let follows = if conn.actor.is_none() { guest_form(conn.visitor) } else { store_form(&state.following) };
        let pid = state.pid.get_or_insert_with(random_hex::<16>).clone();
        state.is_unsaved = false;
        Session { pid, user, follows, used_at: clock::now() }
    };
    let (hub, conn) = (context.hub.clone(), conn.clone());
    let stored = Done::new(move |outcome: Result<()>| {
        match outcome {
            Ok(()) if conn.offer().is_err() => hub.cut(&conn),
            Ok(()) => {}
            Err(_) => conn.state().is_unsaved = true,
        }
        hub.release(&conn);
    });
    context.chat.save_session(session, stored).await;
}

/// Tells a socket that came back what it missed, in order, then what came meanwhile, and that its lists are out of date when they are.
pub async fn replay(context: &Context, conn: &Arc<Conn>, restored: &Restored) {
    let Some(actor) = &conn.actor else { return };
    let offset = restored.offset;
    let (mut conversations, mut tickets) = (Vec::new(), Vec::new());
    for following in &restored.following {
        match following.room {
            Room::Conversation(id) => conversations.push((id, MessageId(following.since.max(offset.message)))),
            Room::Ticket(id) => tickets.push((id, SupportMessageId(following.since.max(offset.support)))),
        }
    }
    let missed = context.chat.missed(actor, &conversations, &tickets).await;
    // It must not hear what is new and never what it missed: it shall try again.
    let Ok((messages, support)) = missed else { return context.hub.cut(conn) };
    let messages = messages.into_iter().map(|m| Event::Message(m, None));
    let missed = messages.chain(support.into_iter().map(|m| Event::SupportMessage(m, None)));
    let deadline = clock::instant() + PATIENCE;
    for event in missed {
        // There may be more than the queue holds.
        while context.hub.send_now(conn, &mut conn.state(), &event).is_err() {
            if conn.is_gone() || clock::instant() > deadline {
                return context.hub.cut(conn);
            }
            tokio::time::sleep(PAUSE).await;
        }
        conn.state().replayed.advance(&event);
    }
    context.hub.release(conn);
    let heard = conversations.iter().map(|(_, after)| *after).max().unwrap_or(MessageId(offset.message));
    if let Ok(Some(conversation)) = context.chat.news_since(actor, heard).await {
        let nudge = Event::ConversationUpdated { conversation, delay: Duration::ZERO };
        context.hub.tell(Audience::Socket(conn.id), nudge);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_socket_follows_is_stored_and_read_back() {
        let following = vec![
            Following { room: Room::Conversation(ConversationId(7)), since: 12 },
            Following { room: Room::Ticket(TicketId(5)), since: 0 },
        ];
        assert_eq!(parse_form(&store_form(&following)), following);
        assert_eq!(parse_form("guest@127.0.0.1,00ff"), []);
        assert_eq!(parse_form("c7,é@1,c@2,@"), []);
    }

    #[test]
    fn an_offset_is_read_back_and_nonsense_is_none() {
        assert_eq!("12.5".parse(), Ok(Offset { message: 12, support: 5 }));
        assert!(["", "12", "a.b", "1.2.3"].iter().all(|text| text.parse::<Offset>().is_err()));
        assert_eq!(Offset { message: 12, support: 5 }.to_string(), "12.5");
    }
}

//! Connection state recovery, as `socket.io-client` 4.6 and later speak it: a private id (`pid`) in the CONNECT packet, an offset as the last
//! argument of each message, and both sent back by a client that was cut off. What a socket follows is stored under its `pid`, so that it
//! outlives the process; what was missed is read from the tables, so that nothing needs to be kept in memory.

use std::{collections::HashMap, sync::Arc, time::Duration};

use chrono::TimeDelta;
use entity::{ConversationId, MessageId, TicketId, UserId};

use super::Context;
use super::conn::Conn;
use crate::chat::{Audience, Event, Outbox, Room, Visitor, Void};
use crate::clock;
use crate::error::{Error, Result};
use crate::store::Session;
use crate::store::jobs::Done;

/// A room that a socket follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Following {
    /// Which room.
    pub room: Room,
    /// The id of its newest message when the socket joined: what came before is not missed. None until that is read.
    pub since: Option<i64>,
    /// The id of the message there that the socket was told last; 0 for none. A room's messages are told in the order of their ids.
    pub heard: i64,
}

impl Following {
    /// A room that is entered now.
    pub fn new(room: Room) -> Self {
        Self { room, since: None, heard: 0 }
    }

    /// What is newer than this was missed by a socket that is cut off now.
    pub fn reached(&self) -> i64 {
        if self.heard > 0 { self.heard } else { self.since.unwrap_or_default() }
    }

    /// What the socket has heard or joined after is not in the tables any more.
    pub fn put_back(&mut self, to: i64) {
        (self.since, self.heard) = (Some(to), 0);
    }
}

/// The room and the id of a message that is told.
pub fn message_of(event: &Event) -> Option<(Room, i64)> {
    match event {
        Event::Message { message, .. } => Some((Room::Conversation(message.conversation), message.id.0)),
        Event::SupportMessage { message, .. } => Some((Room::Ticket(message.ticket), message.id.0)),
        _ => None,
    }
}

/// What a client brings back from before it was cut off.
pub struct Restored {
    /// Its private id.
    pub pid: String,
    /// As whom a guest counted, and counts again: it comes from where it was corroborated.
    pub guest_of: Option<UserId>,
    /// What it followed and may follow still, and how far it has heard there.
    pub following: Vec<Following>,
}

/// How long a client may take to read what it missed, and how long to wait while its queue is full.
const PATIENCE: Duration = Duration::from_secs(25);
const PAUSE: Duration = Duration::from_millis(20);
/// A socket that is so many bytes behind has taken what it was sent, but for some news.
const LITTLE: u64 = 64 * 1024;
/// What a socket follows is saved at once a few times, and then so often at most: somebody may open chats as quickly as events are let in.
const SAVES: (u32, Duration) = (4, Duration::from_secs(1));

/// Tables that keep whole seconds have a message up to one second earlier than it was stored.
const SLACK: TimeDelta = TimeDelta::seconds(1);

/// The form in which a guest's session is stored: it follows nothing, and is worth something only where it was corroborated.
fn guest_form(visitor: Visitor) -> String {
    let agent = visitor.agent.map_or_else(String::new, |digest| format!("{digest:016x}"));
    format!("{GUEST}{},{agent}", visitor.address)
}

const GUEST: &str = "guest@";

/// The offset that goes with each message: the rooms, and how far they were heard if this message arrives.
pub fn offset(following: &[Following]) -> String {
    positions(following.iter().map(|f| (f.room, f.reached())))
}

/// Rooms and ids of messages there, as `c7@12,t5@3`.
fn positions(all: impl Iterator<Item = (Room, i64)>) -> String {
    let one = |(room, message)| match room {
        Room::Conversation(id) => format!("c{id}@{message}"),
        Room::Ticket(id) => format!("t{id}@{message}"),
    };
    all.map(one).collect::<Vec<_>>().join(",")
}

/// Reads [`positions`]; what is nonsense is left out.
fn parse_positions(text: &str) -> impl Iterator<Item = (Room, i64)> {
    text.split(',').filter_map(|part| {
        let (room, message) = part.split_once('@')?;
        let room = match room.split_at_checked(1)? {
            ("c", id) => Room::Conversation(ConversationId(id.parse().ok()?)),
            ("t", id) => Room::Ticket(TicketId(id.parse().ok()?)),
            _ => return None,
        };
        Some((room, message.parse().ok()?))
    })
}

/// Whether this may be a private id at all. The database is not asked for anything else, for it may refuse some texts, and asks for many
/// clients at once.
fn is_pid(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Looks up what a client says it was, and verifies its rights anew. Fails only when that cannot be known now.
pub async fn restore(context: &Context, conn: &Conn, pid: &str, offset: Option<&str>) -> Result<Option<Restored>> {
    if !is_pid(pid) {
        return Ok(None);
    }
    let Some(session) = context.chat.find_session(pid).await? else { return Ok(None) };
    let mut restored = Restored { pid: session.pid, guest_of: None, following: Vec::new() };
    let Some(actor) = &conn.actor else {
        restored.guest_of = (session.follows == guest_form(conn.visitor)).then_some(session.user);
        return Ok(restored.guest_of.is_some().then_some(restored));
    };
    if session.user != actor.id || session.follows.starts_with(GUEST) {
        return Ok(None);
    }
    let heard: HashMap<Room, i64> = parse_positions(offset.unwrap_or_default()).collect();
    for (room, since) in parse_positions(&session.follows) {
        let allowed = match room {
            Room::Conversation(id) => context.chat.require_participant(actor, id).await.map(drop),
            Room::Ticket(id) => context.chat.require_ticket(actor, id).await.map(drop),
        };
        match allowed {
            Ok(()) => {
                let claimed = heard.get(&room).copied().unwrap_or_default();
                let mut following = Following { room, since: Some(since), heard: if claimed > since { claimed } else { 0 } };
                // Used when it was cut off, or a little before.
                let seen = session.used_at.checked_sub_signed(SLACK).unwrap_or(session.used_at);
                if let Some(Void { newest, valid }) = context.chat.void(room, following.reached(), seen).await? {
                    // After it had joined, the tables were put back, and it heard what was new: that position holds.
                    let holds = |position: &i64| (1..=newest).contains(position);
                    following.put_back(Some(claimed).filter(holds).unwrap_or(valid.max(Some(since).filter(holds).unwrap_or_default())));
                }
                restored.following.push(following);
            }
            Err(Error::Forbidden(_) | Error::NotFound(_)) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(Some(restored))
}

/// Puts the private id of a session into the CONNECT packet that the socket is sent next.
pub fn introduce(conn: &Conn, pid: String) {
    conn.state().pid = Some(pid.clone());
    conn.transport.rewrite_next(move |packet| {
        let connect = packet.strip_prefix("0{")?.strip_suffix('}')?;
        Some(format!("0{{{connect},\"pid\":\"{pid}\"}}"))
    });
}

/// Stores what a socket follows, or notes that it is to be stored within a second, when it was too often.
pub async fn remember(context: &Context, conn: &Arc<Conn>) {
    {
        let mut state = conn.state();
        if state.saves_until.is_some_and(|until| until > clock::instant() + SAVES.1 * SAVES.0) {
            state.is_unsaved = true;
            return;
        }
    }
    save(context, conn).await;
}

/// Stores what a socket follows.
pub async fn save(context: &Context, conn: &Arc<Conn>) {
    // A socket that is gone follows nothing any more, but its client will come back for what it followed.
    if conn.is_gone() {
        return;
    }
    let Some(session) = session(conn) else { return };
    let conn = conn.clone();
    let stored = Done::new(move |outcome: Result<()>| match outcome {
        Ok(()) => conn.state().is_saved = true,
        Err(_) => conn.state().is_unsaved = true,
    });
    context.chat.save_session(session, stored).await;
}

/// Stores what a socket that goes has followed, if that is not stored yet: its client comes back for it.
pub async fn save_last(context: &Context, conn: &Conn) {
    if conn.state().is_unsaved
        && let Some(session) = session(conn)
    {
        context.chat.save_session(session, Done::new(drop)).await;
    }
}

/// What a socket follows, to be saved now.
fn session(conn: &Conn) -> Option<Session> {
    if !conn.recovers {
        return None;
    }
    let mut state = conn.state();
    let user = conn.actor.as_ref().map(|actor| actor.id).or(state.guest_of)?;
    let follows = if conn.actor.is_none() {
        guest_form(conn.visitor)
    } else {
        positions(state.following.iter().map(|f| (f.room, f.since.unwrap_or_default())))
    };
    let pid = state.pid.clone()?;
    state.is_unsaved = false;
    state.saves_until = state.saves_until.max(Some(clock::instant())).map(|until| until + SAVES.1);
    Some(Session { pid, user, follows, used_at: clock::now() })
}

/// Tells a socket that came back what it missed, in order, then what came meanwhile, and that its lists are out of date when they are. What was
/// missed is read page by page, the next when the socket has taken the one before: there may be more than anybody can hold.
pub async fn replay(context: &Context, conn: &Arc<Conn>, restored: &Restored) {
    let Some(actor) = &conn.actor else { return };
    let mut rooms: Vec<(Room, i64)> = restored.following.iter().map(|following| (following.room, following.reached())).collect();
    let heard = rooms.iter().filter(|(room, _)| is_conversation(*room)).map(|(_, heard)| *heard).max().unwrap_or_default();
    loop {
        // It must not hear what is new and never what it missed: it shall try again.
        let Ok(page) = context.chat.missed(actor, &rooms).await else { return context.hub.cut_for(conn, "unavailable") };
        for event in &page.rows {
            conn.state().replayed.note(event);
            if !patiently(conn, || context.hub.send_now(conn, &mut conn.state(), event).is_ok()).await {
                return context.hub.cut(conn);
            }
            let Some((told, id)) = message_of(event) else { continue };
            for (_, after) in rooms.iter_mut().filter(|(room, _)| is_conversation(*room) == is_conversation(told)) {
                *after = id.max(*after);
            }
        }
        if !page.has_more {
            break;
        }
        if !patiently(conn, || conn.backlog.behind() <= LITTLE).await {
            return context.hub.cut(conn);
        }
    }
    context.hub.release(conn);
    context.hub.busy(conn);
    if let Ok(Some(conversation)) = context.chat.news_since(actor, MessageId(heard)).await {
        let nudge = Event::ConversationUpdated { conversation, delay: Duration::ZERO };
        context.hub.tell(Audience::Socket(conn.id), nudge);
    }
}

fn is_conversation(room: Room) -> bool {
    matches!(room, Room::Conversation(_))
}

/// Waits until something is so. False when the socket is gone, or takes too long to read.
async fn patiently(conn: &Conn, mut is_so: impl FnMut() -> bool) -> bool {
    let deadline = clock::instant() + PATIENCE;
    while !is_so() {
        if conn.is_gone() || clock::instant() > deadline {
            return false;
        }
        tokio::time::sleep(PAUSE).await;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_far_rooms_were_heard_is_written_and_read_back() {
        let following = [
            Following { room: Room::Conversation(ConversationId(7)), since: Some(12), heard: 0 },
            Following { room: Room::Ticket(TicketId(5)), since: Some(1), heard: 3 },
        ];
        assert_eq!(offset(&following), "c7@12,t5@3");
        let read: Vec<_> = parse_positions("c7@12,t5@3").collect();
        assert_eq!(read, [(Room::Conversation(ConversationId(7)), 12), (Room::Ticket(TicketId(5)), 3)]);
        for nonsense in ["", "guest@127.0.0.1,00ff", "c7,é@1,c@2,@,c1@x", "12.5"] {
            assert_eq!(parse_positions(nonsense).count(), 0, "{nonsense}");
        }
    }
}

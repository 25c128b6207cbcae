//! Nudges: `conversation-updated` and `message-read`. The frontends refetch their lists on each, and unmount the open chat while they do,
//! so a socket gets at most one of a kind per conversation and interval, and none while its user is busy, for a while. The first to an idle
//! socket goes at once, the last is never lost.

use std::{collections::HashMap, sync::Arc, time::Duration};

use entity::ConversationId;
use tokio::time::Instant;

use super::Hub;
use super::conn::Conn;
use crate::chat::{Event, Room};
use crate::clock;
use crate::wire::outbound;

/// The nudges of one socket.
#[derive(Default)]
pub struct Nudges {
    busy_until: Option<Instant>,
    draft: Option<Draft>,
    told: HashMap<Key, Instant>,
    pending: HashMap<Key, Pending>,
}

/// What the user has typed in the open conversation and not sent. The refetch would discard it.
struct Draft {
    conversation: ConversationId,
    until: Instant,
}

/// Nudges with equal keys collapse. A guest hears of no conversation in particular.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    Updated(ConversationId),
    Read(ConversationId),
    Guest,
}

struct Pending {
    not_before: Instant,
    /// However busy the user is.
    deadline: Instant,
    event: Event,
    /// Not to be told to a socket that follows this room when the time comes.
    outside: Option<Room>,
}

/// Past this many remembered moments those are forgotten that no longer matter.
const REMEMBERED: usize = 64;

impl Nudges {
    fn due(&self, key: &Key, pending: &Pending, interval: Duration) -> Instant {
        let spaced = self.told.get(key).map_or(pending.not_before, |told| pending.not_before.max(*told + interval));
        let quiet = self.busy_until.map_or(spaced, |busy| busy.min(pending.deadline));
        let sent = self.draft.as_ref().map_or(spaced, |draft| draft.until);
        spaced.max(quiet).max(sent)
    }

    fn note_told(&mut self, key: Key, now: Instant, interval: Duration) {
        if self.told.len() >= REMEMBERED {
            self.told.retain(|_, told| told.elapsed() < interval);
        }
        self.told.insert(key, now);
    }
}

impl Hub {
    /// The user of this socket may be in the middle of something: nudges wait until the socket has been quiet. So is one that has just
    /// recovered, until its client has sent what it buffered.
    pub fn busy(&self, conn: &Conn) {
        conn.state().nudges.busy_until = Some(clock::instant() + self.settings.nudges.quiet);
    }

    /// The user of this socket types in a conversation: the text is a draft until it is sent, also when its user pauses.
    pub fn start_draft(&self, conn: &Conn, conversation: ConversationId) {
        self.busy(conn);
        conn.state().nudges.draft = Some(Draft { conversation, until: clock::instant() + self.settings.nudges.draft });
    }

    /// The user of this socket sends in a conversation: what was typed there is a draft no more.
    pub fn send_draft(&self, conn: &Conn, conversation: ConversationId) {
        self.busy(conn);
        self.end_draft(conn, |draft| draft.conversation == conversation);
    }

    /// The socket joined or left conversations: a draft in one that it no longer has open is gone.
    pub fn drop_draft(&self, conn: &Conn) {
        let open: Vec<Room> = conn.state().following.iter().map(|f| f.room).collect();
        self.end_draft(conn, |draft| !open.contains(&Room::Conversation(draft.conversation)));
    }

    fn end_draft(&self, conn: &Conn, ends: impl FnOnce(&Draft) -> bool) {
        let mut state = conn.state();
        if state.nudges.draft.take_if(|draft| ends(draft)).is_none() {
            return;
        }
        // How long they waited for the draft does not count: the next line may follow at once.
        let deadline = clock::instant() + self.settings.nudges.max_hold;
        state.nudges.pending.values_mut().for_each(|pending| pending.deadline = deadline);
        drop(state);
        conn.draft_ended.notify_waiters();
    }

    /// Nudges a socket, now or when its time comes.
    pub(super) fn nudge(self: &Arc<Self>, conn: &Arc<Conn>, event: &Event, outside: Option<Room>) {
        let (key, delay) = match event {
            Event::ConversationUpdated { delay, .. } if conn.actor.is_none() => (Key::Guest, *delay),
            Event::ConversationUpdated { conversation, delay } => (Key::Updated(*conversation), *delay),
            Event::MessagesRead { conversation, .. } => (Key::Read(*conversation), Duration::ZERO),
            _ => return,
        };
        let now = clock::instant();
        let mut state = conn.state();
        let nudges = &mut state.nudges;
        let new = Pending { not_before: now + delay, deadline: now + self.settings.nudges.max_hold, event: event.clone(), outside };
        if let Some(earlier) = nudges.pending.remove(&key) {
            // Its task is on the way, and finds what both say.
            nudges.pending.insert(key, merge(earlier, new));
            return;
        }
        if nudges.due(&key, &new, self.settings.nudges.interval) > now {
            nudges.pending.insert(key, new);
            drop(state);
            tokio::spawn(Arc::clone(self).tell_when_due(Arc::clone(conn), key));
        } else {
            nudges.note_told(key, now, self.settings.nudges.interval);
            drop(state);
            self.tell_nudge(conn, &new.event, new.outside);
        }
    }

    /// Waits until a pending nudge is due. Its time may be put off meanwhile, and is brought forward when a draft ends.
    async fn tell_when_due(self: Arc<Self>, conn: Arc<Conn>, key: Key) {
        let interval = self.settings.nudges.interval;
        while !conn.is_gone() {
            let draft_ended = conn.draft_ended.notified();
            let now = clock::instant();
            let due = {
                let nudges = &mut conn.state().nudges;
                let Some(pending) = nudges.pending.get(&key) else { return };
                match nudges.due(&key, pending, interval) {
                    later if later > now => Err(later),
                    _ => {
                        nudges.note_told(key, now, interval);
                        Ok(nudges.pending.remove(&key))
                    }
                }
            };
            match due {
                Err(later) => drop(tokio::time::timeout_at(later, draft_ended).await),
                Ok(pending) => return pending.into_iter().for_each(|p| self.tell_nudge(&conn, &p.event, p.outside)),
            }
        }
    }

    fn tell_nudge(&self, conn: &Arc<Conn>, event: &Event, outside: Option<Room>) {
        let is_for = conn.actor.as_ref().is_none_or(|actor| event.is_for(actor));
        let left = matches!(event, Event::MessagesRead { conversation, .. } if !conn.follows(Room::Conversation(*conversation)));
        if left || !is_for || outside.is_some_and(|room| conn.follows(room)) {
            return;
        }
        let frames = if conn.actor.is_none() { vec![outbound::bare_nudge()] } else { outbound::frames(event) };
        if conn.send(&frames).is_err() {
            self.cut(conn);
        }
    }
}

/// Two nudges as one: not before either wants, by the earlier one's deadline, to whom either goes, with what both say.
fn merge(earlier: Pending, later: Pending) -> Pending {
    let event = match (earlier.event, later.event) {
        (Event::MessagesRead { messages: mut all, .. }, Event::MessagesRead { conversation, reader, other, read_at, messages }) => {
            all.extend(messages);
            all.sort_unstable();
            all.dedup();
            Event::MessagesRead { conversation, reader, other, read_at, messages: all }
        }
        (_, later) => later,
    };
    let outside = if earlier.outside == later.outside { later.outside } else { None };
    Pending { not_before: earlier.not_before.max(later.not_before).min(earlier.deadline), deadline: earlier.deadline, event, outside }
}

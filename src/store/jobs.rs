//! What the writer is asked to do, and what it answers: a job each. How they are written stands in `writes`, when in `writer`.

use std::panic::{AssertUnwindSafe, catch_unwind};

use entity::{ConversationId, MessageId, Priority, Status, TicketId, UserId};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::{Message, Session, SupportMessage, Ticket};
use crate::clock::Timestamp;
use crate::error::{Error, Result};

/// Who waits for a write. Told exactly once, after the commit or the failure, from the teller's task: it must not block.
pub struct Done<T>(Option<Box<dyn FnOnce(Result<T>) + Send + Sync>>);

impl<T> Done<T> {
    /// `tell` is called with what became of the write.
    pub fn new(tell: impl FnOnce(Result<T>) + Send + Sync + 'static) -> Self {
        Self(Some(Box::new(tell)))
    }

    /// Tells the one who waits.
    /// A fault in the telling is this caller's alone: whoever it should have answered hears of it when the rest is dropped.
    pub fn tell(mut self, outcome: Result<T>) {
        if let Some(tell) = self.0.take() {
            let telling = || {
                crate::faults::strike("telling");
                tell(outcome);
            };
            catch_unwind(AssertUnwindSafe(telling)).ok();
        }
    }
}

impl<T> Drop for Done<T> {
    fn drop(&mut self) {
        if let Some(tell) = self.0.take() {
            tell(Err(Error::internal("the writer lost a job")));
        }
    }
}

/// A write in the queue.
pub enum Job {
    /// Store a direct message.
    Message(NewMessage, Done<Stored<Message>>),
    /// Change a ticket, store a message in it, or both.
    Support(SupportWrite, Done<SupportWritten>),
    /// Mark messages as read.
    Read(Mark, Done<Marked>),
    /// Save a recovery session.
    Session(Session, Done<()>),
    /// Nothing; told when all that was queued before is done.
    Flush(Done<()>),
}

impl Job {
    /// When a message was accepted.
    pub(super) fn accepted(&self) -> Option<Instant> {
        match self {
            Self::Message(new, _) => Some(new.accepted),
            Self::Support(write, _) => write.message.is_some().then_some(write.accepted),
            Self::Read(..) | Self::Session(..) | Self::Flush(_) => None,
        }
    }
}

/// A direct message to be stored.
pub struct NewMessage {
    /// Where it goes.
    pub conversation: ConversationId,
    /// Who sends it.
    pub sender: UserId,
    /// The other one.
    pub receiver: UserId,
    /// What it says.
    pub text: String,
    /// Set when its client may repeat the send.
    pub key: Option<SendKey>,
    /// When it was accepted.
    pub accepted: Instant,
}

/// A change of a ticket, by a message or by an admin's hand.
pub struct SupportWrite {
    /// Which ticket.
    pub ticket: TicketId,
    /// Who acts.
    pub sender: UserId,
    /// Whether the sender acts as an admin.
    pub is_admin: bool,
    /// A message to be stored, and its key when the client may repeat the send.
    pub message: Option<(String, Option<SendKey>)>,
    /// The status that an admin sets.
    pub status: Option<Status>,
    /// The priority that an admin sets.
    pub priority: Option<Priority>,
    /// When it was accepted.
    pub accepted: Instant,
    /// The rule: the status after a message, from the status before and whether an admin wrote it.
    pub after_message: fn(Option<Status>, bool) -> Result<Option<Status>>,
}

/// Which messages a reader has read.
#[derive(Clone, Copy)]
pub struct Mark {
    /// The one who received them.
    pub reader: UserId,
    /// Where.
    pub conversation: ConversationId,
    /// One of them; all without.
    pub message: Option<MessageId>,
}

/// A stored row, and whether this write made it or an earlier one with the same key.
#[derive(Clone, Debug)]
pub struct Stored<T> {
    /// What is stored.
    pub row: T,
    /// False for a repeated send.
    pub fresh: bool,
    /// The id of the row before it in its conversation or ticket, or 0; known where other nodes write too.
    pub after: Option<i64>,
}

/// What became of a ticket.
pub struct SupportWritten {
    /// The ticket afterwards.
    pub ticket: Ticket,
    /// Whether status or priority changed.
    pub changed: bool,
    /// The message that was stored.
    pub message: Option<Stored<SupportMessage>>,
}

/// What a mark changed.
#[derive(Clone, Debug)]
pub struct Marked {
    /// How many messages.
    pub updated: u64,
    /// Their ids, ascending; the newest 1000.
    pub messages: Vec<MessageId>,
    /// When.
    pub read_at: Timestamp,
}

/// Identifies a send of one user in one place, so that a repetition is recognised: how its nonce begins, and a digest of all that must be
/// equal. A client's nonces mostly begin with the time (`temp-<milliseconds>`, UUIDv7, ULID), so that the keys of one time lie side by side
/// in their index, and a batch of messages writes few of its pages; after a digest alone, each message writes one of its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SendKey(pub(super) String);

/// So much of a key is the beginning of the nonce, and so much the digest, at six bits each.
const HALF: usize = 16;
const SYMBOLS: &[u8; 64] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~";

impl SendKey {
    /// The key of a send. `place` tells direct messages and tickets apart.
    pub fn new(place: &str, id: i64, sender: UserId, nonce: &str, text: &str) -> Self {
        let mut hash = Sha256::new();
        for part in [place.as_bytes(), &id.to_be_bytes(), &sender.0.to_be_bytes(), nonce.as_bytes(), text.as_bytes()] {
            hash.update(part.len().to_be_bytes());
            hash.update(part);
        }
        let beginning = nonce.bytes().map(|byte| if byte.is_ascii_graphic() { byte } else { b'.' });
        let digest = hash.finalize();
        let symbols = digest.iter().filter_map(|byte| SYMBOLS.get(usize::from(byte & 63)).copied());
        Self(beginning.chain(std::iter::repeat(b'.')).take(HALF).chain(symbols.take(HALF)).map(char::from).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_one_time_lie_side_by_side_and_differ_in_all_that_makes_a_send() {
        let key = |id, sender, nonce: &str, text| SendKey::new("conversation", id, UserId(sender), nonce, text).0;
        let one = key(1, 2, "temp-1700000000123", "hello");
        assert_eq!((one.len(), one.get(..HALF)), (32, Some("temp-17000000001")));
        assert_eq!(one, key(1, 2, "temp-1700000000123", "hello"));
        assert!(one < key(9, 9, "temp-1700000000200", "a tenth of a second later"));
        let ticket = SendKey::new("ticket", 1, UserId(2), "temp-1700000000123", "hello").0;
        let others = [key(2, 2, "temp-1700000000123", "hello"), key(1, 3, "temp-1700000000123", "hello"), ticket];
        let nearly = [key(1, 2, "temp-1700000000124", "hello"), key(1, 2, "temp-1700000000123", "hello ")];
        assert!(others.iter().chain(&nearly).all(|other| *other != one));
        let odd = key(1, 2, "\u{1f30d} \n\0\u{7f}abcdefg", "hello");
        assert!(odd.len() == 32 && odd.bytes().all(|byte| byte.is_ascii_graphic()), "{odd}");
        assert_eq!(key(1, 2, "twelve chars", "hello").get(..HALF), Some("twelve.chars...."));
    }
}

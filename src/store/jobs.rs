//! What the writer is asked to do, and what it answers: a job each. How they are written stands in `writes`, when in `writer`.

use std::panic::{AssertUnwindSafe, catch_unwind};

use entity::{ConversationId, MessageId, Priority, Status, TicketId, UserId};
use sea_orm::Value;
use tokio::time::Instant;

pub use super::send_key::SendKey;
use super::{Message, SupportMessage, Ticket};
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
    /// Insert a row of any other table.
    Insert(Insert, Done<Inserted>),
    /// Run other statements.
    Execute(Execute, Done<()>),
    /// Nothing; told when nothing else waits.
    Flush(Done<()>),
}

/// The size of a statement without its texts, roughly.
const STATEMENT_BYTES: usize = 256;

impl Job {
    /// When a message was accepted.
    pub(super) fn accepted(&self) -> Option<Instant> {
        match self {
            Self::Message(new, _) => Some(new.accepted),
            Self::Support(write, _) => write.message.is_some().then_some(write.accepted),
            Self::Read(..) | Self::Insert(..) | Self::Execute(..) | Self::Flush(_) => None,
        }
    }

    /// Who asks for it; nobody for what the server does by itself.
    pub(super) fn user(&self) -> UserId {
        match self {
            Self::Message(new, _) => new.sender,
            Self::Support(write, _) => write.sender,
            Self::Read(mark, _) => mark.reader,
            Self::Insert(insert, _) => insert.user,
            Self::Execute(execute, _) => execute.user,
            Self::Flush(_) => NOBODY,
        }
    }

    /// How many bytes it sends to the database, roughly.
    pub(super) fn bytes(&self) -> usize {
        let text = |value: &Value| if let Value::String(Some(text)) = value { text.len() } else { 0 };
        let texts = match self {
            Self::Message(new, _) => new.text.len(),
            Self::Support(write, _) => write.message.as_ref().map_or(0, |(text, _)| text.len()),
            Self::Insert(insert, _) => insert.row.iter().map(|(_, value)| text(value)).sum(),
            Self::Execute(execute, _) => execute.statements.iter().flat_map(|(_, values)| values).map(text).sum(),
            Self::Read(..) | Self::Flush(_) => 0,
        };
        texts + STATEMENT_BYTES
    }

    /// How much of a batch it takes: messages share a statement, everything else has one or more of its own.
    pub(super) fn cost(&self) -> usize {
        if matches!(self, Self::Message(..)) { 1 } else { 4 }
    }

    /// Where it stands in its batch, so that messages stand together. What is marked has been seen before, so that no message of the same
    /// batch may be among it.
    pub(super) fn rank(&self) -> u8 {
        match self {
            Self::Read(..) => 0,
            Self::Insert(..) | Self::Execute(..) => 1,
            Self::Support(..) => 2,
            Self::Message(..) => 3,
            Self::Flush(_) => 4,
        }
    }

    /// Tells whoever waits for it that it was refused.
    pub(super) fn refuse(self, e: Error) {
        match self {
            Self::Message(_, done) => done.tell(Err(e)),
            Self::Support(_, done) => done.tell(Err(e)),
            Self::Read(_, done) => done.tell(Err(e)),
            Self::Insert(_, done) => done.tell(Err(e)),
            Self::Execute(_, done) | Self::Flush(done) => done.tell(Err(e)),
        }
    }
}

/// On whose behalf the server does what nobody has asked for.
pub const NOBODY: UserId = UserId(0);

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
pub struct Mark {
    /// The one who received them.
    pub reader: UserId,
    /// Where.
    pub conversation: ConversationId,
    /// One of them; all without.
    pub message: Option<MessageId>,
    /// What is marked so far: many are marked in pieces, the newest first.
    pub(super) marked: Option<Marked>,
    /// Those that are older are to be marked yet.
    pub(super) before: Option<MessageId>,
}

impl Mark {
    /// All that `reader` has received in a conversation, or one message of it.
    pub fn new(reader: UserId, conversation: ConversationId, message: Option<MessageId>) -> Self {
        Self { reader, conversation, message, marked: None, before: None }
    }

    /// Adds a piece that is marked.
    pub(super) fn add(&mut self, piece: MarkedPiece) {
        let MarkedPiece { marked, before, .. } = piece;
        self.before = before;
        match &mut self.marked {
            Some(all) => {
                all.updated += marked.updated;
                all.messages.extend(marked.messages);
                all.messages.sort_unstable();
                all.messages.drain(..all.messages.len().saturating_sub(MARKED_IDS));
            }
            None => self.marked = Some(marked),
        }
    }
}

/// How many ids of a mark are told.
pub(super) const MARKED_IDS: usize = 1000;

/// Some of the messages of a mark.
pub(super) struct MarkedPiece {
    pub marked: Marked,
    /// Those that are older are to be marked yet.
    pub before: Option<MessageId>,
    /// Whether nothing is left to be marked.
    pub is_last: bool,
}

/// A row to be inserted, unless one that serves as well is there.
pub struct Insert {
    /// Who asks for it.
    pub user: UserId,
    pub(super) table: &'static str,
    pub(super) row: Vec<(&'static str, Value)>,
    /// A condition that finds the one that is there, and its values.
    pub(super) unless: Option<(&'static str, Vec<Value>)>,
}

/// A row that is there.
#[derive(Clone, Copy, Debug)]
pub struct Inserted {
    /// Its id.
    pub id: i64,
    /// Whether it was not there before.
    pub is_new: bool,
}

/// Statements that do no harm when they run twice.
pub struct Execute {
    /// Who asks for them.
    pub user: UserId,
    pub(super) statements: Vec<(String, Vec<Value>)>,
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

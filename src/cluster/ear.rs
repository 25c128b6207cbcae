//! What the listening task of a node knows of the others, and what it has to make up for. What is done about that stands in the parent.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::AtomicI64},
    time::Duration,
};

use tokio::time::Instant;

use super::frame::Refused;
use super::peers::Peers;
use crate::clock::{self, Timestamp};
use crate::metrics::Metrics;

/// For how many beats a node remembers how far messages had come: what is older was told everywhere.
const BEATS: usize = 10;
/// While nodes of another version are there, what they store is read this often.
const FOREIGN: Duration = Duration::from_secs(5);
/// How often the log speaks of dropped frames of a kind.
const COMPLAINT: Duration = Duration::from_secs(60);

/// What the listening task knows.
#[derive(Default)]
pub struct Ear {
    pub peers: Peers,
    /// How far messages had come at the last beats.
    beats: VecDeque<(i64, Timestamp)>,
    /// Something was missed.
    pub must_heal: bool,
    /// Something was said that only another version understands, and when that was made up for last.
    is_foreign: bool,
    foreign_healed: Option<Instant>,
    /// How far the tables were read for what was missed.
    pub healed: Arc<AtomicI64>,
    /// Somebody asked who is here.
    pub must_introduce: bool,
    /// When the last beat was; others follow at the pace of all that is published.
    pub last_beat: Option<Instant>,
    forged: Complaint,
    foreign: Complaint,
}

/// What is to be made up for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heal {
    /// What came while nothing was heard, or was lost.
    Missed,
    /// What a node of another version has stored meanwhile.
    Foreign,
}

/// Dropped frames of a kind that the log has not spoken of.
#[derive(Default)]
struct Complaint {
    last: Option<Instant>,
    frames: u64,
}

impl Complaint {
    /// How many there are, when it is time to speak of them.
    fn due(&mut self) -> Option<u64> {
        self.frames += 1;
        if self.last.is_some_and(|last| last.elapsed() < COMPLAINT) {
            return None;
        }
        self.last = Some(clock::instant());
        Some(std::mem::take(&mut self.frames))
    }
}

impl Ear {
    /// A frame, or an item of one, is dropped: counted, and told by the log now and then, without what it holds.
    pub fn refuse(&mut self, refused: Refused, metrics: &Metrics) {
        match refused {
            Refused::Forged => {
                metrics.frame_refused("forged");
                if let Some(frames) = self.forged.due() {
                    tracing::warn!(
                        frames,
                        "frames on the channel were dropped: a node has another JWT_SECRET, or somebody else publishes there"
                    );
                }
            }
            Refused::Version => {
                metrics.frame_refused("version");
                self.is_foreign = true;
                if let Some(frames) = self.foreign.due() {
                    tracing::warn!(frames, "a node of another version is there: what it stores is read from the tables every few seconds");
                }
            }
        }
    }

    /// What is to be made up for now.
    pub fn heal(&mut self) -> Option<Heal> {
        if std::mem::take(&mut self.must_heal) {
            return Some(Heal::Missed);
        }
        let is_due = self.is_foreign && self.foreign_healed.is_none_or(|healed| healed.elapsed() >= FOREIGN);
        if is_due {
            (self.is_foreign, self.foreign_healed) = (false, Some(clock::instant()));
        }
        is_due.then_some(Heal::Foreign)
    }

    /// How far messages had come some beats ago; `newest` when there were none.
    pub fn heard(&self, newest: i64) -> (i64, Timestamp) {
        self.beats.front().copied().unwrap_or_else(|| (newest, clock::now()))
    }

    /// A beat, at which messages have come as far as this.
    pub fn beat(&mut self, newest: i64) {
        self.beats.push_back((newest, clock::now()));
        if self.beats.len() > BEATS {
            self.beats.pop_front();
        }
    }
}

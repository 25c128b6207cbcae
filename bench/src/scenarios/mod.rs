//! What is measured, one file each. A scenario takes the servers in turn, round by round, and returns its tables and the goals it decides.

pub mod chat;
pub mod crowd;
pub mod life;
pub mod lists;
pub mod load;
pub mod single;
pub mod slow_reader;
pub mod soak;

use std::time::Duration;

use anyhow::Result;

use crate::{
    report::{Goal, Table},
    server::Bench,
    services::Databases,
};

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// How often each server has its turn.
    pub rounds: usize,
    /// Pairs that chat.
    pub pairs: usize,
    /// How long a load is measured.
    pub measured: Duration,
    /// The rates of the open loops.
    pub rates: &'static [f64],
    /// Idle connections.
    pub idle: usize,
    /// Users whose presence is told.
    pub present: usize,
    /// Clients that come back at once.
    pub storm: usize,
    /// How long one list is asked for in a turn.
    pub turn: Duration,
    /// Messages in the small and in the large database.
    pub messages: [usize; 2],
    /// Followers of the room with the slow reader.
    pub room: usize,
    /// How long the soak takes.
    pub soak: Duration,
    /// Whether database servers are measured, too.
    pub databases: bool,
}

impl Scale {
    /// For figures.
    pub const FULL: Self = Self {
        rounds: 3,
        pairs: 50,
        measured: Duration::from_millis(2000),
        rates: &[1_000.0, 10_000.0],
        idle: 10_000,
        present: 2_000,
        storm: 5_000,
        turn: Duration::from_millis(250),
        messages: [10_000, 1_000_000],
        room: 1_000,
        soak: Duration::from_secs(30 * 60),
        databases: true,
    };
    /// For correctness in a few seconds.
    pub const QUICK: Self = Self {
        rounds: 1,
        pairs: 10,
        measured: Duration::from_millis(200),
        rates: &[200.0],
        idle: 100,
        present: 50,
        storm: 100,
        turn: Duration::from_millis(20),
        messages: [1_000, 2_000],
        room: 20,
        soak: Duration::from_secs(2),
        databases: false,
    };
}

/// What a scenario found.
#[derive(Default)]
pub struct Findings {
    /// Figures.
    pub tables: Vec<Table>,
    /// Promises.
    pub goals: Vec<Goal>,
}

/// A scenario.
pub struct Scenario {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it does, in a line.
    pub about: &'static str,
    /// Whether it takes so long that it runs only when it is named.
    pub is_long: bool,
    /// Does it.
    pub run: fn(&Bench, &Scale) -> Result<Findings>,
}

/// All of them, in the order in which they run.
pub const ALL: [Scenario; 11] = [
    Scenario {
        name: "chat",
        about: "pairs chat in a closed loop, 1 and 8 messages in flight per sender",
        is_long: false,
        run: load::closed,
    },
    Scenario { name: "open", about: "pairs chat at a constant rate", is_long: false, run: load::open },
    Scenario { name: "single", about: "one message on an idle server, beside one fsync", is_long: false, run: single::run },
    Scenario { name: "idle", about: "memory of connections that do nothing, and how fast they connect", is_long: false, run: crowd::idle },
    Scenario { name: "presence", about: "what users hear of each other while all of them connect", is_long: false, run: crowd::presence },
    Scenario { name: "storm", about: "all clients are cut off and come back at once", is_long: false, run: crowd::storm },
    Scenario { name: "slow-reader", about: "one follower of a large room stops reading", is_long: false, run: slow_reader::run },
    Scenario {
        name: "lists",
        about: "inbox, unread count and history over REST, SQLite, small and large database",
        is_long: false,
        run: lists::sqlite,
    },
    Scenario { name: "databases-chat", about: "the closed loop on MariaDB and PostgreSQL", is_long: false, run: load::databases },
    Scenario { name: "databases-lists", about: "the lists on MariaDB and PostgreSQL", is_long: false, run: lists::databases },
    Scenario {
        name: "soak",
        about: "half an hour of chat, cuts and visitors: nothing is lost, nothing grows",
        is_long: true,
        run: soak::run,
    },
];

/// The database servers, when they are to be measured, too.
fn databases_of(bench: &Bench, scale: &Scale) -> Result<Option<Databases>> {
    scale.databases.then(|| Databases::start(bench)).transpose()
}

//! What the tests share: the server under test, its users and database, and the clients that talk to it. No test stands here.

mod app;
mod database;
mod dice;
mod disk;
mod ear;
pub mod event_document;
mod http;
pub mod legacy;
mod poller;
mod pooler;
mod process;
mod redis;
pub mod rest_document;
mod schema;
mod server;
mod socket;
mod wire;

use std::time::Duration;

pub use app::{SECRET, TestApp, User, id, token};
pub use database::{Database, absent, authorities, backend, is_mysql, server_url, variable};
pub use dice::Dice;
pub use disk::Disk;
pub use ear::Heard;
pub use http::Answer;
pub use poller::{Poller, Websocket, waiting_request};
pub use pooler::Pooler;
pub use process::{Process, program, refusal};
pub use redis::RedisServer;
pub use server::DatabaseServer;
pub use socket::{CUT_OFF, Socket};
pub use wire::{Break, Wire};

/// How long anything may take. Nothing waits this long unless a test fails.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// Settings without any limit that a busy test could meet.
pub const ROOMY: &str = "[limits]
sends = { per_second = 1000000, burst = 1000000 }
events = { per_second = 1000000, burst = 1000000 }
writes = { per_second = 1000000, burst = 1000000 }
searches = { per_second = 1000000, burst = 1000000 }
conversations = 1000000
logins = 1000000
failed_logins = 1000000
guest_events = { per_second = 1000000, burst = 1000000 }
handshakes = { per_second = 1000000, burst = 1000000 }
inbound_bytes = 1000000000
inbound_queue = 100000
outbound_queue = 100000
outbound_bytes = 1000000000
requests_per_user = 1000000
reads_per_user = 1000
outbound_total = 1000000000
writer_queue_per_user = 100000
";

/// Tells the one who runs the tests that something is done in another way, or not at all. It is shown for tests that pass, too.
pub fn say(text: &str) {
    use std::io::Write;
    writeln!(std::io::stderr(), "{text}").ok();
}

/// A moment of the wire as milliseconds, whose form is checked on the way: ISO 8601, UTC, milliseconds, `Z`.
pub fn millis(moment: &serde_json::Value) -> i64 {
    let text = moment.as_str().unwrap_or_else(|| panic!("{moment} is not a moment"));
    assert!(text.len() == 24 && text.ends_with('Z') && text.as_bytes()[19] == b'.', "{text} has another form");
    chrono::DateTime::parse_from_rfc3339(text).unwrap_or_else(|e| panic!("{text}: {e}")).timestamp_millis()
}

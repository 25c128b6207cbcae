//! What is counted of one socket, for the one line in the log that its end leaves there; and how many of its failures are logged, and how many
//! lines of one address there are, so that a flood of them is not a flood of lines.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use entity::UserId;
use socketioxide::socket::DisconnectReason;
use tokio::time::Instant;

use super::{Conn, Context};
use crate::clock;
use crate::limits::network_of;

/// The life of a socket in numbers.
pub struct Tally {
    began: Instant,
    /// Events that it sent.
    heard: AtomicU64,
    /// Packets that were sent to it.
    told: AtomicU64,
    /// Why the server ended it.
    ended: OnceLock<&'static str>,
    failures: Mutex<Failures>,
}

struct Failures {
    all: u64,
    /// Lines that may be logged since `since`.
    since: Instant,
    lines: u32,
    suppressed: u64,
}

/// So many failures of a socket are logged in this time, and how many others there were is said beside the next.
const LINES: u32 = 10;
const WINDOW: Duration = Duration::from_secs(60);

impl Default for Tally {
    fn default() -> Self {
        let began = clock::instant();
        let failures = Mutex::new(Failures { all: 0, since: began, lines: 0, suppressed: 0 });
        let (heard, told) = Default::default();
        Self { began, heard, told, ended: OnceLock::new(), failures }
    }
}

/// What a life came to.
pub struct Sum {
    /// How long it was.
    pub life: Duration,
    /// Events that it sent.
    pub heard: u64,
    /// Packets that were sent to it.
    pub told: u64,
    /// Events that failed.
    pub failed: u64,
    /// Those of them that were not logged, and not counted in a line that was.
    pub suppressed: u64,
}

impl Tally {
    /// It has sent an event.
    pub fn hear(&self) {
        self.heard.fetch_add(1, Ordering::Relaxed);
    }

    /// It was sent packets.
    pub fn tell(&self, packets: usize) {
        self.told.fetch_add(packets as u64, Ordering::Relaxed);
    }

    /// The server ends it, for the first reason that is given.
    pub fn end(&self, reason: &'static str) {
        self.ended.set(reason).ok();
    }

    /// Why the server ended it, if it did.
    pub fn ended(&self) -> Option<&'static str> {
        self.ended.get().copied()
    }

    /// One of its events has failed. When that may be logged: how many before it were not.
    pub fn fail(&self) -> Option<u64> {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.all += 1;
        if failures.since.elapsed() >= WINDOW {
            (failures.since, failures.lines) = (clock::instant(), 0);
        }
        if failures.lines >= LINES {
            failures.suppressed += 1;
            return None;
        }
        failures.lines += 1;
        Some(std::mem::take(&mut failures.suppressed))
    }

    /// What it came to.
    pub fn sum(&self) -> Sum {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let count = |number: &AtomicU64| number.load(Ordering::Relaxed);
        Sum {
            life: self.began.elapsed(),
            heard: count(&self.heard),
            told: count(&self.told),
            failed: failures.all,
            suppressed: failures.suppressed,
        }
    }
}

/// So many lines of an address are logged in a [`WINDOW`].
const LINES_OF_ADDRESS: u64 = 1000;

/// How many lines the sockets of each address have left in the log lately.
#[derive(Default)]
pub struct Lines(Mutex<HashMap<IpAddr, (Instant, u64)>>);

impl Lines {
    /// Whether one more may be logged; it is counted in any case.
    pub fn may_add(&self, address: IpAddr) -> bool {
        let mut addresses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, lines) = addresses.entry(network_of(address)).or_insert_with(|| (clock::instant(), 0));
        *lines += 1;
        *lines <= LINES_OF_ADDRESS
    }

    /// The addresses whose time is over, and how many of their lines were not logged in it. To be called now and then.
    pub fn left_out(&self) -> Vec<(IpAddr, u64)> {
        let mut addresses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let over = addresses.extract_if(|_, (since, _)| since.elapsed() >= WINDOW);
        over.map(|(address, (_, lines))| (address, lines.saturating_sub(LINES_OF_ADDRESS))).filter(|(_, lines)| *lines > 0).collect()
    }
}

/// Why a socket is gone, when the server has not ended it.
pub fn word(reason: DisconnectReason) -> &'static str {
    match reason {
        DisconnectReason::ClientNSDisconnect => "client_left",
        DisconnectReason::TransportClose => "transport_closed",
        DisconnectReason::TransportError => "transport_error",
        DisconnectReason::HeartbeatTimeout => "heartbeat_timeout",
        DisconnectReason::MultipleHttpPollingError | DisconnectReason::PacketParsingError => "malformed",
        DisconnectReason::ServerNSDisconnect | DisconnectReason::ClosingServer => "server_left",
    }
}

/// Counts the end of a socket, and says in the log what its life came to.
pub fn report(context: &Context, conn: &Conn, user: Option<UserId>, transport: &'static str) {
    let (reason, sum) = (conn.tally.ended().unwrap_or_default(), conn.tally.sum());
    context.metrics.ended(reason);
    if !context.hub.lines.may_add(conn.visitor.address) {
        return;
    }
    tracing::info!(
        socket = conn.id.0,
        user = user.map(|user| user.0),
        kind = conn.kind(),
        transport,
        address = %conn.visitor.address,
        reason,
        seconds = sum.life.as_secs_f64(),
        events_in = sum.heard,
        packets_out = sum.told,
        failed = sum.failed,
        suppressed = sum.suppressed,
        "a socket is gone"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_failures_leaves_few_lines_and_its_number() {
        let tally = Tally::default();
        let logged: Vec<u64> = (0..1000).filter_map(|_| tally.fail()).collect();
        assert_eq!(logged, vec![0; LINES as usize]);
        tokio::time::advance(WINDOW).await;
        assert_eq!((tally.fail(), tally.fail()), (Some(990), Some(0)));
        assert_eq!((tally.sum().failed, tally.sum().suppressed), (1002, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_leaves_so_many_lines_and_the_number_of_the_others() {
        let (lines, flood, other) = (Lines::default(), IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        assert_eq!((0..5000).filter(|_| lines.may_add(flood)).count(), 1000);
        assert!(lines.may_add(other) && lines.left_out().is_empty());
        tokio::time::advance(WINDOW).await;
        assert_eq!(lines.left_out(), [(flood, 4000)]);
        assert!(lines.may_add(flood));
    }
}

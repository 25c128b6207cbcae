//! The lists that pages ask for over REST, in a small and in a large database side by side: what a growing history costs.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::{Findings, Scale, databases_of};
use crate::{
    database::Database,
    progress,
    report::{Goal, Table},
    rest::Rest,
    server::{Bench, Kind, Server},
    services::Databases,
    token,
};

/// The inbox of user 1 has so many conversations, with so many unread messages each.
const CONVERSATIONS: usize = 100;
const UNREAD: usize = 5;
/// How many turns each list has, small and large database by turns.
const TURNS: usize = 5;

const LISTS: [(&str, &str); 3] = [
    ("inbox of 100 conversations", "/api/messaging/conversations"),
    ("unread count", "/api/messaging/unread-count"),
    ("history, newest 50", "/api/messaging/conversations/50/messages?limit=50"),
];
const COLUMNS: [&str; 6] = ["small: ms", "small: CPU ms", "large: ms", "large: CPU ms", "large/small, time", "large/small, CPU"];

fn fill(messages: usize) -> impl Fn(&mut Database) -> Result<()> {
    move |database| {
        let pairs: Vec<_> = (2..CONVERSATIONS + 2).map(|other| (1, other)).collect();
        database.fill(CONVERSATIONS + 1, &pairs)?;
        // Those that are unread are the oldest: user 1 receives every other turn.
        database.fill_messages(0, messages, CONVERSATIONS, 2 * UNREAD)
    }
}

/// A server with its connection, and how to ask for the processor time of all that work for it.
struct Side<'a> {
    server: Server,
    rest: Rest,
    databases: Option<&'a Databases>,
}

impl<'a> Side<'a> {
    fn new(server: Server, databases: Option<&'a Databases>) -> Result<Self> {
        let rest = Rest::connect(server.address)?;
        Ok(Self { server, rest, databases })
    }

    fn cpu(&self) -> Duration {
        self.server.cpu() + self.databases.map_or(Duration::ZERO, Databases::cpu)
    }

    /// Asks for a list over and over, and returns ms per request: time and processor.
    fn ask(&mut self, path: &str, token: &str, time: Duration) -> Result<(f64, f64)> {
        let (start, cpu) = (Instant::now(), self.cpu());
        let mut took = Vec::new();
        while start.elapsed() < time {
            let one = Instant::now();
            self.rest.get(path, token)?;
            took.push(one.elapsed().as_secs_f64() * 1000.0);
        }
        Ok((crate::samples::median(&took), (self.cpu() - cpu).as_secs_f64() * 1000.0 / took.len() as f64))
    }

    /// Checks that the lists say what was stored.
    fn check(&mut self, token: &str, messages: usize) -> Result<()> {
        let json = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes);
        let inbox = json(self.rest.get(LISTS[0].1, token)?)?;
        let rows = inbox.as_array().map_or(&[][..], Vec::as_slice);
        ensure!(rows.len() == CONVERSATIONS, "the inbox has {} rows", rows.len());
        ensure!(rows.iter().all(|row| row["unread_count"] == UNREAD), "unread counts are wrong: {}", rows[0]);
        let last = |row: &serde_json::Value| row["last_message"].as_str().and_then(|t| t.split(' ').nth(1)?.parse::<usize>().ok());
        ensure!(rows.iter().all(|row| last(row) >= Some(messages - CONVERSATIONS)), "a last message is not the last: {}", rows[0]);
        let unread = json(self.rest.get(LISTS[1].1, token)?)?;
        ensure!(unread["unreadCount"] == CONVERSATIONS * UNREAD, "the unread count is {unread}");
        let history = json(self.rest.get(LISTS[2].1, token)?)?;
        let rows = history.as_array().map_or(&[][..], Vec::as_slice);
        let each = messages / CONVERSATIONS;
        ensure!(rows.len() == each.min(50), "the history has {} messages", rows.len());
        let ids: Vec<_> = rows.iter().filter_map(|row| row["id"].as_i64()).collect();
        ensure!(ids.is_sorted() && ids.last() == Some(&((messages - CONVERSATIONS + 50) as i64)), "the history ends with {:?}", ids.last());
        Ok(())
    }
}

fn measure(table: &mut Table, row: &str, sides: [Side<'_>; 2], scale: &Scale, goals: bool, findings: &mut Findings) -> Result<()> {
    let token = token::sign(1);
    let [mut small, mut large] = sides;
    small.check(&token, scale.messages[0])?;
    large.check(&token, scale.messages[1])?;
    for (list, path) in LISTS {
        let row = format!("{row}: {list}");
        small.ask(path, &token, scale.turn)?;
        large.ask(path, &token, scale.turn)?;
        for _ in 0..if goals { TURNS } else { 1 } {
            let (a, b) = (small.ask(path, &token, scale.turn)?, large.ask(path, &token, scale.turn)?);
            table.add(&row, &[a.0, a.1, b.0, b.1, b.0 / a.0, b.1 / a.1]);
        }
        progress(&format!("lists: {row} {}", table.cell(&row, 4).map(ToString::to_string).unwrap_or_default()));
        if goals && let Some(ratio) = table.cell(&row, 5) {
            findings.goals.push(Goal::at_most(&format!("CPU at 1 M messages over 10 000: {row}"), 1.5, "×", ratio));
        }
    }
    Ok(())
}

fn table(scale: &Scale, what: &str) -> Table {
    let [small, large] = scale.messages;
    let mut table = Table::new(&format!("Lists over REST, {small} and {large} messages: {what}"), &COLUMNS);
    table.note(
        "All messages are in the 100 conversations of the user who asks. One request at a time; CPU is the server's and its database's.",
    );
    table
}

/// On SQLite, and the peer.
pub fn sqlite(bench: &Bench, scale: &Scale) -> Result<Findings> {
    let mut findings = Findings::default();
    let templates = [bench.template("small", fill(scale.messages[0]))?, bench.template("large", fill(scale.messages[1]))?];
    progress("lists: SQLite is filled");
    let mut table = table(scale, "SQLite");
    for kind in bench.kinds_without_store() {
        let [small, large] = [0, 1].map(|n| bench.start_on(kind, &templates[n]).and_then(|server| Side::new(server, None)));
        let goals = scale.databases && kind == Kind::Tidings;
        measure(&mut table, kind.name(), [small?, large?], scale, goals, &mut findings)?;
    }
    findings.tables.push(table);
    Ok(findings)
}

/// On database servers.
pub fn databases(bench: &Bench, scale: &Scale) -> Result<Findings> {
    let Some(databases) = databases_of(bench, scale)? else { return Ok(Findings::default()) };
    let mut findings = Findings::default();
    let mut table = table(scale, "database servers");
    for (kind, _) in &databases.urls {
        let small = databases.create(bench, kind, "small", fill(scale.messages[0]))?;
        let large = databases.create(bench, kind, "large", fill(scale.messages[1]))?;
        progress(&format!("lists: {kind} is filled"));
        let sides = [Side::new(bench.start_url(&small)?, Some(&databases))?, Side::new(bench.start_url(&large)?, Some(&databases))?];
        measure(&mut table, &format!("tidings on {kind}"), sides, scale, true, &mut findings)?;
    }
    findings.tables.push(table);
    Ok(findings)
}

//! Many clients at once: idle ones, ones that hear of each other, ones that were cut off and come back.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use super::{Findings, Scale};
use crate::{
    progress,
    report::{Goal, Table},
    server::{Bench, Kind},
    swarm::{Client, Ear, Heard, Mouth, Swarm},
    token,
};

/// How long a crowd may take for anything.
const PATIENCE: Duration = Duration::from_secs(90);
/// So many connect at the same time, when it is no storm.
const AT_ONCE: usize = 64;
/// How far apart in the order of connecting contacts are at least.
const APART: usize = 97;

/// What a crowd has done and heard.
struct Crowd {
    /// Whether each has connected.
    connected: Vec<bool>,
    arrived: usize,
    acks: usize,
    gone: usize,
    refused: Option<String>,
    events: u64,
    event_bytes: u64,
    last_event: Instant,
    /// The newest list of contacts that each has heard.
    lists: Vec<Vec<u8>>,
    /// What each says when it has connected, and for which it gets an ack.
    greets: fn(usize) -> Option<String>,
    /// The private id that each was offered.
    pids: Vec<Option<String>>,
}

impl Crowd {
    fn new(size: usize, greets: fn(usize) -> Option<String>) -> Self {
        Self {
            connected: vec![false; size],
            arrived: 0,
            acks: 0,
            gone: 0,
            refused: None,
            events: 0,
            event_bytes: 0,
            last_event: Instant::now(),
            lists: vec![Vec::new(); size],
            greets,
            pids: vec![None; size],
        }
    }
}

impl Ear for Crowd {
    fn hear(&mut self, mouth: &mut Mouth, socket: usize, heard: Heard<'_>) {
        match heard {
            Heard::Connected(answer) => {
                if let Some(pid) = std::str::from_utf8(answer).ok().and_then(|a| a.split_once("\"pid\":\"")?.1.split('"').next()) {
                    self.pids[socket] = Some(pid.to_owned());
                }
                if !std::mem::replace(&mut self.connected[socket], true) {
                    self.arrived += 1;
                    if let Some(packet) = (self.greets)(socket) {
                        mouth.say(socket, packet.as_bytes());
                    }
                }
            }
            Heard::Ack(array) => match memchr::memmem::find(array, b"\"ok\":true") {
                Some(_) => self.acks += 1,
                None => self.refused = Some(String::from_utf8_lossy(array).into_owned()),
            },
            Heard::Event(array) => {
                self.events += 1;
                self.event_bytes += array.len() as u64 + 2;
                self.last_event = Instant::now();
                if let Some(list) = array.strip_prefix(b"[\"online-users\",") {
                    self.lists[socket] = list.to_owned();
                }
            }
            Heard::Refused(why) => self.refused = Some(String::from_utf8_lossy(why).into_owned()),
            Heard::Closed => self.gone += 1,
        }
    }
}

/// Connects users 1 to `size`, a few at a time, and returns the time it took.
fn connect(swarm: &mut Swarm, crowd: &mut Crowd, size: usize, auth: &str) -> Result<Duration> {
    let start = Instant::now();
    while crowd.arrived < size {
        ensure!(start.elapsed() < PATIENCE, "{} of {size} connected in {PATIENCE:?}", crowd.arrived);
        ensure!(crowd.gone == 0 && crowd.refused.is_none(), "{} were closed, refused: {:?}", crowd.gone, crowd.refused);
        while swarm.len() < size && swarm.len() < crowd.arrived + AT_ONCE {
            let client = Client { token: token::sign(swarm.len() as i64 + 1), auth: auth.to_owned(), receive_buffer: None };
            swarm.add(&client)?;
        }
        swarm.turn(Duration::from_millis(5), crowd)?;
    }
    Ok(start.elapsed())
}

fn settle(swarm: &mut Swarm, crowd: &mut Crowd, time: Duration) -> Result<()> {
    let end = Instant::now() + time;
    while Instant::now() < end {
        swarm.turn(Duration::from_millis(10), crowd)?;
    }
    Ok(())
}

/// Connections that do nothing.
pub fn idle(bench: &Bench, scale: &Scale) -> Result<Findings> {
    let size = scale.idle;
    let template = bench.template("idle", |database| database.fill(size, &[]))?;
    let mut table =
        Table::new(&format!("{size} idle connections"), &["KB each", "connects/s", "CPU µs/connect", "server's memory before, MB"]);
    table.note("Each is another user with a token, over WebSocket. Memory is the resident set, read after the peer has collected its garbage; at the end each connection is asked for a sign of life.");
    let kinds = bench.kinds_without_store();
    for round in 0..scale.rounds.min(2) {
        for kind in &kinds {
            let (server, _) = bench.start(*kind, &template)?;
            let mut swarm = Swarm::new(server.address)?;
            let mut crowd = Crowd::new(size, |_| None);
            let (before, cpu) = (server.memory(), server.cpu());
            let took = connect(&mut swarm, &mut crowd, size, "").context(kind.name())?;
            let cpu = server.cpu() - cpu;
            settle(&mut swarm, &mut crowd, Duration::from_millis(500))?;
            server.collect_garbage(*kind);
            let each = server.memory().saturating_sub(before) as f64 / size as f64 / 1000.0;
            for socket in 0..size {
                swarm.mouth.say(socket, br#"421["user-online",null]"#);
            }
            swarm.turn_until(PATIENCE, "an answer on each connection", &mut crowd, |crowd| crowd.acks == size).context(kind.name())?;
            let rate = size as f64 / took.as_secs_f64();
            progress(&format!("idle, round {}: {} {each:.1} KB each, {rate:.0} connects/s", round + 1, kind.name()));
            table.add(kind.name(), &[each, rate, cpu.as_secs_f64() * 1e6 / size as f64, before as f64 / 1e6]);
        }
    }
    let mut findings = Findings::default();
    if let Some(ratio) = table.ratio("tidings", Kind::Grouped.name(), 0) {
        findings.goals.push(Goal::at_most("memory of an idle connection: tidings over the peer", 1.0, "×", &ratio));
    }
    findings.tables.push(table);
    Ok(findings)
}

/// Users who have conversations with each other connect one after the other.
pub fn presence(bench: &Bench, scale: &Scale) -> Result<Findings> {
    let size = scale.present;
    let mut findings = Findings::default();
    for contacts in [2, 10] {
        // In a circle, so that each has as many contacts before as behind, and not next to each other, who would come at the same time.
        let ring: Vec<_> =
            (1..=size).flat_map(|user| (1..=contacts / 2).map(move |step| (user, (user - 1 + APART * step) % size + 1))).collect();
        let template = bench.template(&format!("presence{contacts}"), |database| database.fill(size, &ring))?;
        let title = format!("{size} users with {contacts} contacts each connect");
        let mut table = Table::new(&title, &["MB of events", "events", "seconds", "CPU ms"]);
        table.note("Events are `online-users`, `user-status-changed` and `user-online`, as they stand on the wire. At the end each user has heard that all contacts are online.");
        for round in 0..scale.rounds.min(2) {
            for kind in bench.kinds_without_store() {
                let (server, _) = bench.start(kind, &template)?;
                let mut swarm = Swarm::new(server.address)?;
                let mut crowd = Crowd::new(size, |_| None);
                let (start, cpu) = (Instant::now(), server.cpu());
                connect(&mut swarm, &mut crowd, size, "").context(kind.name())?;
                let knows_all = |list: &Vec<u8>| list.iter().filter(|b| **b == b',').count() + 1 == contacts && list.len() > 3;
                swarm.turn_until(PATIENCE, "that everybody knows who is online", &mut crowd, |crowd| crowd.lists.iter().all(knows_all))?;
                settle(&mut swarm, &mut crowd, Duration::from_millis(300))?;
                let (seconds, megabytes) = ((crowd.last_event - start).as_secs_f64(), crowd.event_bytes as f64 / 1e6);
                progress(&format!("presence, {contacts} contacts, round {}: {} {megabytes:.2} MB", round + 1, kind.name()));
                table.add(kind.name(), &[megabytes, crowd.events as f64, seconds, (server.cpu() - cpu).as_secs_f64() * 1000.0]);
            }
        }
        if let Some(bytes) = table.cell("tidings", 0).filter(|_| size == Scale::FULL.present) {
            findings.goals.push(Goal::at_most(
                &format!("presence events when {size} users with {contacts} contacts connect"),
                1.0,
                " MB",
                bytes,
            ));
        }
        findings.tables.push(table);
    }
    Ok(findings)
}

/// All clients are cut off and come back at once.
pub fn storm(bench: &Bench, scale: &Scale) -> Result<Findings> {
    let size = scale.storm;
    let pairs: Vec<_> = (0..size / 2).map(|n| (2 * n + 1, 2 * n + 2)).collect();
    let template = bench.template("storm", |database| database.fill(size, &pairs))?;
    let mut table = Table::new(&format!("{size} clients are cut off and come back at once"), &["seconds", "CPU ms", "clients/s"]);
    table.note("Each opens a WebSocket, proves who it is, joins its conversation and waits for the answer. The second row of tidings has the clients ask for recovery, as browsers do: what they follow is stored, and they come back with a private id and are told what they missed. The peer has no such thing.");
    for round in 0..scale.rounds {
        for kind in bench.kinds_without_store() {
            for recovers in [false, true] {
                if recovers && kind != Kind::Tidings {
                    continue;
                }
                let (server, _) = bench.start(kind, &template)?;
                let row = if recovers { "tidings, with recovery" } else { kind.name() };
                let (seconds, cpu) = storm_once(server.address, size, recovers, || server.cpu()).context(row)?;
                progress(&format!("storm, round {}: {row} {seconds:.2} s", round + 1));
                table.add(row, &[seconds, cpu.as_secs_f64() * 1000.0, size as f64 / seconds]);
            }
        }
    }
    let mut findings = Findings::default();
    for row in ["tidings", "tidings, with recovery"] {
        if let Some(ratio) = table.ratio(Kind::Grouped.name(), row, 0) {
            findings.goals.push(Goal::at_least(&format!("storm: how much faster {row} is than the peer"), 5.0, "×", &ratio));
        }
    }
    findings.tables.push(table);
    Ok(findings)
}

fn storm_once(server: SocketAddr, size: usize, recovers: bool, cpu: impl Fn() -> Duration) -> Result<(f64, Duration)> {
    let greet: fn(usize) -> Option<String> = |socket| Some(format!(r#"421["join-conversation",{}]"#, socket % (1 << 20) / 2 + 1));
    let auth = if recovers { ",\"recovery\":true" } else { "" };
    let mut crowd = Crowd::new(size, greet);
    let mut swarm = Swarm::new(server)?;
    connect(&mut swarm, &mut crowd, size, auth)?;
    let offered = |crowd: &Crowd| !recovers || crowd.pids.iter().all(Option::is_some);
    swarm.turn_until(PATIENCE, "the first joining", &mut crowd, |crowd| crowd.acks == size && offered(crowd))?;
    settle(&mut swarm, &mut crowd, Duration::from_millis(300))?;

    let pids = std::mem::take(&mut crowd.pids);
    let (cpu_before, start) = (cpu(), Instant::now());
    for socket in 0..size {
        swarm.cut(socket);
    }
    drop(swarm);
    let mut swarm = Swarm::new(server)?;
    let mut crowd = Crowd::new(size, greet);
    for (at, pid) in pids.into_iter().enumerate() {
        let pid = pid.filter(|_| recovers).map(|pid| format!(",\"pid\":\"{pid}\"")).unwrap_or_default();
        swarm.add(&Client { token: token::sign(at as i64 + 1), auth: format!("{auth}{pid}"), receive_buffer: None })?;
    }
    swarm.turn_until(PATIENCE, "coming back", &mut crowd, |crowd| crowd.acks == size || crowd.gone > 0 || crowd.refused.is_some())?;
    ensure!(crowd.acks == size, "{} were closed, refused: {:?}", crowd.gone, crowd.refused);
    Ok((start.elapsed().as_secs_f64(), cpu() - cpu_before))
}

//! One follower of a large room stops reading while much is sent to it: what the others notice, and what the server keeps for it.

use std::{
    io::Write,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use super::{Findings, Scale};
use crate::{
    progress,
    report::{Goal, Table},
    samples::percentile,
    server::{Bench, Kind, Server},
    swarm::{Client, Ear, Heard, Mouth, Swarm, number_in},
    token,
};

/// Messages a second to the large room.
const RATE: f64 = 10.0;
/// How many messages go to the slow reader alone, how long each is, and how many are under way at most: together more than the system buffers
/// and the server's queue take.
const FLOOD: usize = 8_000;
const FLOOD_BYTES: usize = 2_000;
const FLOOD_IN_FLIGHT: usize = 8;
/// A server that is slower than that is flooded with less.
const FLOOD_TIME: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(30);

struct Room {
    joined: usize,
    moments: Vec<Instant>,
    late: Vec<u32>,
    heard: Vec<usize>,
    flood_heard: usize,
    /// Whether the connection of the slow reader has ended.
    slow_gone: bool,
    trouble: Option<String>,
    slow: usize,
}

impl Ear for Room {
    fn hear(&mut self, mouth: &mut Mouth, socket: usize, heard: Heard<'_>) {
        match heard {
            // Socket 0 writes to the room, the last but one floods; the last is to be slow, and follows both conversations.
            Heard::Connected(_) if socket == self.slow => mouth.say(socket, br#"421["join-conversation",[1,2]]"#),
            Heard::Connected(_) => {
                mouth.say(socket, format!(r#"421["join-conversation",{}]"#, if socket + 1 == self.slow { 2 } else { 1 }).as_bytes())
            }
            Heard::Ack(..) => self.joined += 1,
            Heard::Event(array) if array.starts_with(b"[\"message-received\"") => {
                let after = |key: &[u8]| memchr::memmem::find(array, key).and_then(|at| number_in(&array[at + key.len()..]));
                let (conversation, number) = (after(b"\"conversation_id\":"), after(b"\"message_text\":\"").unwrap_or(u64::MAX) as usize);
                if conversation == Some(2) {
                    self.flood_heard += usize::from(socket != self.slow);
                    return;
                }
                if number != self.heard[socket] {
                    self.trouble.get_or_insert(format!("socket {socket} heard {number} after {}", self.heard[socket]));
                }
                self.heard[socket] = number + 1;
                if socket != self.slow {
                    let late = self.moments.get(number).map_or(0, |at| at.elapsed().as_micros());
                    self.late.push(u32::try_from(late).unwrap_or(u32::MAX));
                }
            }
            Heard::Event(array) if array.starts_with(b"[\"error\"") => self.trouble = Some(String::from_utf8_lossy(array).into_owned()),
            Heard::Event(_) => {}
            Heard::Closed if socket == self.slow => self.slow_gone = true,
            other => self.trouble = Some(format!("socket {socket}: {other:?}")),
        }
    }
}

/// The scenario.
pub fn run(bench: &Bench, scale: &Scale) -> Result<Findings> {
    let followers = scale.room;
    // User 1 writes to the room, whose other user, 2, has all the followers. The slow socket is user 1's, too, and user 3 floods it in
    // conversation 2.
    let template = bench.template("slow", |database| database.fill(3, &[(1, 2), (1, 3)]))?;
    let columns = ["p50 ms", "p99 ms", "greatest ms", "memory grows by MB", "cut off, %"];
    let mut table = Table::new(&format!("A slow reader in a room of {followers}"), &columns);
    table.note(format!(
        "{RATE} messages a second to all, and {FLOOD} of {FLOOD_BYTES} bytes, {FLOOD_IN_FLIGHT} in flight, to the one that is to be slow, which reads in the first row and stops reading in \
         the second. Latencies are those of the others. A server that cuts it off loses nothing: the client comes back and recovers; one that does not keeps \
         everything in memory."
    ));
    for round in 0..scale.rounds.min(2) {
        for kind in bench.kinds_without_store() {
            for is_slow in [false, true] {
                let (server, _) = bench.start(kind, &template)?;
                let row = format!("{}, {}", kind.name(), if is_slow { "it stops reading" } else { "it reads" });
                let figures = run_once(&server, kind, followers, scale.measured * 2, is_slow).context(row.clone())?;
                progress(&format!("slow reader, round {}: {row} p99 {:.1} ms, {:.1} MB", round + 1, figures[1], figures[3]));
                table.add(&row, &figures);
            }
        }
    }
    let mut goals = Vec::new();
    if let Some(ratio) = table.ratio("tidings, it stops reading", "tidings, it reads", 1) {
        goals.push(Goal::at_most("p99 of the others in a room, when one stops reading", 1.2, "×", &ratio));
    }
    Ok(Findings { tables: vec![table], goals })
}

fn run_once(server: &Server, kind: Kind, followers: usize, measured: Duration, is_slow: bool) -> Result<[f64; 5]> {
    let slow = followers + 2;
    let mut room = Room {
        joined: 0,
        moments: Vec::new(),
        late: Vec::new(),
        heard: vec![0; slow + 1],
        flood_heard: 0,
        slow_gone: false,
        trouble: None,
        slow,
    };
    let mut swarm = Swarm::new(server.address)?;
    for socket in 0..=slow {
        let user = if socket == 0 || socket == slow {
            1
        } else if socket == slow - 1 {
            3
        } else {
            2
        };
        let receive_buffer = (socket == slow).then_some(16 * 1024);
        swarm.add(&Client { token: token::sign(user), receive_buffer, ..Client::default() })?;
        if socket % 32 == 0 {
            swarm.turn_until(PATIENCE, "joining", &mut room, |room| room.joined + 32 > socket || room.trouble.is_some())?;
        }
    }
    swarm.turn_until(PATIENCE, "joining", &mut room, |room| room.joined == slow + 1 || room.trouble.is_some())?;
    ensure!(room.trouble.is_none(), "{:?}", room.trouble);
    if is_slow {
        swarm.deafen(slow);
    }
    server.collect_garbage(kind);
    let (before, mut most) = (server.memory(), 0);
    let (start, mut flooded, mut looked) = (Instant::now(), 0, Instant::now());
    let filler = "x".repeat(FLOOD_BYTES);
    let mut packet = Vec::new();
    let flood = if followers == Scale::FULL.room { FLOOD } else { 100 };
    while start.elapsed() < measured || (flooded < flood && start.elapsed() < FLOOD_TIME) {
        let due = start + Duration::from_secs_f64(room.moments.len() as f64 / RATE);
        if due <= Instant::now() {
            let number = room.moments.len();
            room.moments.push(due);
            swarm.mouth.say(0, format!(r#"42["send-message",{{"conversationId":1,"message":"{number:010} to all"}}]"#).as_bytes());
        }
        while flooded < flood && flooded - room.flood_heard < FLOOD_IN_FLIGHT {
            packet.clear();
            write!(packet, r#"42["send-message",{{"conversationId":2,"message":"{flooded:010} {filler}"}}]"#)?;
            swarm.mouth.say(slow - 1, &packet);
            flooded += 1;
        }
        if looked.elapsed() > Duration::from_millis(100) {
            looked = Instant::now();
            most = most.max(server.memory());
        }
        swarm.turn(Duration::from_micros(200), &mut room)?;
        ensure!(room.trouble.is_none(), "{:?}", room.trouble);
    }
    let sent = room.moments.len();
    let others = move |room: &Room| room.heard[..=followers].iter().all(|n| *n == sent) && room.flood_heard == flooded;
    swarm.turn_until(PATIENCE, "what was sent to the others", &mut room, |room| others(room) || room.trouble.is_some())?;
    most = most.max(server.memory());
    // What the slow one was sent lies in the buffers; at their end is the end of the connection, or there is none.
    swarm.undeafen(slow, &mut room);
    let end = Instant::now() + PATIENCE;
    while !room.slow_gone && room.heard[slow] < sent && Instant::now() < end {
        swarm.turn(Duration::from_millis(10), &mut room)?;
    }
    ensure!(room.trouble.is_none(), "{:?}", room.trouble);
    ensure!(
        room.slow_gone || room.heard[slow] == sent,
        "the slow reader heard {} of {sent} messages and was not cut off",
        room.heard[slow]
    );
    room.late.sort_unstable();
    let late = |share| percentile(&room.late, share) / 1000.0;
    Ok([late(0.5), late(0.99), late(1.0), most.saturating_sub(before) as f64 / 1e6, if room.slow_gone { 100.0 } else { 0.0 }])
}

//! One message at a time on an idle server, beside one fsync on the same disk: how much is the server's, how much the disk's.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::{Findings, Scale};
use crate::{
    machine::{PAUSE, fsync, milliseconds},
    progress,
    report::{Goal, Table},
    samples::{Samples, percentile},
    server::{Bench, Kind},
    swarm::{Client, Ear, Heard, Mouth, Swarm},
    token,
};

#[derive(Default)]
struct Pair {
    joined: usize,
    heard: usize,
    at: Option<Instant>,
    gone: bool,
}

impl Ear for Pair {
    fn hear(&mut self, mouth: &mut Mouth, socket: usize, heard: Heard<'_>) {
        match heard {
            Heard::Connected(_) => mouth.say(socket, br#"421["join-conversation",1]"#),
            Heard::Ack(..) => self.joined += 1,
            Heard::Event(array) if array.starts_with(b"[\"message-received\"") => {
                self.heard += 1;
                if socket == 1 {
                    self.at = Some(Instant::now());
                }
            }
            Heard::Event(_) => {}
            Heard::Refused(_) | Heard::Closed => self.gone = true,
        }
    }
}

/// The scenario.
pub fn run(bench: &Bench, scale: &Scale) -> Result<Findings> {
    let messages = if scale.rounds == 1 { 20 } else { 200 };
    let template = bench.template("single", |database| database.fill(2, &[(1, 2)]))?;
    let mut table = Table::new("A single message on an idle server", &["p50 ms", "p99 ms", "p50 over fsync"]);
    table.note(
        "From sending until the other user hears. `fsync` writes a page and waits for the disk, in the same folder and the same round. Both happen once in \
         three milliseconds.",
    );
    let mut above = Samples::default();
    for round in 0..scale.rounds {
        let mut synced: Vec<u32> = fsync(bench.work.path(), messages)?.iter().map(|us| *us as u32).collect();
        synced.sort_unstable();
        let disk = percentile(&synced, 0.5) / 1000.0;
        table.add("fsync alone", &[disk, percentile(&synced, 0.99) / 1000.0, 1.0]);
        for kind in bench.kinds() {
            let (server, _) = bench.start(kind, &template)?;
            let mut swarm = Swarm::new(server.address)?;
            let mut pair = Pair::default();
            for user in 1..=2 {
                swarm.add(&Client { token: token::sign(user), ..Client::default() })?;
            }
            swarm.turn_until(Duration::from_secs(10), "joining", &mut pair, |pair| pair.joined == 2)?;
            let mut late = Vec::new();
            for n in 0..messages + 20 {
                let packet =
                    format!(r#"42["send-message",{{"conversationId":1,"message":"message {n}","tempId":"temp-{}"}}]"#, milliseconds());
                pair.at = None;
                let start = Instant::now();
                swarm.mouth.say(0, packet.as_bytes());
                while pair.at.is_none() || pair.heard < 2 * (n + 1) {
                    ensure!(!pair.gone && start.elapsed() < Duration::from_secs(10), "{}: message {n} was lost", kind.name());
                    // It sleeps meanwhile: the kernel's threads that write to the disk may need its core.
                    swarm.turn(Duration::from_millis(1), &mut pair)?;
                }
                let took = pair.at.map_or(0, |at| (at - start).as_micros());
                // The first ones warm it up.
                if n >= 20 {
                    late.push(u32::try_from(took)?);
                }
                let pause = Instant::now() + PAUSE;
                while Instant::now() < pause {
                    swarm.turn(Duration::from_millis(1), &mut pair)?;
                }
            }
            late.sort_unstable();
            let p50 = percentile(&late, 0.5) / 1000.0;
            progress(&format!("single, round {}: {} {p50:.3} ms, fsync {disk:.3} ms", round + 1, kind.name()));
            table.add(kind.name(), &[p50, percentile(&late, 0.99) / 1000.0, p50 / disk]);
            if kind == Kind::Tidings {
                above.0.push(p50 - disk);
            }
        }
    }
    let goal = Goal::at_most("a single message on an idle server: tidings above one fsync", 1.0, " ms", &above);
    Ok(Findings { tables: vec![table], goals: vec![goal] })
}

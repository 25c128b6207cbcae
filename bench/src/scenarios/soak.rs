//! Half an hour of everyday life: pairs chat while their connections are cut and come back, visitors come and go, pages ask for lists. What must
//! hold: each message is heard once and in order by both, and after a warm-up neither memory nor open files drift.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::{Findings, Scale, life::Life, load};
use crate::{
    database::Database,
    progress,
    report::{Goal, Table},
    rest::Rest,
    samples::{Samples, median},
    server::{Bench, Kind},
    swarm::Swarm,
    token,
};

/// Messages a second of each pair, beside one visitor for five users.
const RATE: f64 = 2.0;
const VISITORS: usize = 5;
/// How often a page asks for a list, how many times figures are taken, and how many rows they make.
const ASKING: Duration = Duration::from_millis(200);
const SAMPLES: u32 = 360;
const WINDOWS: u32 = 12;
/// What comes first fills caches: it does not count.
const WARM_UP: f64 = 1.0 / 6.0;
/// A run that is shorter says nothing of drift.
const SHORT: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a turn waits for something to happen.
const TURN: Duration = Duration::from_millis(5);

const PAGES: [&str; 4] = [
    "/api/messaging/conversations",
    "/api/messaging/unread-count",
    "/api/messaging/conversations/1/messages?limit=50",
    // A session of a poller that never comes back.
    "/socket.io/?EIO=4&transport=polling",
];

/// How far the end is from the start of what came after the warm-up, in percent.
fn drift(samples: &[[f64; 2]], figure: usize) -> f64 {
    let of = |part: &[[f64; 2]]| median(&part.iter().map(|s| s[figure]).collect::<Vec<_>>());
    let (_, warm) = samples.split_at((samples.len() as f64 * WARM_UP) as usize);
    let part = warm.len() / 4;
    let (first, last) = (of(warm.get(..part).unwrap_or_default()), of(warm.get(warm.len() - part..).unwrap_or_default()));
    ((last / first - 1.0) * 100.0).abs()
}

/// The scenario.
pub fn run(bench: &Bench, scale: &Scale) -> Result<Findings> {
    let pairs = scale.pairs;
    let template = bench.template("soak", load::fill(pairs))?;
    let (server, file) = bench.start(Kind::Tidings, &template)?;
    let (mut swarm, mut page, token) = (Swarm::new(server.address)?, Rest::connect(server.address)?, token::sign(1));
    let mut life = Life::start(pairs, 2 * pairs / VISITORS, &mut swarm)?;
    let mut table = Table::new(
        &format!("{pairs} pairs chat for {:.0} minutes and are cut off at random", scale.soak.as_secs_f64() / 60.0),
        &["memory, MB", "open files", "connections", "messages so far", "cuts so far"],
    );
    let (mut samples, mut asked, mut issued): (Vec<[f64; 2]>, u32, usize) = (Vec::new(), 0, 0);
    let (start, cpu) = (Instant::now(), server.cpu());
    while start.elapsed() < scale.soak {
        life.churn(&mut swarm, false)?;
        while start.elapsed().as_secs_f64() * RATE * pairs as f64 > issued as f64 {
            life.speak(&mut swarm.mouth, issued % pairs);
            issued += 1;
        }
        if start.elapsed() > ASKING * asked {
            asked += 1;
            page.get(PAGES[asked as usize % PAGES.len()], &token)?;
        }
        let number = samples.len() as u32;
        if start.elapsed() > scale.soak / SAMPLES * number {
            let (memory, files, sent) = (server.memory() as f64 / 1e6, server.files() as f64, life.sent());
            samples.push([memory, files]);
            let minute = |n: u32| scale.soak.as_secs_f64() / 60.0 / f64::from(WINDOWS) * f64::from(n);
            let window = number * WINDOWS / SAMPLES;
            let row = format!("minute {:.1} to {:.1}", minute(window), minute(window + 1));
            table.add(&row, &[memory, files, life.connected() as f64, sent as f64, life.cuts as f64]);
            if number.is_multiple_of(SAMPLES / WINDOWS) {
                progress(&format!("soak, {row}: {memory:.1} MB, {files} files, {sent} messages, {} cuts", life.cuts));
            }
        }
        swarm.turn(TURN, &mut life)?;
        life.check()?;
    }
    let busy = (server.cpu() - cpu).as_secs_f64() / start.elapsed().as_secs_f64() * 100.0;
    // All come back, and hear what they missed.
    let end = Instant::now() + PATIENCE;
    while !life.is_complete() {
        ensure!(Instant::now() < end, "messages are lost");
        life.churn(&mut swarm, true)?;
        swarm.turn(TURN, &mut life)?;
        life.check()?;
    }
    // The server is killed before the store is asked.
    drop(server);
    let mut database = Database::open(&format!("sqlite://{}", file.display()))?;
    database.check(&life.told())?;
    database.close()?;
    table.note(format!(
        "{RATE} messages a second of each pair. Everybody comes back after a cut, recovers, and hears every message once and in order; all are \
         stored. The server took {busy:.1} % of a core."
    ));
    let mut findings = Findings { tables: vec![table], goals: Vec::new() };
    if scale.soak >= SHORT {
        for (figure, name) in ["memory", "open files"].into_iter().enumerate() {
            let drift = Samples(vec![drift(&samples, figure)]);
            findings.goals.push(Goal::at_most(&format!("soak: drift of {name} after the warm-up"), 5.0, " %", &drift));
        }
    }
    Ok(findings)
}

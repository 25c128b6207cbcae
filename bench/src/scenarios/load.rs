//! Chat under load: the closed and the open loop on each server, and what the figures come to. How a loop runs is in `chat`.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result};

use super::{Findings, Scale, chat, databases_of};
use crate::{
    database::{self, Database},
    progress,
    report::{Goal, Table},
    samples::Samples,
    scenarios::chat::{Load, Outcome, Pace},
    server::{Bench, Kind},
};

const WARM_UP: Duration = Duration::from_millis(700);
const PLAIN: &str = "peer, plain";
const GROUPED: &str = "peer, group commit";
/// A file system whose files lie in memory.
const MEMORY: &str = "/dev/shm";
const IN_MEMORY: &str = "tidings, its database in memory";

/// So many pairs, each with a conversation.
pub fn fill(pairs: usize) -> impl Fn(&mut Database) -> Result<()> {
    move |database| {
        let all: Vec<_> = (0..pairs).map(|n| (2 * n + 1, 2 * n + 2)).collect();
        database.fill(2 * pairs, &all)
    }
}

/// A run on a fresh copy of a database, and the check that the store agrees. Returns the outcome and the processor time, in µs per message.
fn run_one(bench: &Bench, kind: Kind, template: &Path, load: Load) -> Result<(Outcome, f64)> {
    run_in(bench, kind, bench.work.path(), template, load)
}

/// The same with the copy in a folder.
fn run_in(bench: &Bench, kind: Kind, folder: &Path, template: &Path, load: Load) -> Result<(Outcome, f64)> {
    // The scenarios of a self-check run at the same time.
    let file = folder.join(template.with_extension("db").file_name().context("a template has a name")?);
    database::copy(template, &file)?;
    let server = bench.start_on(kind, &file)?;
    let (outcome, [before, after], heard) =
        chat::run(server.address, load, || server.cpu()).with_context(|| format!("{} at {:?}", kind.name(), load.pace))?;
    // The server is killed before the store is asked: what was announced is there.
    drop(server);
    let mut database = Database::open(&format!("sqlite://{}", file.display()))?;
    database.check(&heard).with_context(|| format!("{} at {:?}", kind.name(), load.pace))?;
    database.close()?;
    let cpu = (after - before).as_secs_f64() * 1e6 / outcome.messages;
    Ok((outcome, cpu))
}

/// The closed loop, with 8 and with 1 in flight per sender.
pub fn closed(bench: &Bench, scale: &Scale) -> Result<Findings> {
    let template = bench.template("chat", fill(scale.pairs))?;
    let mut findings = Findings::default();
    for (window, plain, grouped) in [(8, 10.0, 3.5), (1, 6.0, 2.2)] {
        let mut table = Table::new(
            &format!("Chat, closed loop, {} senders, {window} in flight each", scale.pairs),
            &["messages/s", "CPU µs/message", "p50 ms", "p99 ms", "frames/message", "bytes/message", "nudges/message", "generator busy %"],
        );
        table.note(
            "One message is one frame in; out go `message-received` to both users and `conversation-updated` to both. The peer nudges each time; \
             tidings holds nudges back while their user is busy and lets those of a second collapse, as its contract says. Processor time is \
             counted until the last nudge has come. Each message carries a `tempId` that identifies it, as the frontend sends it, and both servers \
             recognise repetitions by it; in the rows \"no repetitions\" it is too short for that.",
        );
        for round in 0..scale.rounds {
            let with = bench.kinds().into_iter().map(|kind| (kind, true, kind.name().to_owned()));
            let without = bench.kinds_without_store().into_iter().map(|kind| (kind, false, format!("{}, no repetitions", kind.name())));
            for (kind, identifies, row) in with.chain(without.filter(|_| window == 8)) {
                let load = Load {
                    pairs: scale.pairs,
                    pace: Pace::InFlight(window),
                    identifies,
                    warm_up: WARM_UP.min(scale.measured),
                    measured: scale.measured,
                };
                let (o, cpu) = run_one(bench, kind, &template, load)?;
                progress(&format!("chat, {window} in flight, round {}: {row} {:.0}/s, {cpu:.1} µs", round + 1, o.rate));
                table.add(&row, &[o.rate, cpu, o.latency[0], o.latency[1], o.frames, o.bytes, o.nudges, o.generator]);
            }
        }
        for (peer, limit) in [(PLAIN, plain), (GROUPED, grouped)] {
            if let Some(ratio) = table.ratio(peer, "tidings", 1) {
                let what = format!("messages per CPU second, {window} in flight: tidings over the {peer}");
                findings.goals.push(Goal::at_least(&what, limit, "×", &ratio));
            }
        }
        findings.tables.push(table);
    }
    Ok(findings)
}

/// The open loop.
pub fn open(bench: &Bench, scale: &Scale) -> Result<Findings> {
    let pairs = scale.pairs * 2;
    let template = bench.template("open", fill(pairs))?;
    let mut findings = Findings::default();
    for rate in scale.rates {
        let mut table = Table::new(
            &format!("Chat, open loop, {rate} messages a second in all"),
            &["p50 ms", "p99 ms", "p99.9 ms", "greatest ms", "CPU µs/message", "nudges/message"],
        );
        table.note(format!(
            "{pairs} senders. A message is as late as its receiver hears it after the moment at which it should have been sent. With its database in \
             memory ({MEMORY}) tidings does the same, and never waits for a disk."
        ));
        let is_high = *rate == 10_000.0;
        let memory = tempfile::Builder::new().prefix("tidings-bench.").tempdir_in(MEMORY)?;
        for round in 0..scale.rounds {
            let disk = bench.work.path();
            let on_disk = bench.kinds().into_iter().map(|kind| (kind, disk, kind.name()));
            // A commit per message cannot keep up with the higher rate: its delay would be the length of the run.
            let able = on_disk.filter(|(kind, ..)| !is_high || *kind != Kind::Plain);
            for (kind, folder, row) in able.chain(is_high.then_some((Kind::Tidings, memory.path(), IN_MEMORY))) {
                let load = Load {
                    pairs,
                    pace: Pace::PerSecond(*rate),
                    identifies: true,
                    warm_up: WARM_UP.min(scale.measured),
                    measured: scale.measured,
                };
                let (o, cpu) = run_in(bench, kind, folder, &template, load)?;
                progress(&format!("open, {rate}/s, round {}: {row} p99 {:.2} ms", round + 1, o.latency[1]));
                table.add(row, &[o.latency[0], o.latency[1], o.latency[2], o.latency[3], cpu, o.nudges]);
            }
        }
        for (other, limit) in [(GROUPED, 0.2), (IN_MEMORY, 2.5)] {
            if let Some(ratio) = table.ratio("tidings", other, 1).filter(|_| is_high) {
                let what = format!("p99 in the open loop at 10 000/s: tidings over {other}");
                findings.goals.push(Goal::at_most(&what, limit, "×", &ratio));
            }
        }
        findings.tables.push(table);
    }
    Ok(findings)
}

/// The closed loop on database servers. The peer has no such mode.
pub fn databases(bench: &Bench, scale: &Scale) -> Result<Findings> {
    let Some(databases) = databases_of(bench, scale)? else { return Ok(Findings::default()) };
    let mut findings = Findings::default();
    for window in [8, 1] {
        let mut table = Table::new(
            &format!("Chat on a database server, closed loop, {} senders, {window} in flight each", scale.pairs),
            &["messages/s", "server CPU µs/message", "database CPU µs/message", "together", "p50 ms", "p99 ms"],
        );
        table.note("tidings and the database server share one core. The databases keep what they commit (`innodb_flush_log_at_trx_commit = 1`, `fsync = on`).");
        for round in 0..scale.rounds {
            for (kind, _) in &databases.urls {
                let url = databases.create(bench, kind, &format!("chat_{window}_{round}"), fill(scale.pairs))?;
                let server = bench.start_url(&url)?;
                let load =
                    Load { pairs: scale.pairs, pace: Pace::InFlight(window), identifies: true, warm_up: WARM_UP, measured: scale.measured };
                let (o, [before, after], heard) = chat::run(server.address, load, || [server.cpu(), databases.cpu()])?;
                drop(server);
                Database::open(&url)?.check(&heard).with_context(|| format!("tidings on {kind}"))?;
                let [ours, theirs] = [0, 1].map(|n| (after[n] - before[n]).as_secs_f64() * 1e6 / o.messages);
                progress(&format!("{kind}, {window} in flight, round {}: {:.0}/s, {ours:.1} + {theirs:.1} µs", round + 1, o.rate));
                table.add(&format!("tidings on {kind}"), &[o.rate, ours, theirs, ours + theirs, o.latency[0], o.latency[1]]);
            }
        }
        let none = Samples::default();
        let cpu = table.cell("tidings on mariadb", 3).unwrap_or(&none);
        if window == 8 && !cpu.0.is_empty() {
            findings.goals.push(Goal::at_most("MariaDB: server and database CPU per message, 8 in flight", 20.0, " µs", cpu));
        }
        findings.tables.push(table);
    }
    Ok(findings)
}

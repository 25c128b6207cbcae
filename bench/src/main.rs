//! The command line of the benchmark: it builds what is missing, runs the scenarios one after the other, and writes down what came out. What
//! is measured stands in `scenarios`.

#![expect(clippy::print_stdout, reason = "a command line answers on standard output")]

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;

mod database;
mod frame;
mod line;
mod machine;
mod report;
mod rest;
mod samples;
mod scenarios;
mod server;
mod services;
mod swarm;
mod token;

use report::Report;
use scenarios::{ALL, Scale, Scenario};
use server::Bench;

/// Measures tidings and, in turn with it, a Node server with the same handlers; checks that nothing is lost, doubled or out of order.
///
/// Without options it runs everything but the soak, in about ten minutes, and writes docs/benchmarks.md.
#[derive(Parser)]
struct Arguments {
    /// Only these scenarios
    #[arg(value_name = "SCENARIO")]
    only: Vec<String>,
    /// A few seconds that check correctness, of tidings alone; figures are not shown
    #[arg(long)]
    quick: bool,
    /// The server's binary; without it, `cargo build --release` makes one
    #[arg(long, value_name = "PATH")]
    server: Option<PathBuf>,
    /// Leave out the peer
    #[arg(long)]
    no_peer: bool,
    /// How often each server has its turn
    #[arg(long)]
    rounds: Option<usize>,
    /// For how many seconds a load is measured, or a soak goes on
    #[arg(long, value_name = "SECONDS")]
    measured: Option<f64>,
    /// Print the figures as JSON instead of tables
    #[arg(long)]
    json: bool,
    /// Where to write the figures; docs/benchmarks.md when everything is run
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Where the databases are: on the disk that is to be measured [default: the system's temporary folder]
    #[arg(long, value_name = "FOLDER")]
    work: Option<PathBuf>,
    /// Name the scenarios and exit
    #[arg(long)]
    list: bool,
}

/// The command that stands in the report.
const COMMAND: &str = "cargo run --release --manifest-path bench/Cargo.toml";
/// The whole run ends after this time, and a soak beside, whatever it is at.
const LONGEST: Duration = Duration::from_secs(30 * 60);

/// Whether a line on each run is wanted.
static IS_TALKATIVE: AtomicBool = AtomicBool::new(true);

/// A line on what is going on.
pub fn progress(text: &str) {
    if IS_TALKATIVE.load(Ordering::Relaxed) {
        eprintln!("  {text}");
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.list {
        ALL.iter().for_each(|scenario| println!("{:16} {}", scenario.name, scenario.about));
        return ExitCode::SUCCESS;
    }
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("bench: {e:#}");
            ExitCode::FAILURE
        }
    }
}

/// Ends the process when it is told to, or when it takes too long. The servers die with it; the folder of the run must not stay.
fn give_up(folder: PathBuf, longest: Duration) {
    use signal_hook::{consts::TERM_SIGNALS, iterator::Signals};
    let start = Instant::now();
    let Ok(mut signals) = Signals::new(TERM_SIGNALS) else { return };
    while start.elapsed() < longest && signals.pending().next().is_none() {
        std::thread::sleep(Duration::from_millis(50));
    }
    eprintln!("bench: ended before its time");
    std::fs::remove_dir_all(folder).ok();
    std::process::exit(1);
}

fn run(arguments: &Arguments) -> Result<()> {
    let unknown = arguments.only.iter().find(|name| ALL.iter().all(|s| s.name != name.as_str()));
    if let Some(name) = unknown {
        bail!("there is no scenario {name}; --list names them");
    }
    let mut scale = if arguments.quick { Scale::QUICK } else { Scale::FULL };
    scale.rounds = arguments.rounds.unwrap_or(scale.rounds).max(1);
    scale.measured = arguments.measured.map_or(scale.measured, Duration::from_secs_f64);
    scale.soak = arguments.measured.map_or(scale.soak, Duration::from_secs_f64);
    let bench = prepare(arguments, &scale)?;
    let folder = bench.work.path().to_owned();
    let chosen = || {
        let everything = |s: &Scenario| arguments.only.is_empty() && (arguments.quick || !s.is_long);
        ALL.iter().filter(move |s| everything(s) || arguments.only.iter().any(|name| name == s.name))
    };
    let longest = if chosen().any(|s| s.is_long) { LONGEST + scale.soak } else { LONGEST };
    std::thread::spawn(move || give_up(folder, longest));
    let start = Instant::now();
    if arguments.quick {
        IS_TALKATIVE.store(false, Ordering::Relaxed);
        check(&bench, &scale, chosen())?;
        println!("bench: all checks passed in {:.1} s", start.elapsed().as_secs_f64());
        return Ok(());
    }
    let others = machine::Others::watch();
    let (_, core) = machine::cores();
    machine::pin(core)?;
    let mut report = Report { facts: machine::describe(bench.work.path()), ..Report::default() };
    let mut sync = machine::fsync(bench.work.path(), 200)?;
    let all = chosen().count();
    for (n, scenario) in chosen().enumerate() {
        let begun = Instant::now();
        eprintln!("{} of {all}: {}: {}{}", n + 1, scenario.name, scenario.about, rest(start.elapsed(), n, all));
        let found = (scenario.run)(&bench, &scale).with_context(|| format!("scenario {}", scenario.name))?;
        report.tables.extend(found.tables);
        report.goals.extend(found.goals);
        eprintln!("{} took {:.0} s", scenario.name, begun.elapsed().as_secs_f64());
    }
    sync.extend(machine::fsync(bench.work.path(), 200)?);
    facts(&mut report, &bench, arguments.server.is_some(), &sync, &others, start.elapsed());
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&report.json())?);
    } else {
        print!("{}", report.text());
    }
    let everything = arguments.only.is_empty().then(|| bench.root.join("docs/benchmarks.md"));
    if let Some(file) = arguments.markdown.clone().or(everything) {
        std::fs::write(&file, report.markdown(COMMAND)).with_context(|| format!("write {}", file.display()))?;
        eprintln!("written: {}", file.display());
    }
    Ok(())
}

/// How long the rest may take, when each scenario takes as long as those before on the average.
fn rest(taken: Duration, done: usize, all: usize) -> String {
    if done == 0 { String::new() } else { format!(" (about {:.0} s are left)", taken.as_secs_f64() / done as f64 * (all - done) as f64) }
}

/// Runs the scenarios at the same time, for what they check and not for their figures.
fn check<'a>(bench: &Bench, scale: &Scale, chosen: impl Iterator<Item = &'a Scenario>) -> Result<()> {
    std::thread::scope(|threads| {
        let running: Vec<_> = chosen.map(|scenario| (scenario.name, threads.spawn(|| (scenario.run)(bench, scale)))).collect();
        for (name, thread) in running {
            match thread.join() {
                Ok(outcome) => outcome.map(drop).with_context(|| format!("scenario {name}"))?,
                Err(_) => bail!("scenario {name} panicked"),
            }
        }
        Ok(())
    })
}

/// Builds what is missing, and makes the folder of the run.
fn prepare(arguments: &Arguments, scale: &Scale) -> Result<Bench> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the repository")?.to_owned();
    for tool in ["setpriv", "taskset"] {
        ensure!(machine::version(tool, "--version") != "not there", "{tool} is missing: install util-linux");
    }
    let files = machine::raise_open_files();
    let needed = scale.idle.max(scale.storm) as u64 + 200;
    ensure!(files >= needed, "only {files} files may be open, but {needed} connections are made: raise `ulimit -n`");
    let binary = match &arguments.server {
        Some(path) => path.canonicalize().with_context(|| format!("find {}", path.display()))?,
        None => build(&root)?,
    };
    let has_peer = !arguments.quick && !arguments.no_peer;
    if has_peer {
        install_peer(&root.join("bench/peer"))?;
    }
    let mut folder = tempfile::Builder::new();
    folder.prefix("tidings-bench.");
    let work = match &arguments.work {
        Some(path) => folder.tempdir_in(path)?,
        None => folder.tempdir()?,
    };
    // A database server may run as another user, and its folder is in here.
    std::fs::set_permissions(work.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let (core, generator) = machine::cores();
    if core == generator {
        eprintln!("There is one core only: the generator takes from the server's.");
    }
    let bench = Bench { root, binary, has_peer, work, core, started: Default::default() };
    bench.configure()?;
    Ok(bench)
}

fn build(root: &Path) -> Result<PathBuf> {
    eprintln!("building the server");
    let status = Command::new("cargo").args(["build", "--release"]).current_dir(root).status().context("run cargo")?;
    ensure!(status.success(), "the server could not be built");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |dir| root.join(dir));
    Ok(target.join("release/tidings"))
}

/// Installs what the peer needs. better-sqlite3 is compiled when there is no binary of it; then Node's own headers serve, where they are.
fn install_peer(folder: &Path) -> Result<()> {
    if folder.join("node_modules/.package-lock.json").exists() {
        return Ok(());
    }
    eprintln!("installing the peer (compiling SQLite takes two minutes)");
    let prefix = Command::new("node").args(["-p", "require('path').resolve(process.execPath, '../..')"]).output().context("run node")?;
    let prefix = String::from_utf8_lossy(&prefix.stdout).trim().to_owned();
    let mut npm = Command::new("npm");
    if Path::new(&prefix).join("include/node/node.h").exists() {
        npm.env("npm_config_nodedir", &prefix);
    }
    let status = npm.args(["ci", "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(folder).status().context("run npm")?;
    ensure!(status.success(), "the peer could not be installed: npm ci failed in {}", folder.display());
    Ok(())
}

fn facts(report: &mut Report, bench: &Bench, given: bool, sync: &[f64], others: &machine::Others, took: Duration) {
    let sqlite = "SQLite as compiled into each server";
    let mut sorted: Vec<u32> = sync.iter().map(|us| *us as u32).collect();
    sorted.sort_unstable();
    let [half, most] = [0.5, 0.99].map(|share| samples::percentile(&sorted, share));
    let origin = if given {
        "a binary given by `--server`".to_owned()
    } else {
        let commit = Command::new("git").args(["rev-parse", "--short", "HEAD"]).current_dir(&bench.root).output();
        format!("built from {}", commit.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned()).unwrap_or_default())
    };
    report.facts.push(("fsync of a page".into(), format!("p50 {half:.0} µs, p99 {most:.0} µs")));
    report.facts.push(("tidings".into(), format!("{}, {origin}", machine::version(&bench.binary.to_string_lossy(), "--version"))));
    report.facts.push(("peer".into(), format!("Node {}, socket.io 4.8, better-sqlite3 12.11", machine::version("node", "--version"))));
    let databases = [machine::version("mariadbd", "--version"), machine::version("postgres", "--version"), sqlite.to_owned()];
    report.facts.push(("databases".into(), databases.join("; ")));
    let (share, stolen) = others.shares();
    report.facts.push((
        "the run".into(),
        format!("{:.0} s; others took {share:.0} % of the processors, the host withheld {stolen:.0} %", took.as_secs_f64()),
    ));
    if share + stolen > 5.0 {
        report.warnings.push(format!(
            "The machine was shared: others took {share:.0} % of its processors during the run, and the host withheld {stolen:.0} %. Trust ratios and \
             processor time; do not trust rates and latencies."
        ));
    }
}

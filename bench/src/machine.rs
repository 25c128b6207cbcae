//! What the machine says: processor time and memory of processes, the price of an fsync, names and versions. Nothing is started here.

use std::{
    fs,
    io::Write,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use rustix::{param::clock_ticks_per_second, process::getrlimit, thread::CpuSet};

/// Processor time of a process and its living descendants, and of the dead ones it has waited for, user and system.
pub fn cpu_of(pid: u32) -> Duration {
    let mut ticks = 0;
    let mut pids = vec![pid];
    while let Some(pid) = pids.pop() {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The name, in brackets, may hold anything; after it come plain fields.
        let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
        ticks += fields.iter().skip(11).take(4).filter_map(|f| f.parse::<u64>().ok()).sum::<u64>();
        for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            pids.extend(children.split_whitespace().filter_map(|c| c.parse::<u32>().ok()));
        }
    }
    Duration::from_secs_f64(ticks as f64 / clock_ticks_per_second() as f64)
}

/// The resident memory of a process, in bytes.
pub fn memory_of(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or_default() * 1024
}

/// The time as browsers have it from `Date.now()`, which is where the frontend's `tempId` comes from.
pub fn milliseconds() -> u128 {
    std::time::UNIX_EPOCH.elapsed().unwrap_or_default().as_millis()
}

/// Which core a server and its database get, and which the generator. Both the same on a machine with one.
pub fn cores() -> (usize, usize) {
    let allowed = rustix::thread::sched_getaffinity(None).unwrap_or_default();
    let mut cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
    let first = cores.next().unwrap_or(0);
    (first, cores.next().unwrap_or(first))
}

/// Keeps this process on a core.
pub fn pin(core: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    rustix::thread::sched_setaffinity(None, &set).context("pin the generator to its core")
}

/// Raises the number of files that may be open as far as allowed, and returns it.
pub fn raise_open_files() -> u64 {
    use rustix::process::{Resource, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).ok();
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// How long a server is left alone where one message at a time is measured.
pub const PAUSE: Duration = Duration::from_millis(3);

/// How long it takes to write a page and have it on disk, in microseconds, `times` times, with a pause before each.
pub fn fsync(folder: &Path, times: usize) -> Result<Vec<f64>> {
    let path = folder.join("fsync");
    let mut file = fs::File::create(&path)?;
    let mut took = Vec::with_capacity(times);
    for _ in 0..times {
        std::thread::sleep(PAUSE);
        file.write_all(&[7; 4096])?;
        let start = Instant::now();
        rustix::fs::fdatasync(&file)?;
        took.push(start.elapsed().as_secs_f64() * 1e6);
    }
    fs::remove_file(path)?;
    Ok(took)
}

/// How busy the processors were with the work of others, from now on.
pub struct Others {
    start: Instant,
    busy: f64,
    steal: f64,
    ours: Duration,
}

impl Others {
    /// Starts to watch.
    pub fn watch() -> Self {
        let (busy, steal) = busy();
        Self { start: Instant::now(), busy, steal, ours: cpu_of(std::process::id()) }
    }

    /// Of all processors: the share that others took, in percent, and the share that the host withheld. To be asked when all servers of the
    /// run have ended, so that their time is known to be ours.
    pub fn shares(&self) -> (f64, f64) {
        let (busy, steal) = busy();
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        let cores = stat.lines().filter(|line| line.starts_with("cpu")).count().saturating_sub(1).max(1);
        let all = self.start.elapsed().as_secs_f64() * cores as f64;
        let ours = cpu_of(std::process::id()).saturating_sub(self.ours).as_secs_f64();
        (((busy - self.busy - ours) / all * 100.0).max(0.0), (steal - self.steal) / all * 100.0)
    }
}

fn busy() -> (f64, f64) {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields: Vec<f64> = stat.lines().next().unwrap_or_default().split_whitespace().skip(1).filter_map(|f| f.parse().ok()).collect();
    let tick = clock_ticks_per_second() as f64;
    let at = |n: usize| fields.get(n).copied().unwrap_or_default() / tick;
    (at(0) + at(1) + at(2) + at(5) + at(6), at(7))
}

/// A sentence on the machine: processor, memory, kernel, disk.
pub fn describe(folder: &Path) -> Vec<(String, String)> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        text.lines().find_map(|l| l.strip_prefix(name)?.trim_start().strip_prefix(':')).unwrap_or("unknown").trim().to_owned()
    };
    let cores = read("/proc/cpuinfo").lines().filter(|l| l.starts_with("processor")).count();
    let memory = field(&read("/proc/meminfo"), "MemTotal");
    let gib = memory.split_whitespace().next().and_then(|kib| kib.parse::<f64>().ok()).unwrap_or_default() / 1048576.0;
    let system = read("/etc/os-release");
    let system = system.lines().find_map(|l| l.strip_prefix("PRETTY_NAME=")).unwrap_or("unknown").trim_matches('"').to_owned();
    vec![
        ("processor".into(), format!("{}, {cores} cores", field(&read("/proc/cpuinfo"), "model name"))),
        ("memory".into(), format!("{gib:.0} GiB")),
        ("system".into(), format!("{system}, Linux {}", read("/proc/sys/kernel/osrelease").trim().split('-').next().unwrap_or_default())),
        ("file system of the databases".into(), file_system(folder)),
    ]
}

fn file_system(folder: &Path) -> String {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let of = |line: &str| {
        let mut fields = line.split(' ').skip(1);
        Some((fields.next()?.to_owned(), fields.next()?.to_owned()))
    };
    let longest = mounts.lines().filter_map(of).filter(|(at, _)| folder.starts_with(at)).max_by_key(|(at, _)| at.len());
    longest.map_or_else(|| "unknown".into(), |(_, kind)| kind)
}

/// The first line that a command says, for its version.
pub fn version(command: &str, argument: &str) -> String {
    let output = std::process::Command::new(command).arg(argument).output();
    let text = output.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or("not there").to_owned()
}

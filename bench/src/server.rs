//! Starting and ending what is measured: tidings, and the peer in its two modes. All of them are on one core, die with
//! this process, and keep their files in a folder that is removed.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};

use crate::{database, database::Database, machine, token};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// tidings.
    Tidings,
    /// The peer, a commit per message.
    Plain,
    /// The peer, group commit.
    Grouped,
}

impl Kind {
    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tidings => "tidings",
            Self::Plain => "peer, plain",
            Self::Grouped => "peer, group commit",
        }
    }
}

/// Where things are, and how to start them.
pub struct Bench {
    /// The repository.
    pub root: PathBuf,
    /// The server's binary.
    pub binary: PathBuf,
    /// Whether the peer takes part.
    pub has_peer: bool,
    /// The folder of databases and logs.
    pub work: tempfile::TempDir,
    /// The servers' core.
    pub core: usize,
    /// How many servers have been started.
    pub started: AtomicUsize,
}

/// A running process that is ended with this value.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// A running server.
pub struct Server {
    process: Running,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Server {
    /// The processor time that it has taken.
    pub fn cpu(&self) -> Duration {
        machine::cpu_of(self.process.0.id())
    }

    /// Its resident memory, in bytes.
    pub fn memory(&self) -> u64 {
        machine::memory_of(self.process.0.id())
    }

    /// How many files it has open, connections among them.
    pub fn files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.process.0.id())).map_or(0, Iterator::count)
    }

    /// Asks the peer to collect its garbage; others are not asked.
    pub fn collect_garbage(&self, kind: Kind) {
        let pid = i32::try_from(self.process.0.id()).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid.filter(|_| kind != Kind::Tidings) {
            for _ in 0..3 {
                rustix::process::kill_process(pid, rustix::process::Signal::USR2).ok();
                std::thread::sleep(Duration::from_millis(300));
            }
        }
    }
}

/// How long a server may take to start.
const START: Duration = Duration::from_secs(30);
/// The rate per user that stands in the place of the default, for tidings and the peer alike.
const RATE: u32 = 1_000_000;

impl Bench {
    /// The kinds that take part.
    pub fn kinds(&self) -> Vec<Kind> {
        if self.has_peer { vec![Kind::Tidings, Kind::Plain, Kind::Grouped] } else { vec![Kind::Tidings] }
    }

    /// The kinds that take part where nothing is stored: the peer's two modes are one there.
    pub fn kinds_without_store(&self) -> Vec<Kind> {
        if self.has_peer { vec![Kind::Tidings, Kind::Grouped] } else { vec![Kind::Tidings] }
    }

    /// A file in the folder of the run.
    pub fn file(&self, name: &str) -> PathBuf {
        self.work.path().join(name)
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "taskset", "--cpu-list", &self.core.to_string()]).arg(program);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).current_dir(self.work.path());
        command
    }

    /// Writes the settings of tidings: the defaults, but for the rates and for how many sockets a user may have.
    pub fn configure(&self) -> Result<()> {
        let rate = format!("{{ per_second = {RATE}, burst = {RATE} }}");
        let limits = format!("[limits]\nsends = {rate}\nevents = {rate}\nwrites = {rate}\nsockets_per_user = 5000\n");
        Ok(std::fs::write(self.file("tidings.toml"), format!("host = \"127.0.0.1\"\nport = 0\nlog = \"warn\"\n{limits}"))?)
    }

    fn tidings(&self, url: &str) -> Command {
        let mut command = self.command(&self.binary);
        command.arg("--config").arg(self.file("tidings.toml")).env("DATABASE_URL", url).env("JWT_SECRET", token::SECRET);
        command
    }

    /// Makes the tables in a database.
    pub fn migrate(&self, url: &str) -> Result<()> {
        let output = self.tidings(url).arg("migrate").output().context("run tidings migrate")?;
        ensure!(output.status.success(), "tidings migrate failed: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// An SQLite file with the tables, filled, from which runs take copies.
    pub fn template(&self, name: &str, fill: impl FnOnce(&mut Database) -> Result<()>) -> Result<PathBuf> {
        let file = self.file(&format!("{name}.template"));
        let url = format!("sqlite://{}", file.display());
        self.migrate(&url)?;
        let mut database = Database::open(&url)?;
        fill(&mut database)?;
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")?;
        database.close()?;
        Ok(file)
    }

    /// Starts a server on a fresh copy of a template, and says where the copy is.
    pub fn start(&self, kind: Kind, template: &Path) -> Result<(Server, PathBuf)> {
        let name = template.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let file = self.file(&format!("{name}.{kind:?}.db"));
        database::copy(template, &file)?;
        Ok((self.start_on(kind, &file)?, file))
    }

    /// Starts a server on an SQLite file.
    pub fn start_on(&self, kind: Kind, file: &Path) -> Result<Server> {
        if kind == Kind::Tidings {
            return self.start_url(&format!("sqlite://{}", file.display()));
        }
        let commit = if kind == Kind::Plain { "each" } else { "group" };
        let mut command = self.command(Path::new("node"));
        command.arg("--expose-gc").arg(self.root.join("bench/peer/server.mjs"));
        command.env("DATABASE", file).env("JWT_SECRET", token::SECRET).env("COMMIT", commit).env("SENDS_PER_SECOND", RATE.to_string());
        command.env("NODE_ENV", "production");
        self.wait_for(command, "peer")
    }

    /// Starts tidings on a database of any kind.
    pub fn start_url(&self, url: &str) -> Result<Server> {
        self.wait_for(self.tidings(url), "tidings")
    }

    fn wait_for(&self, mut command: Command, name: &str) -> Result<Server> {
        let log = self.file(&format!("{name}.{}.log", self.started.fetch_add(1, Ordering::Relaxed)));
        command.stdout(Stdio::piped()).stderr(std::fs::File::create(&log)?).stdin(Stdio::null());
        let mut process = Running(command.spawn().with_context(|| format!("start {name}"))?);
        let (tell, told) = mpsc::channel();
        let output = BufReader::new(process.0.stdout.take().context("the output of a server")?);
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if let Some((_, address)) = line.split_once("listens on http://") {
                    tell.send(address.to_owned()).ok();
                }
            }
        });
        match told.recv_timeout(START) {
            Ok(address) => Ok(Server { process, address: address.parse()? }),
            Err(_) => bail!("{name} did not start: {}", std::fs::read_to_string(&log).unwrap_or_default()),
        }
    }
}

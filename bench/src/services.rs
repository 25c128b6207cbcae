//! Private database servers for a run, as `tests/services` starts them, but durable. What stands in them is not known here.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result};

use crate::{
    database::Database,
    machine,
    server::{Bench, Running},
};

/// Private database servers that keep what they commit.
pub struct Databases {
    process: Running,
    /// The URLs of those that are there, by name.
    pub urls: Vec<(&'static str, String)>,
}

impl Databases {
    /// Starts those that can be had.
    pub fn start(bench: &Bench) -> Result<Self> {
        // They end, and clean up after themselves, when this process closes their input; by its end at the latest.
        let mut command = Command::new("taskset");
        command.args(["--cpu-list", &bench.core.to_string(), "bash"]).arg(bench.root.join("tests/services"));
        command.args(["sh", "-c", "echo \"mariadb ${TIDINGS_TEST_MARIADB:-}\"; echo \"postgres ${TIDINGS_TEST_POSTGRES:-}\"; exec cat"]);
        command.env("TIDINGS_SERVICES_BENCH", "1").env("TMPDIR", bench.work.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(std::fs::File::create(bench.file("services.log"))?);
        let mut process = Running(command.spawn().context("start tests/services")?);
        let mut output = BufReader::new(process.0.stdout.take().context("the output of the services")?);
        let mut urls = Vec::new();
        for name in ["mariadb", "postgres"] {
            let mut line = String::new();
            output.read_line(&mut line)?;
            if let Some(url) = line.trim().strip_prefix(name).map(str::trim).filter(|url| !url.is_empty()) {
                urls.push((name, url.to_owned()));
            }
        }
        std::thread::spawn(move || output.read_to_string(&mut String::new()));
        Ok(Self { process, urls })
    }

    /// The processor time of all of them.
    pub fn cpu(&self) -> Duration {
        machine::cpu_of(self.process.0.id())
    }

    /// A new database with the tables, filled.
    pub fn create(&self, bench: &Bench, kind: &str, name: &str, fill: impl FnOnce(&mut Database) -> Result<()>) -> Result<String> {
        let base = &self.urls.iter().find(|(k, _)| *k == kind).with_context(|| format!("{kind} is not there"))?.1;
        let mut root = Database::open(&format!("{base}/{}", if kind == "postgres" { "postgres" } else { "mysql" }))?;
        root.execute(&format!("CREATE DATABASE {name}{}", if kind == "postgres" { "" } else { " CHARACTER SET utf8mb4" }))?;
        root.close()?;
        let url = format!("{base}/{name}");
        bench.migrate(&url)?;
        let mut database = Database::open(&url)?;
        fill(&mut database)?;
        database.close()?;
        Ok(url)
    }
}

impl Drop for Databases {
    fn drop(&mut self) {
        // A closed input asks them to end; they are killed only when they do not.
        drop(self.process.0.stdin.take());
        for _ in 0..200 {
            if matches!(self.process.0.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

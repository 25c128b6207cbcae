//! A MariaDB, MySQL or PostgreSQL server of one test alone, to be killed, frozen and started again.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use sea_orm::DbBackend;
use tempfile::TempDir;
use tokio::time::timeout;

use super::database::{backend, is_ci, is_mysql, variable};
use super::{DEADLINE, say};

/// A database server that belongs to one test.
pub struct DatabaseServer {
    child: Option<Child>,
    command: Command,
    /// Where it is.
    pub port: u16,
    /// What kind it is.
    pub backend: DbBackend,
    _folder: TempDir,
}

impl DatabaseServer {
    /// A fresh server of the kind that is under test. Nothing, with a word, for SQLite, and where the programs are missing.
    pub async fn start() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("there is a free port").port();
        let command = match backend() {
            DbBackend::MySql if is_mysql() => mysql(folder.path(), port),
            DbBackend::MySql => mariadb(folder.path(), port),
            DbBackend::Postgres => postgres(folder.path(), port),
            _ => {
                say("skipped: SQLite is no server that could be away");
                return None;
            }
        };
        let Some(command) = command else {
            assert!(!is_ci(), "the programs of the database server are missing");
            say("skipped: the programs of the database server are missing");
            return None;
        };
        let mut server = Self { child: None, command, port, backend: backend(), _folder: folder };
        server.run().await;
        Some(server)
    }

    /// Where it is.
    pub fn url(&self) -> String {
        Self::url_at(self.backend, self.port)
    }

    /// The same at another port.
    pub fn url_at(backend: DbBackend, port: u16) -> String {
        if backend == DbBackend::MySql { format!("mysql://root@127.0.0.1:{port}") } else { format!("postgres://postgres@127.0.0.1:{port}") }
    }

    /// Starts it, again after [`kill`](Self::kill), and waits until it answers.
    pub async fn run(&mut self) {
        self.child = Some(self.command.spawn().expect("the database server starts"));
        let database = if self.backend == DbBackend::MySql { "mysql" } else { "postgres" };
        let url = format!("{}/{database}", self.url());
        let answers = async { while sea_orm::Database::connect(&url).await.is_err() {} };
        timeout(DEADLINE * 3, answers).await.expect("the database server answers");
    }

    /// Ends it as a crash does.
    pub fn kill(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        // PostgreSQL's own way to crash with all its processes; killing the first alone leaves the others behind.
        let signal = if self.backend == DbBackend::MySql { "-KILL" } else { "-QUIT" };
        send(signal, &[child.id()]);
        child.wait().expect("the database server ends");
    }

    /// Stops its processes, or lets them go on: it is there, and does not answer.
    pub fn freeze(&self, on: bool) {
        let Some(child) = &self.child else { return };
        let mut processes = vec![child.id()];
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id())).unwrap_or_default();
        processes.extend(children.split_whitespace().map(|id| id.parse::<u32>().expect("a process id")));
        send(if on { "-STOP" } else { "-CONT" }, &processes);
    }
}

impl Drop for DatabaseServer {
    fn drop(&mut self) {
        self.freeze(false);
        self.kill();
    }
}

fn send(signal: &str, processes: &[u32]) {
    Command::new("kill").arg(signal).args(processes.iter().map(u32::to_string)).status().expect("a signal can be sent");
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}

/// A command that is neither told nor heard.
pub fn quiet(mut command: Command) -> Command {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Every commit is on disk before it is answered, as in production.
fn mariadb(folder: &Path, port: u16) -> Option<Command> {
    let data = folder.join("data");
    let common = |program: &str| {
        let mut command = quiet(Command::new(program));
        command.arg("--no-defaults").args(is_root().then_some("--user=root")).arg(format!("--datadir={}", data.display()));
        command
    };
    let mut install = common("mariadb-install-db");
    install.args(["--auth-root-authentication-method=normal", "--skip-test-db"]);
    if !install.status().is_ok_and(|s| s.success()) {
        return None;
    }
    let mut server = common("mariadbd");
    server.args([format!("--port={port}"), format!("--socket={}", folder.join("socket").display())]);
    server.args([
        "--bind-address=127.0.0.1",
        "--character-set-server=utf8mb4",
        "--skip-name-resolve",
        "--innodb-flush-log-at-trx-commit=1",
    ]);
    Some(server)
}

/// From the folder of MySQL's program and its fresh data, as `tests/services` makes it.
fn mysql(folder: &Path, port: u16) -> Option<Command> {
    let (programs, data) = (PathBuf::from(variable("TIDINGS_TEST_MYSQLD")?), folder.join("data"));
    if !Command::new("cp").arg("-r").arg(programs.join("data")).arg(&data).status().is_ok_and(|s| s.success()) {
        return None;
    }
    let mut server = quiet(Command::new(programs.join("mysqld")));
    server.args(is_root().then_some("--user=root")).arg(format!("--datadir={}", data.display()));
    server.args([format!("--port={port}"), format!("--socket={}", folder.join("socket").display())]);
    // Quick to start: whoever sent while it was killed waits for that.
    server.args(["--performance-schema=OFF", "--innodb-redo-log-capacity=8M", "--innodb-doublewrite=OFF"]);
    server.args(["--bind-address=127.0.0.1", "--skip-log-bin", "--innodb-flush-log-at-trx-commit=1"]);
    Some(server)
}

/// A program in a folder of its own that refuses to run as root: then as the user `postgres`.
pub fn as_postgres(program: &Path, folder: &Path) -> Command {
    let mut command = if is_root() { Command::new("setpriv") } else { Command::new(program) };
    if is_root() {
        Command::new("chown").arg("postgres").arg(folder).status().expect("the folder can be given away");
        command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]).arg(program);
    }
    command.current_dir(folder);
    command
}

fn postgres(folder: &Path, port: u16) -> Option<Command> {
    let mut versions: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql").ok()?.flatten().map(|entry| entry.path()).collect();
    versions.sort();
    let programs = versions.pop()?.join("bin");
    let data = folder.join("data");
    let mut install = quiet(as_postgres(&programs.join("initdb"), folder));
    install.arg("-D").arg(&data).args(["-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8"]);
    if !install.status().is_ok_and(|s| s.success()) {
        return None;
    }
    let mut server = quiet(as_postgres(&programs.join("postgres"), folder));
    server.arg("-D").arg(data).args(["-h", "127.0.0.1", "-p", &port.to_string(), "-k"]).arg(folder);
    Some(server)
}

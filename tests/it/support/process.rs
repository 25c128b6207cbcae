//! The program in a process of its own: one that serves, and one that is expected to refuse.

use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

/// The program, started by `before` if that is not empty, over a database. One that serves when it should refuse is ended in time.
pub fn program(before: &[&str], folder: &Path, url: &str) -> Command {
    let mut command = Command::new("timeout");
    command.arg("20").args(before).arg(env!("CARGO_BIN_EXE_tidings")).current_dir(folder).env_clear();
    command.env("DATABASE_URL", url).env("HOST", "127.0.0.1").env("PORT", "0").env("JWT_SECRET", super::app::SECRET);
    command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    command
}

/// The one sentence with which a command refuses.
pub fn refusal(command: &mut Command) -> String {
    let output = command.output().expect("the program runs");
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    assert!(output.status.code() == Some(1) && said.lines().count() == 1 && said.starts_with("tidings: "), "{:?}: {said}", output.status);
    said
}

/// A server in a process of its own. It is killed with the test.
pub struct Process {
    child: Child,
    /// Where it listens.
    pub address: std::net::SocketAddr,
    log: Arc<Mutex<String>>,
}

impl Process {
    /// Starts the program over a database. A limit of the size of files is told to it as an error, not by a signal that ends it.
    pub fn start(folder: &Path, url: &str) -> Self {
        Self::start_with(folder, url, &[])
    }

    /// The same, with more in its environment.
    pub fn start_with(folder: &Path, url: &str, environment: &[(&str, &str)]) -> Self {
        Self::start_after("trap '' XFSZ", folder, url, environment)
    }

    /// The same, after a command of the shell, such as `ulimit -n 256`.
    pub fn start_after(before: &str, folder: &Path, url: &str, environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{before}; exec \"$0\""), env!("CARGO_BIN_EXE_tidings")]).current_dir(folder).env_clear();
        command.env("DATABASE_URL", url).env("HOST", "127.0.0.1").env("PORT", "0").env("JWT_SECRET", super::app::SECRET);
        command.envs(environment.iter().copied());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
        let log = Arc::default();
        listen(child.stderr.take().expect("a pipe"), &log);
        let (mut lines, mut first) = (BufReader::new(child.stdout.take().expect("a pipe")), String::new());
        lines.read_line(&mut first).expect("it speaks UTF-8");
        let address = first.rsplit("http://").next().and_then(|address| address.trim().parse().ok());
        let Some(address) = address else { panic!("it says {first:?} and {}", log.lock().expect("no holder panics")) };
        // Whoever writes to a pipe that nobody reads is ended.
        listen(lines, &Arc::default());
        Self { child, address, log }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.log.lock().expect("no holder panics").clone()
    }

    /// How many bytes of memory it holds, without the pages of files, such as its own code, that the system may take back.
    pub fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).expect("Linux tells");
        let kilobytes = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).and_then(|line| line.split_whitespace().next());
        kilobytes.and_then(|n| n.parse::<u64>().ok()).expect("a number") * 1024
    }

    /// Asserts that it runs, and that nothing in it has panicked or failed.
    pub fn assert_sound(&mut self) {
        let log = self.log();
        assert!(self.is_running(), "it has ended: {log}");
        let wrong = |line: &&str| line.contains("panicked") || line.contains("ERROR");
        assert_eq!(log.lines().find(wrong), None, "{log}");
    }

    /// Sends it a signal, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "it can be sent SIG{name}");
    }

    /// Waits until it has ended, and returns its exit code; nothing when a signal ended it.
    pub async fn ended(&mut self) -> Option<i32> {
        let end = async {
            loop {
                if let Some(status) = self.child.try_wait().expect("it can be waited for") {
                    break status.code();
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(super::DEADLINE, end).await.expect("it ends")
    }

    /// Whether it runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("it can be waited for").is_none()
    }
}

fn listen(mut pipe: impl Read + Send + 'static, log: &Arc<Mutex<String>>) {
    let log = log.clone();
    std::thread::spawn(move || {
        let mut some = [0; 4096];
        while let Ok(n @ 1..) = pipe.read(&mut some) {
            log.lock().expect("no holder panics").push_str(&String::from_utf8_lossy(&some[..n]));
        }
    });
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

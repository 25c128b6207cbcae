//! A Redis server of one test alone, to be killed and started again.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
};

use sea_orm::DbBackend;
use tempfile::TempDir;
use tokio::{net::TcpStream, time::timeout};

use super::database::{backend, is_ci};
use super::server::quiet;
use super::{DEADLINE, say};

/// A Redis server of one test alone.
pub struct RedisServer {
    child: Option<Child>,
    port: u16,
    folder: TempDir,
}

impl RedisServer {
    /// A fresh server. Nothing, with a word, where there is no `redis-server`, and for SQLite, which is not shared by nodes.
    pub async fn start() -> Option<Self> {
        if backend() == DbBackend::Sqlite {
            say("skipped: several nodes do not share an SQLite file");
            return None;
        }
        if Command::new("redis-server").arg("--version").stdout(Stdio::null()).status().is_err() {
            assert!(!is_ci(), "there is no redis-server");
            say("skipped: there is no redis-server (Debian: apt-get install redis-server)");
            return None;
        }
        let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("there is a free port").port();
        let mut server = Self { child: None, port, folder: tempfile::tempdir().expect("a temporary folder") };
        server.run().await;
        Some(server)
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Starts it, again after [`kill`](Self::kill), and waits until it answers.
    pub async fn run(&mut self) {
        let mut command = quiet(Command::new("redis-server"));
        command.args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"]).arg(self.folder.path());
        self.child = Some(command.spawn().expect("redis-server starts"));
        let answers = async { while TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {} };
        timeout(DEADLINE, answers).await.expect("redis-server answers");
    }

    /// Ends it as a crash does.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("redis-server can be killed");
            child.wait().expect("redis-server ends");
        }
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

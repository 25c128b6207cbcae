//! A PgBouncer of one test alone, before the PostgreSQL server of the tests.

use std::{
    fs,
    net::TcpListener,
    process::{Child, Command},
};

use tempfile::TempDir;
use tokio::{net::TcpStream, time::timeout};

use super::DEADLINE;
use super::database::absent;
use super::server::{as_postgres, quiet};

/// A pooler of one test alone.
pub struct Pooler {
    child: Child,
    port: u16,
    _folder: TempDir,
}

impl Pooler {
    /// A pooler before the server at `url`, with these settings; nothing, with a word, where there is no `pgbouncer`.
    pub async fn start(url: &str, settings: &str) -> Option<Self> {
        let Ok(version) = Command::new("pgbouncer").arg("--version").output() else {
            absent("there is no pgbouncer (Debian: apt-get install pgbouncer)");
            return None;
        };
        // Newer ones remember prepared statements unless they are told not to; older ones know no such setting.
        let version = String::from_utf8_lossy(&version.stdout).into_owned();
        let minor = version.split(['.', '\n']).nth(1).and_then(|minor| minor.parse::<u32>().ok()).expect("a version");
        let forget = if minor >= 21 { "max_prepared_statements = 0" } else { "" };
        let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("there is a free port").port();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let server = url.rsplit(':').next().expect("a port");
        let file = folder.path().join("settings.ini");
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={server} user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = any\n{settings}\n{forget}\n"
        );
        fs::write(&file, text).expect("the settings are written");
        let child = quiet(as_postgres("pgbouncer".as_ref(), folder.path())).arg(file).spawn().expect("pgbouncer starts");
        let answers = async { while TcpStream::connect(("127.0.0.1", port)).await.is_err() {} };
        timeout(DEADLINE, answers).await.expect("pgbouncer answers");
        Some(Self { child, port, _folder: folder })
    }

    /// Where it has a database.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}?sslmode=disable", self.port)
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

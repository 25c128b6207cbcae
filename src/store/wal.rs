//! The write-ahead log of an SQLite file. SQLite folds it into the file by itself, but lets it grow as long as somebody reads what is in it,
//! and reads that overlap leave no moment without: then the writer insists, for a moment now and then.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use rusqlite::Connection;
use tokio::time::Instant;

use super::sqlite::PATIENCE;
use crate::clock;

/// From this size on the writer waits for those who read, until the log can begin anew.
const LARGE: u64 = 64 << 20;
/// From this size on the operator is told.
const HUGE: u64 = 256 << 20;
/// How long the writer waits for those who read, and how soon it does so again.
const BRIEFLY: Duration = Duration::from_millis(100);
const PAUSE: Duration = Duration::from_secs(1);

/// The log beside a file.
pub struct Log {
    path: PathBuf,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    insisted: Option<Instant>,
    /// Whether the operator was told.
    is_told: bool,
}

impl Log {
    /// The log of a file.
    pub fn of(file: &Path) -> Self {
        let mut path = file.as_os_str().to_owned();
        path.push("-wal");
        Self { path: path.into(), seen: Mutex::default() }
    }

    /// How large it is.
    pub fn bytes(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |file| file.len())
    }

    /// Has it begin anew when it is too large, after a commit on this connection.
    pub fn tidy(&self, connection: &Connection) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if self.bytes() < LARGE {
            seen.is_told = false;
            return;
        }
        if seen.insisted.is_some_and(|at| at.elapsed() < PAUSE) {
            return;
        }
        seen.insisted = Some(clock::instant());
        // What fails now is tried again after the pause.
        connection.busy_timeout(BRIEFLY).ok();
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).ok();
        connection.busy_timeout(PATIENCE).ok();
        let megabytes = self.bytes() >> 20;
        if self.bytes() >= HUGE && !std::mem::replace(&mut seen.is_told, true) {
            tracing::warn!(
                megabytes,
                "the write-ahead log of the database does not stop growing, because some program keeps a read of the file open: find it \
                 (a backup, a shell, a viewer) and end it"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::file::File;

    #[tokio::test(start_paused = true)]
    async fn a_log_that_grew_while_somebody_read_begins_anew_afterwards() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("test.db");
        let reader = Connection::open(&path).expect("opens");
        reader.execute_batch("PRAGMA journal_mode = wal; CREATE TABLE texts (id INTEGER PRIMARY KEY, text TEXT)").expect("a table");
        let file = File::open(&path).expect("opens");
        let write = async |megabytes: usize| {
            let tx = file.begin().await.expect("begins");
            for _ in 0..megabytes {
                tx.insert("INSERT INTO texts (text) VALUES (?)", &["x".repeat(1 << 20).into()]).expect("is written");
            }
            tx.commit().expect("is committed");
        };
        write(1).await;
        reader.execute_batch("BEGIN; SELECT COUNT(*) FROM texts").expect("reads on");
        write(70).await;
        write(1).await;
        assert!(file.wal_bytes() > LARGE, "what is read stays: {}", file.wal_bytes());
        reader.execute_batch("COMMIT").expect("ends");
        tokio::time::advance(PAUSE).await;
        write(1).await;
        assert!(file.wal_bytes() < LARGE, "it begins anew: {}", file.wal_bytes());
    }
}

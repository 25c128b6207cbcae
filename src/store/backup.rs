//! A copy of an SQLite database while it is in use. How the copy is put back is said in `sqlite::restore`, and done by hand.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, backup::StepResult};

use super::{Store, driver_url, sqlite, sqlite_file};
use crate::auth::random_hex;

/// What was copied.
pub struct Backup {
    /// The size of the copy.
    pub bytes: u64,
    /// How it is put back.
    pub restore: String,
}

/// How many pages are copied between two words about the progress: 16 MiB.
const PAGES: i32 = 4096;
/// How long to wait for a lock of the source.
const PATIENCE: Duration = Duration::from_secs(4);

impl Store {
    /// Copies the SQLite database behind `url` to a new file that only its owner can read, by SQLite's own backup functions: the pages as they
    /// are, of one moment, while others read and write. They are held up by nothing; but their log cannot be folded into the database
    /// before the copy is done. The copy is looked through for damage, and has another name until it is whole and on the disk.
    /// `told` hears how many hundredths are done; `stop` ends it early.
    ///
    /// # Errors
    /// One sentence that says what to do.
    pub fn back_up(url: &str, target: &Path, stop: &AtomicBool, told: impl FnMut(u32)) -> Result<Backup, String> {
        let url = driver_url(url);
        let program = if url.starts_with("mysql:") { "mariadb-dump or mysqldump (with --single-transaction)" } else { "pg_dump" };
        let source = match sqlite_file(&url) {
            Some(file) => file,
            None if url.starts_with("sqlite:") => return Err("A database in memory cannot be backed up: it ends with its server.".into()),
            None => return Err(format!("Only an SQLite database is backed up by this command: use {program} for this one.")),
        };
        if !source.exists() {
            return Err(format!("There is no database {}: nothing to back up.", source.display()));
        }
        let taken = || format!("{} exists already: name another file, or move it away.", target.display());
        if target.symlink_metadata().is_ok() {
            return Err(taken());
        }
        let partial = Partial::create(target).map_err(|e| cannot_write(target, &e))?;
        copy(&source, &partial.0, stop, told)?;
        let bytes = partial
            .publish(target)
            .map_err(|e| if e.kind() == io::ErrorKind::AlreadyExists { taken() } else { cannot_write(target, &e) })?;
        Ok(Backup { bytes, restore: sqlite::restore(&source) })
    }
}

fn cannot_write(target: &Path, e: &io::Error) -> String {
    format!("{} cannot be written: {e}.", target.display())
}

/// Copies one moment of `source` into the empty file `copy`, and looks it through.
fn copy(source: &Path, copy: &Path, stop: &AtomicBool, mut told: impl FnMut(u32)) -> Result<(), String> {
    let unread = |e: rusqlite::Error| format!("{} cannot be read: {e}; if it is damaged, {}", source.display(), sqlite::restore(source));
    let failed = |e: rusqlite::Error| format!("The backup failed: {e}; nothing was written.");
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let from = Connection::open_with_flags(source, flags).map_err(unread)?;
    from.busy_timeout(PATIENCE).map_err(unread)?;
    // A reading transaction holds the moment: without it the copy would begin anew whenever somebody writes.
    from.execute_batch("BEGIN; SELECT 1 FROM sqlite_schema LIMIT 1").map_err(unread)?;
    let mut to = Connection::open_with_flags(copy, flags).map_err(failed)?;
    let backup = rusqlite::backup::Backup::new(&from, &mut to).map_err(failed)?;
    loop {
        if stop.load(Ordering::Relaxed) {
            return Err("The backup was stopped; nothing was written.".into());
        }
        match backup.step(PAGES).map_err(failed)? {
            StepResult::Done => break,
            StepResult::More => {
                let progress = backup.progress();
                let (all, rest) = (i64::from(progress.pagecount).max(1), i64::from(progress.remaining));
                told(u32::try_from((all - rest) * 100 / all).unwrap_or_default());
            }
            _ => std::thread::sleep(Duration::from_millis(50)),
        }
    }
    drop(backup);
    // So that the copy is one file, which can be read from a medium that cannot be written.
    to.pragma_update(None, "journal_mode", "DELETE").map_err(failed)?;
    let found: String = to.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(failed)?;
    if found != "ok" {
        return Err(format!(
            "{} is damaged ({}), and so is a copy of it: {}",
            source.display(),
            found.replace('\n', " "),
            sqlite::restore(source)
        ));
    }
    told(100);
    to.close().map_err(|(_, e)| failed(e))
}

/// A file beside the target that is gone when it does not become the target.
struct Partial(PathBuf);

impl Partial {
    fn create(target: &Path) -> io::Result<Self> {
        let mut name = target.file_name().ok_or(io::ErrorKind::InvalidFilename)?.to_owned();
        name.push(format!(".{}.partial", random_hex::<4>()));
        let path = target.with_file_name(name);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(&path)?;
        Ok(Self(path))
    }

    /// Brings it to the disk, then gives it the name of the target, which nobody may have taken meanwhile; returns its size.
    fn publish(self, target: &Path) -> io::Result<u64> {
        let file = File::open(&self.0)?;
        file.sync_all()?;
        if let Err(e) = fs::hard_link(&self.0, target) {
            // Not every file system has links.
            if e.kind() == io::ErrorKind::AlreadyExists || target.symlink_metadata().is_ok() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            fs::rename(&self.0, target)?;
        }
        let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        #[cfg(unix)]
        File::open(folder)?.sync_all()?;
        Ok(file.metadata()?.len())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        fs::remove_file(&self.0).ok();
        let mut journal = self.0.clone().into_os_string();
        journal.push("-journal");
        fs::remove_file(journal).ok();
    }
}

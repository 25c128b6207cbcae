//! A disk that a test can fill up. What a server on it should do then is for the tests to say.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use super::Process;

/// A folder on which writing can be made to fail, as the kernel fails it.
pub struct Disk {
    folder: TempDir,
    is_mounted: bool,
}

impl Disk {
    /// A file system of a few megabytes. Where none can be mounted a process is forbidden to let files grow instead, and says so.
    pub fn small() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"]).arg(folder.path()).output();
        let is_mounted = mount.as_ref().is_ok_and(|output| output.status.success());
        if !is_mounted {
            let why = mount.map_or_else(|e| e.to_string(), |output| String::from_utf8_lossy(&output.stderr).trim().to_owned());
            super::say(&format!("no small disk can be mounted ({why}): the process is forbidden to write files instead"));
        }
        Self { folder, is_mounted }
    }

    /// A folder whose writing process can be forbidden to write files.
    pub fn forbidding() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder"), is_mounted: false }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Whether it is a disk of its own.
    pub fn is_mounted(&self) -> bool {
        self.is_mounted
    }

    /// What an operator is told while it is [`full`](Self::fill).
    pub fn complaint(&self) -> &'static str {
        if self.is_mounted { "disk full" } else { "input or output error" }
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }

    /// Lets nobody, or at least not `process`, write one more byte.
    pub fn fill(&self, process: &Process) {
        if !self.is_mounted {
            return limit(process, "0");
        }
        let mut filler = std::fs::File::create(self.filler()).expect("a file");
        let full = std::io::copy(&mut std::io::repeat(0), &mut filler).expect_err("a small disk gets full");
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull, "{full}");
    }

    /// Undoes [`fill`](Self::fill).
    pub fn free(&self, process: &Process) {
        if self.is_mounted {
            std::fs::remove_file(self.filler()).expect("the filler is there");
        } else {
            limit(process, "unlimited");
        }
    }
}

/// How large the files may be that a process writes.
fn limit(process: &Process, size: &str) {
    let pid = process.id().to_string();
    let done = Command::new("prlimit").args(["--pid", &pid, &format!("--fsize={size}:")]).status().expect("prlimit runs");
    assert!(done.success(), "the limit of {pid} is set");
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.is_mounted {
            Command::new("umount").arg("--lazy").arg(self.folder.path()).status().ok();
        }
    }
}

//! What the operating system says of files and limits. Where it is not Unix, it says nothing.

use std::{
    fs::OpenOptions,
    io::{self, Write},
    path::{Path, PathBuf},
};

/// Whether this process may write a file, or make files in a folder.
#[cfg(unix)]
pub fn may_write(path: &Path) -> bool {
    rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok()
}

/// Whether users other than the owner and the group may read a file, by its rights and those of the folder that it is in.
#[cfg(unix)]
pub fn is_public(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    let has = |path: &Path, bit: u32| path.metadata().is_ok_and(|meta| meta.permissions().mode() & bit != 0);
    has(file, 0o004) && has(folder(file), 0o001)
}

/// How many bytes are free where a file is or would be, and how many there are in all.
#[cfg(unix)]
pub fn free_bytes(file: &Path) -> Option<(u64, u64)> {
    let stat = rustix::fs::statvfs(folder(file)).ok()?;
    Some((stat.f_bavail.saturating_mul(stat.f_frsize), stat.f_blocks.saturating_mul(stat.f_frsize)))
}

/// How many files this process may have open, and how many it could ask for.
#[cfg(unix)]
pub fn open_files() -> Option<(u64, u64)> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    Some((limit.current.unwrap_or(u64::MAX), limit.maximum.unwrap_or(u64::MAX)))
}

/// A path to a file, and those that it leads to by symbolic links, in their order; whether there is a file at the last one or not.
pub fn hops(path: PathBuf) -> Vec<PathBuf> {
    /// The kernel follows no more.
    const MOST: usize = 40;
    let mut hops = vec![path];
    while let Some(last) = hops.last()
        && hops.len() < MOST
        && let Ok(target) = std::fs::read_link(last)
    {
        let next = last.parent().unwrap_or(Path::new("")).join(target);
        hops.push(next);
    }
    hops
}

/// Lets this process have as many files open as it could ask for, and returns how many that are.
#[cfg(unix)]
pub fn raise_open_files() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).is_ok();
    if raised { limit.maximum } else { limit.current }.unwrap_or(u64::MAX)
}

/// Makes a file that its owner alone may read, whatever the umask says. One that is there already is an error: others may have it open.
pub fn create_private(file: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(file)?.write_all(text.as_bytes())
}

/// The folder that a file is in.
pub fn folder(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(not(unix))]
pub fn may_write(_: &Path) -> bool {
    true
}

#[cfg(not(unix))]
pub fn is_public(_: &Path) -> bool {
    false
}

#[cfg(not(unix))]
pub fn free_bytes(_: &Path) -> Option<(u64, u64)> {
    None
}

#[cfg(not(unix))]
pub fn raise_open_files() -> u64 {
    u64::MAX
}

#[cfg(not(unix))]
pub fn open_files() -> Option<(u64, u64)> {
    None
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_private_file_is_made_anew_and_none_that_others_may_have_open_is_written_into() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("secret");
        super::create_private(&file, "of ours").expect("it is made");
        std::fs::write(&file, "of others").expect("is written");
        assert!(super::create_private(&file, "of ours").is_err());
        assert_eq!(std::fs::read_to_string(&file).expect("is read"), "of others");
    }
}

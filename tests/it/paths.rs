//! Where an SQLite database is: behind a link, and in files whose names a URL writes in another way.

use std::{fs, path::Path, process::Command};

use crate::support::program;

/// A command without a secret in its environment.
fn tidings(folder: &Path, url: &str, arguments: &[&str]) -> Command {
    let mut command = program(&[], folder, url);
    command.env_remove("JWT_SECRET").args(arguments);
    command
}

fn says(command: &mut Command) -> String {
    let output = command.output().expect("it runs");
    [output.stdout, output.stderr].map(|said| String::from_utf8(said).expect("text")).concat()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"));
    let mut names: Vec<String> = entries.collect();
    names.sort();
    names
}

/// A server that is told to serve, and is ended once it does.
struct Serving(std::process::Child);

impl Serving {
    fn start(folder: &Path, url: &str) -> Self {
        use std::io::{BufRead, BufReader};
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
        command.current_dir(folder).env_clear().env("DATABASE_URL", url).env("HOST", "127.0.0.1").env("PORT", "0");
        let mut child = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::null()).spawn().expect("it starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("text");
        assert!(line.contains("tidings listens on"), "{line}");
        Self(child)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[test]
fn a_database_behind_a_link_is_the_file_that_the_link_leads_to() {
    let folder = tempfile::tempdir().expect("a folder");
    let (here, there) = (folder.path().join("here"), folder.path().join("there"));
    fs::create_dir(&here).and_then(|()| fs::create_dir(&there)).expect("folders");
    std::os::unix::fs::symlink("../there/chat.db", here.join("link.db")).expect("a link");
    // The link may come first.
    let serving = Serving::start(&here, "sqlite://link.db");
    assert_eq!(names(&here), ["link.db"]);
    assert!(names(&there).contains(&"chat.db.jwt-secret".to_owned()), "{:?}", names(&there));
    let status = says(&mut tidings(&here, "sqlite://link.db", &["migrate", "--status"]));
    assert!(status.contains("applied m2026_11_01_tables") && !status.contains("pending"), "{status}");
    let found = says(&mut tidings(&here, "sqlite://link.db", &["doctor"]));
    assert!(found.contains("steps are taken") && found.contains("chat.db.jwt-secret"), "{found}");
    let copied = says(&mut tidings(&here, "sqlite://link.db", &["backup", "copy.db"]));
    assert!(copied.contains("checked and whole") && copied.contains("../there/chat.db-wal"), "{copied}");
    drop(serving);
    let first = fs::read_to_string(there.join("chat.db.jwt-secret")).expect("a secret");
    drop(Serving::start(&there, "sqlite://chat.db"));
    drop(Serving::start(&here, "sqlite://link.db"));
    assert_eq!(fs::read_to_string(there.join("chat.db.jwt-secret")).expect("a secret"), first, "by either name");
    assert_eq!(names(&here), ["copy.db", "link.db"]);
}

#[test]
fn a_secret_that_lies_beside_a_link_goes_on_being_used() {
    let folder = tempfile::tempdir().expect("a folder");
    let (here, there) = (folder.path().join("here"), folder.path().join("there"));
    fs::create_dir(&here).and_then(|()| fs::create_dir(&there)).expect("folders");
    drop(Serving::start(&there, "sqlite://chat.db"));
    std::os::unix::fs::symlink(there.join("chat.db"), here.join("link.db")).expect("a link");
    fs::rename(there.join("chat.db.jwt-secret"), here.join("link.db.jwt-secret")).expect("a secret");
    drop(Serving::start(&here, "sqlite://link.db"));
    assert_eq!(names(&here), ["link.db", "link.db.jwt-secret"]);
    assert!(!there.join("chat.db.jwt-secret").exists(), "no second secret");
}

#[test]
fn a_url_is_read_in_one_way_everywhere() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = "sqlite://my%20chat%3F.db";
    let serving = Serving::start(folder.path(), url);
    assert!(names(folder.path()).iter().all(|name| name.starts_with("my chat?.db")), "{:?}", names(folder.path()));
    let status = says(&mut tidings(folder.path(), url, &["migrate", "--status"]));
    assert!(status.contains("applied m2026_11_01_tables") && !status.contains("pending"), "{status}");
    assert!(says(&mut tidings(folder.path(), url, &["doctor"])).contains("steps are taken"));
    assert!(says(&mut tidings(folder.path(), url, &["backup", "copy.db"])).contains("checked and whole"));
    drop(serving);
}

#[test]
fn a_start_that_fails_leaves_nothing_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("notes.db"), "no database at all, but long enough to have a header ".repeat(40)).expect("a file");
    for url in ["sqlite://none/chat.db", "sqlite://notes.db"] {
        assert!(says(&mut tidings(folder.path(), url, &["serve"])).starts_with("tidings: "), "{url}");
        assert_eq!(names(folder.path()), ["notes.db"], "{url}");
    }
}

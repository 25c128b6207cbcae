//! `tidings backup`: the copy holds all that was acknowledged before, is private, whole and good to start on. The tests that make one run on
//! SQLite, whichever database the others run on.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::json;

use crate::support::{Database, Disk, Process, ROOMY, TestApp};

/// Runs the command to its end: whether it succeeded, and what it said.
async fn back_up(folder: &Path, url: &str, file: &str) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
    ends(command.args(["backup", file]).current_dir(folder).env_clear().env("DATABASE_URL", url)).await
}

async fn ends(command: &mut Command) -> (bool, String) {
    let running = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
    let output = tokio::task::spawn_blocking(move || running.wait_with_output()).await.expect("no panic").expect("the program runs");
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).expect("it speaks UTF-8"))
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"));
    let mut names: Vec<String> = entries.collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_backup_under_load_holds_all_that_was_acknowledged_before_and_serves() {
    let (folder, elsewhere) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let app = TestApp::over(Database::sqlite(folder.path()).await, tempfile::tempdir().expect("a folder"), ROOMY).await;
    let (ann, _, conversation) = app.pair().await;
    let a = app.socket(&ann).await;
    let text = |n: usize| json!({"conversationId": conversation, "message": format!("{n} {}", "x".repeat(2000))});
    for ack in (0..2000).map(|n| a.emit_asking("send-message", text(n))).collect::<Vec<_>>() {
        assert_eq!(a.acked(ack).await["ok"], true);
    }
    let target = elsewhere.path().join("copy.db");
    let writing = async {
        for n in 2000.. {
            a.done("send-message", text(n)).await;
        }
    };
    let (is_done, said) = tokio::select! {
        done = back_up(folder.path(), &app.database.url, target.to_str().expect("a path")) => done,
        () = writing => unreachable!("it writes on"),
    };
    assert!(is_done && said.contains("copied 100 %") && said.contains("To restore it"), "{said}");
    assert_eq!(names(elsewhere.path()), ["copy.db"], "one file");
    assert_eq!(fs::metadata(&target).expect("a file").permissions().mode() & 0o777, 0o600);

    fs::rename(&target, elsewhere.path().join("test.db")).expect("the copy gets its name");
    let copy = Database::sqlite(elsewhere.path()).await;
    assert_eq!(copy.one::<String>("PRAGMA integrity_check").await, "ok");
    let held: Vec<i64> =
        copy.all("SELECT CAST(substr(message_text, 1, instr(message_text, ' ')) AS INTEGER) FROM messages ORDER BY id").await;
    assert!(held.len() >= 2000 && held.iter().enumerate().all(|(n, held)| *held == n as i64), "a beginning of all, without a gap");
    let restored = TestApp::over(copy, tempfile::tempdir().expect("a folder"), ROOMY).await;
    let sent = restored.socket(&ann).await.send(conversation, "on we go").await;
    assert_eq!(sent["id"], held.len() as i64 + 1);
}

#[tokio::test]
async fn a_backup_overwrites_nothing_and_leaves_nothing_behind_when_it_fails() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = Database::sqlite(folder.path()).await;
    let app = TestApp::over(database, tempfile::tempdir().expect("a folder"), "").await;
    fs::write(folder.path().join("taken"), "mine").expect("a file");
    let before = names(folder.path());
    for (file, word) in [("taken", "exists already"), ("none/copy.db", "cannot be written"), ("..", "exists already")] {
        let (is_done, said) = back_up(folder.path(), &app.database.url, file).await;
        assert!(!is_done && said.contains(file) && said.contains(word), "{said}");
    }
    let (is_done, said) = back_up(folder.path(), "sqlite://other.db", "copy.db").await;
    assert!(!is_done && said.contains("There is no database other.db"), "{said}");
    assert_eq!(fs::read_to_string(folder.path().join("taken")).expect("a file"), "mine");
    assert_eq!(names(folder.path()), before);
}

#[tokio::test]
async fn a_backup_onto_a_full_disk_fails_and_leaves_nothing_behind() {
    let (folder, disk) = (tempfile::tempdir().expect("a folder"), Disk::small());
    let database = Database::sqlite(folder.path()).await;
    let process = Process::start(folder.path(), &database.url);
    let app = TestApp::of(&process, database);
    let (ann, _, conversation) = app.pair().await;
    let first = app.socket(&ann).await.send(conversation, &"x".repeat(9000)).await;
    app.database.run(&format!("UPDATE messages SET message_text = hex(randomblob(3000000)) WHERE id = {}", first["id"])).await;
    let target = disk.path().join("copy.db");
    let mut command = Command::new("sh");
    let limit = if disk.is_mounted() { "unlimited" } else { "1000" };
    command.args(["-c", "trap '' XFSZ; ulimit -f $1; exec \"$0\" backup \"$2\"", env!("CARGO_BIN_EXE_tidings"), limit]).arg(&target);
    let (is_done, said) = ends(command.env("DATABASE_URL", &app.database.url)).await;
    assert!(!is_done && (said.contains("full") || said.contains("disk I/O error")) && said.contains("nothing was written"), "{said}");
    assert_eq!(names(disk.path()), [] as [String; 0]);
}

#[tokio::test]
async fn a_damaged_database_makes_no_backup() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("test.db"), "no database\n".repeat(1000)).expect("a file");
    let (is_done, said) = back_up(folder.path(), "sqlite://test.db", "copy.db").await;
    assert!(!is_done && said.contains("cannot be read") && said.contains("copy a backup"), "{said}");
    assert_eq!(names(folder.path()), ["test.db"]);
}

#[tokio::test]
async fn other_databases_have_their_own_programs_for_it() {
    let folder = tempfile::tempdir().expect("a folder");
    for (url, program) in
        [("mysql://u:secret@h/d", "mysqldump"), ("mariadb://u:secret@h/d", "mariadb-dump"), ("postgres://u:secret@h/d", "pg_dump")]
    {
        let (is_done, said) = back_up(folder.path(), url, "copy.db").await;
        assert!(!is_done && said.contains(program) && !said.contains("secret"), "{said}");
    }
    assert_eq!(names(folder.path()), [] as [String; 0]);
}

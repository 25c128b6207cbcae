//! When an SQLite file cannot be written: what is acknowledged is stored, what fails is refused and told, all else goes on, and it heals by
//! itself. These tests run on SQLite, whichever database the others run on.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
    time::Duration,
};

use serde_json::{Value, json};
use tidings::clock;
use tokio::time::sleep;

use crate::support::{Answer, Database, Disk, Process, TestApp, User, program, refusal};

/// How long the server may take to notice, and to heal.
const SOON: Duration = Duration::from_secs(2);

async fn readiness(app: &TestApp) -> Answer {
    app.answer(app.request("GET", "/readyz")).await
}

/// Asks until the server is ready, or not, as wanted.
async fn readiness_soon(app: &TestApp, status: u16) -> Value {
    let start = clock::instant();
    loop {
        let answer = readiness(app).await;
        if answer.status == status {
            return answer.body;
        }
        assert!(start.elapsed() < SOON, "after 2 s: {answer:?}");
        sleep(Duration::from_millis(50)).await;
    }
}

async fn texts(app: &TestApp, user: &User, conversation: i64) -> Vec<String> {
    let rows = app.get(&format!("/api/messaging/conversations/{conversation}/messages"), user).await.rows();
    rows.iter().map(|row| row["message_text"].as_str().expect("a text").to_owned()).collect()
}

/// What is sent before, during and after an outage of `disk`.
async fn survives(disk: Disk) {
    let database = Database::sqlite(disk.path()).await;
    let mut process = Process::start(disk.path(), &database.url);
    let app = TestApp::of(&process, database);
    let (ann, bob, conversation) = app.pair().await;
    let carl = app.user("carl").await;
    let (a, b) = (app.socket(&ann).await, app.socket(&bob).await);
    b.done("join-conversation", conversation).await;
    let message = |n: usize| json!({"conversationId": conversation, "message": n.to_string(), "tempId": format!("temp-of-number-{n}")});
    for n in 0..5 {
        a.done("send-message", message(n)).await;
    }
    assert_eq!(readiness_soon(&app, 200).await["database"], "ok");

    // Some are under way when it happens.
    let mut asked: Vec<(usize, u64)> = (5..15).map(|n| (n, a.emit_asking("send-message", message(n)))).collect();
    disk.fill(&process);
    let begin = clock::instant();
    asked.extend((15..25).map(|n| (n, a.emit_asking("send-message", message(n)))));
    assert_eq!(readiness_soon(&app, 503).await["database"], disk.complaint());
    let (mut stored, mut failed): (Vec<usize>, Vec<usize>) = ((0..5).collect(), Vec::new());
    for (n, ack) in asked {
        let answer = a.acked(ack).await;
        if answer["ok"] == true {
            stored.push(n);
        } else {
            assert_eq!(answer["code"], "unavailable", "{answer}");
            failed.push(n);
        }
    }
    assert!(failed.len() >= 10 && begin.elapsed() < Duration::from_secs(5), "{failed:?} failed after {:?}", begin.elapsed());
    let told = a.rest_of("message-failed").await;
    let told: Vec<&Value> = told.iter().map(|failure| &failure["tempId"]).collect();
    assert_eq!(told, failed.iter().map(|n| json!(format!("temp-of-number-{n}"))).collect::<Vec<_>>().iter().collect::<Vec<_>>());
    let refused = app.post("/api/messaging/conversations", &ann, json!({"otherUserId": carl.id})).await;
    refused.refused(503, "unavailable");
    assert!(refused.header("retry-after").is_some());
    let numbers = |all: &[usize]| all.iter().map(usize::to_string).collect::<Vec<_>>();
    assert_eq!(texts(&app, &ann, conversation).await, numbers(&stored), "what is stored can be read");
    a.emit("typing", json!({"conversationId": conversation}));
    b.heard("user-typing").await;
    let late = app.socket(&carl).await;
    late.fence().await;
    assert_eq!(readiness(&app).await.status, 503);

    disk.free(&process);
    let begin = clock::instant();
    loop {
        let answer = a.ask("send-message", message(100)).await;
        if answer["ok"] == true {
            break;
        }
        assert!(begin.elapsed() < SOON, "after 2 s: {answer}");
    }
    stored.push(100);
    readiness_soon(&app, 200).await;
    for n in failed {
        a.done("send-message", message(n)).await;
        stored.push(n);
    }
    app.conversation(&ann, &carl).await;
    assert_eq!(texts(&app, &ann, conversation).await, numbers(&stored), "nothing is missing, nothing twice");
    let heard = b.rest_of("message-received").await;
    let heard: Vec<&str> = heard.iter().map(|message| message["message_text"].as_str().expect("a text")).collect();
    assert_eq!(heard, numbers(&stored), "and nothing was announced that was not stored");
    assert!(process.is_running() && !a.is_disconnected() && !b.is_disconnected());
    let log = process.log();
    for (sentence, times) in [("the database cannot be written", 1), ("the database can be written again", 1), ("panicked", 0)] {
        assert_eq!(log.matches(sentence).count(), times, "{sentence} in {log}");
    }
}

#[tokio::test]
async fn while_the_disk_is_full_sends_are_refused_the_rest_goes_on_and_it_heals_when_there_is_room() {
    survives(Disk::small()).await;
}

#[tokio::test]
async fn while_the_file_cannot_be_written_sends_are_refused_the_rest_goes_on_and_it_heals_when_it_can() {
    survives(Disk::forbidding()).await;
}

#[tokio::test]
async fn that_the_disk_is_full_is_noticed_before_anybody_sends() {
    for disk in [Disk::small(), Disk::forbidding()] {
        let database = Database::sqlite(disk.path()).await;
        let process = Process::start(disk.path(), &database.url);
        let app = TestApp::of(&process, database);
        readiness_soon(&app, 200).await;
        disk.fill(&process);
        assert_eq!(readiness_soon(&app, 503).await["database"], disk.complaint());
        disk.free(&process);
        readiness_soon(&app, 200).await;
    }
}

/// The program as somebody for whom the permissions of files count: root without the right to override them, when it is root.
fn unprivileged(folder: &Path) -> Command {
    let is_root = Command::new("id").arg("-u").output().expect("id runs").stdout == b"0\n";
    let drop = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search"];
    program(if is_root { &drop } else { &[] }, folder, "sqlite://test.db")
}

#[tokio::test]
async fn a_file_or_folder_that_cannot_be_written_is_refused_at_start_with_what_to_do() {
    for (folder_mode, file_mode) in [(0o555, 0o444), (0o755, 0o444), (0o555, 0o644)] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("test.db");
        let made = unprivileged(folder.path()).arg("migrate").output().expect("the program runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        fs::set_permissions(&file, Permissions::from_mode(file_mode)).expect("the file is ours");
        fs::set_permissions(folder.path(), Permissions::from_mode(folder_mode)).expect("the folder is ours");
        let said = refusal(&mut unprivileged(folder.path()));
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("the folder is ours");
        assert!(said.contains("test.db") && said.contains("let the user that tidings runs as write"), "{said}");
    }
}

#[tokio::test]
async fn a_disk_that_is_full_at_start_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let limited = ["sh", "-c", "trap '' XFSZ; ulimit -f 8; exec \"$0\""];
    let said = refusal(&mut program(&limited, folder.path(), "sqlite://test.db"));
    assert!(said.contains("test.db") && said.contains("then start again"), "{said}");
}

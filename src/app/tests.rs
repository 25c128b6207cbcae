//! What becomes of the server when something in it panics or hangs. A panic and the log belong to a whole process, so that each such test
//! runs itself once more in a process of its own, and looks at what that says.

use std::{process::Command, time::Duration};

use entity::UserId;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};

use super::{Server, listen};
use crate::auth::Actor;
use crate::chat::{Barred, NewAccount};
use crate::clock;
use crate::config::{DEFAULTS, Settings};
use crate::store::jobs::{Done, Job};
use crate::wire::names::NAMES;
use crate::{faults, logging, panics};

const DEADLINE: Duration = Duration::from_secs(20);

/// Runs an ignored test alone, and returns what it wrote to its log.
fn alone(test: &str) -> String {
    let own = std::env::current_exe().expect("the tests are a program");
    let output = Command::new(own).args(["--exact", &format!("app::tests::{test}"), "--ignored", "--nocapture"]).output().expect("it runs");
    let (said, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("1 passed"), "{said}\n{log}");
    log.into_owned()
}

/// A server, two users who share a conversation, and its id.
struct Scene {
    server: Server,
    tokens: [String; 2],
    conversation: i64,
    _folder: tempfile::TempDir,
}

impl Scene {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let url = format!("sqlite://{}", folder.path().join("test.db").display());
        let environment = |name: &str| match name {
            "HOST" => Some("127.0.0.1".to_owned()),
            "PORT" => Some("0".to_owned()),
            "DATABASE_URL" => Some(url.clone()),
            _ => None,
        };
        let file = folder.path().join("settings.toml");
        std::fs::write(&file, DEFAULTS).expect("the settings are written");
        let settings = Settings::load_with(Some(&file), environment).expect("the settings are good");
        let server = Server::start(settings).await.expect("it starts");
        let chat = server.chat();
        let mut people = Vec::new();
        for name in ["ann", "bob"] {
            let (email, password) = (format!("{name}@test.example"), "a good password".to_owned());
            let account = NewAccount { username: name.to_owned(), email, password, ..NewAccount::default() };
            let (user, token) = chat.register(account).await.expect("an account");
            people.push((user, token.expect("a token")));
        }
        let ((bob, b), (_, a)) = people.pop().zip(people.pop()).expect("two");
        let ann = chat.authenticate(&a).await.expect("ann");
        let conversation = chat.open_conversation(&ann, bob.id).await.expect("a conversation").0.id.0;
        Self { server, tokens: [a, b], conversation, _folder: folder }
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let request = reqwest::Client::new().get(format!("http://{}{path}", self.server.address)).bearer_auth(&self.tokens[0]);
        let answer = request.send().await.expect("it answers");
        (answer.status().as_u16(), answer.text().await.expect("text"))
    }

    async fn ready(&self) -> (u16, Value) {
        let (status, body) = self.get("/readyz").await;
        (status, serde_json::from_str(&body).expect("JSON"))
    }

    /// A client of one of the two, who has the conversation open.
    async fn client(&self, who: usize) -> Client {
        let url = format!("ws://{}/socket.io/?EIO=4&transport=websocket", self.server.address);
        let mut client = Client { wire: connect_async(url).await.expect("a websocket").0, heard: Vec::new() };
        client.say(format!("40{}", json!({"token": self.tokens[who]}))).await;
        client.until("40{").await;
        let [_, join, ..] = NAMES;
        assert_eq!(client.ask(join, json!(self.conversation)).await["ok"], true);
        client
    }

    fn message(&self, text: &str) -> Value {
        json!({"conversationId": self.conversation, "message": text})
    }
}

struct Client {
    wire: WebSocketStream<MaybeTlsStream<TcpStream>>,
    heard: Vec<String>,
}

impl Client {
    async fn say(&mut self, packet: String) {
        self.wire.send(Message::text(packet)).await.expect("it is open");
    }

    /// The next packet that begins like this.
    async fn until(&mut self, begin: &str) -> String {
        loop {
            let packet = timeout(DEADLINE, self.wire.next()).await.unwrap_or_else(|_| panic!("{begin} does not come: {:?}", self.heard));
            let packet = packet.expect("it is open").expect("a packet").into_text().expect("text").to_string();
            if packet == "2" {
                self.say("3".to_owned()).await;
            } else if packet.starts_with(begin) {
                return packet;
            }
            self.heard.push(packet);
        }
    }

    async fn ask(&mut self, name: &str, payload: Value) -> Value {
        self.say(format!("427{}", json!([name, payload]))).await;
        let ack: Value = serde_json::from_str(&self.until("437").await[3..]).expect("JSON");
        ack[0].clone()
    }
}

#[test]
fn a_panic_is_answered_counted_and_logged_once_without_its_text_and_nobody_else_notices() {
    let log = alone("panics_of_handlers");
    assert_eq!(log.matches("panics: panicked").count(), 3, "{log}");
    for place in ["src/socket/events.rs:", "src/rest/extract.rs:", "src/store/jobs.rs:"] {
        assert_eq!(log.matches(place).count(), 1, "{place} in {log}");
    }
    assert!(!log.contains(faults::TEXT) && !log.contains("stored all the same"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs in a process of its own"]
async fn panics_of_handlers() {
    let scene = Scene::new().await;
    let _log = logging::start(&Settings::load_with(None, |_| None).expect("the defaults are good")).expect("a log");
    panics::install();
    let (mut ann, mut bob) = (scene.client(0).await, scene.client(1).await);
    let [_, _, _, send, ..] = NAMES;

    faults::arm("event");
    assert_eq!(ann.ask(send, scene.message("lost")).await["code"], "internal");
    assert_eq!(ann.ask(send, scene.message("first")).await["ok"], true, "the same socket goes on");
    bob.until("42[").await;

    faults::arm("request");
    let (status, body) = scene.get("/api/messaging/unread-count").await;
    assert!(status == 500 && body.contains("\"code\":\"internal\"") && !body.contains(faults::TEXT), "{status} {body}");
    assert_eq!(scene.get("/api/messaging/unread-count").await.0, 200);

    faults::arm("telling");
    assert_eq!(ann.ask(send, scene.message("stored all the same")).await["code"], "internal");
    assert_eq!(ann.ask(send, scene.message("third")).await["ok"], true, "the writer goes on");
    while !bob.until("42[").await.contains("third") {}
    assert!(!bob.heard.iter().any(|packet| packet.starts_with("41")));

    assert_eq!(scene.ready().await.0, 200);
    let metrics = scene.get("/metrics").await.1;
    for line in [
        "tidings_panics_total 3\n".to_owned(),
        format!("tidings_events_total{{event=\"{send}\",outcome=\"internal\"}} 2\n"),
        format!("tidings_events_total{{event=\"{send}\",outcome=\"ok\"}} 2\n"),
    ] {
        assert!(metrics.contains(&line), "{line} in {metrics}");
    }
    scene.server.stop().await;
}

#[test]
fn a_task_that_the_server_cannot_do_without_takes_it_along() {
    for (test, name) in [("death_of_the_writer", "writer"), ("death_of_a_watch", "watch")] {
        let log = alone(test);
        assert!(log.matches("panics: panicked").count() == 1 && !log.contains(faults::TEXT), "{name}: {log}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs in a process of its own"]
async fn death_of_the_writer() {
    let scene = Scene::new().await;
    let _log = logging::start(&Settings::load_with(None, |_| None).expect("the defaults are good")).expect("a log");
    panics::install();
    let mut ann = scene.client(0).await;
    faults::arm("writer");
    let [_, _, _, send, ..] = NAMES;
    assert_eq!(ann.ask(send, scene.message("lost")).await["code"], "internal");
    assert_eq!(timeout(DEADLINE, scene.server.died()).await.expect("it is noticed"), "writer");
    let (status, body) = scene.ready().await;
    assert_eq!((status, &body["writer"], &body["database"]), (503, &json!("gone"), &json!("ok")), "{body}");
    let outcome = timeout(DEADLINE, scene.server.run(std::future::pending())).await.expect("it does not hang on");
    assert!(outcome.expect_err("an error").contains("(writer)"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs in a process of its own"]
async fn death_of_a_watch() {
    let scene = Scene::new().await;
    let _log = logging::start(&Settings::load_with(None, |_| None).expect("the defaults are good")).expect("a log");
    panics::install();
    faults::arm("watch");
    let outcome = timeout(DEADLINE, scene.server.run(std::future::pending())).await.expect("it does not hang on");
    assert!(outcome.expect_err("an error").contains("(watch)"));
}

#[tokio::test]
async fn all_addresses_are_those_of_both_protocols() {
    let (listener, address) = listen("[::]:0".parse().expect("an address")).expect("a port is free");
    for host in ["127.0.0.1", "::1"].iter().filter(|host| address.is_ipv6() || !host.contains(':')) {
        let (client, accepted) = tokio::join!(TcpStream::connect((*host, address.port())), listener.accept());
        assert!(client.is_ok() && accepted.is_ok(), "{host}");
    }
    let taken = listen(address).expect_err("one cannot listen twice");
    assert!(taken.starts_with("Cannot listen on "), "{taken}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_living_socket_of_a_banned_user_does_nothing_more() {
    let scene = Scene::new().await;
    let mut ann = scene.client(0).await;
    let chat = scene.server.chat();
    let banned = chat.authenticate(&scene.tokens[0]).await.expect("ann");
    let admin = Actor { is_admin: true, ..chat.authenticate(&scene.tokens[1]).await.expect("bob") };
    // By the rules alone: nobody closes the socket yet.
    chat.ban(&admin, banned.id).await.expect("an admin may");
    let [_, _, _, send, ..] = NAMES;
    assert_eq!(ann.ask(send, scene.message("after the ban")).await["code"], "unauthorized");
    scene.server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_writer_that_hangs_is_not_ready_until_it_goes_on() {
    let scene = Scene::new().await;
    let (status, body) = scene.ready().await;
    assert_eq!((status, &body["writer"]), (200, &json!("ok")));
    let before = body["since"]["writer"].as_str().expect("a moment").to_owned();
    let (release, hangs) = std::sync::mpsc::channel::<()>();
    let hangs = std::sync::Mutex::new(hangs);
    let stuck = Done::new(move |_| drop(hangs.lock().map(|hangs| hangs.recv())));
    scene.server.chat().writer().submit(Job::Flush(stuck)).await;
    let writer = async |wanted: &str| loop {
        let (status, body) = scene.ready().await;
        if body["writer"] == wanted {
            return (status, body);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let (status, body) = timeout(DEADLINE, writer("stuck")).await.expect("it is noticed");
    assert_eq!((status, &body["code"], &body["status"]), (503, &json!("unavailable"), &json!("unavailable")), "{body}");
    assert!(body["since"]["writer"].as_str().is_some_and(|since| since > before.as_str()), "{body}");
    drop(release);
    timeout(DEADLINE, writer("ok")).await.expect("it goes on");
    scene.server.stop().await;
}

#[cfg(unix)]
#[tokio::test]
async fn a_made_secret_and_database_are_their_owners_alone_and_a_trivial_secret_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a folder");
    let start = async |secret: Option<&str>| {
        let environment = |name: &str| match name {
            "HOST" => Some("127.0.0.1".to_owned()),
            "PORT" => Some("0".to_owned()),
            "DATABASE_URL" => Some(format!("sqlite://{}/t.db", folder.path().display())),
            "JWT_SECRET" => secret.map(str::to_owned),
            _ => None,
        };
        let file = folder.path().join("settings.toml");
        std::fs::write(&file, DEFAULTS).expect("the settings are written");
        Server::start(Settings::load_with(Some(&file), environment).expect("the settings are good")).await
    };
    let sentence = start(Some("hunter2")).await.err().expect("is refused");
    assert!(sentence.contains("JWT_SECRET") && !sentence.contains("hunter2"), "{sentence}");
    // Somebody else may have it open.
    let secret = folder.path().join("t.db.jwt-secret");
    std::fs::write(&secret, "").expect("a file");
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o666)).expect("rights");
    let server = start(None).await.expect("it starts");
    for name in ["t.db", "t.db-wal", "t.db-shm", "t.db.jwt-secret"] {
        let mode = folder.path().join(name).metadata().unwrap_or_else(|e| panic!("{name}: {e}")).permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_user_who_exists_no_more_is_found_though_nobody_asks_as_that_user() {
    let scene = Scene::new().await;
    let (chat, before, gone) = (scene.server.chat(), clock::instant(), UserId(999));
    let ann = chat.user_of(&scene.tokens[0]).expect("a good token");
    chat.look_for_gone(&[ann, gone]).await.expect("the database answers");
    assert_eq!((chat.barred(ann, before), chat.barred(gone, before)), (None, Some(Barred::Gone)));
    assert_eq!(chat.barred(gone, clock::instant()), None, "whoever has the id now is found to exist later");
}

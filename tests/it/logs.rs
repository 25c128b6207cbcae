//! What the log says of sockets and requests: one line for each end and each failure, with ids and numbers, and never what somebody wrote.

use std::{fs, time::Duration};

use axum::{Router, extract::Request};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::support::{DEADLINE, Database, Process, TestApp};

const TEXT: &str = "the text that nobody logs";
const TEMP_ID: &str = "temp-id-that-nobody-logs";

/// A server in a process of its own, with settings.
async fn process(settings: &str) -> (TempDir, Process, TestApp) {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("config.toml"), settings).expect("the settings are written");
    let database = Database::create(folder.path()).await;
    let process = Process::start(folder.path(), &database.url);
    let app = TestApp::of(&process, database);
    (folder, process, app)
}

/// The lines of a JSON log, once there is one with this message.
async fn lines(process: &Process, message: &str) -> Vec<Value> {
    let said = async {
        loop {
            let log = process.log();
            let whole = log.rfind('\n').map_or("", |end| &log[..end]);
            let lines: Vec<Value> = whole.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect();
            if lines.iter().any(|line| line["fields"]["message"] == message) {
                return lines;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(DEADLINE, said).await.unwrap_or_else(|_| panic!("{message}: {}", process.log()))
}

fn of<'a>(lines: &'a [Value], message: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["fields"]["message"] == message).map(|line| &line["fields"]).collect()
}

const GONE: &str = "a socket is gone";
const REFUSED: &str = "an event was refused";
/// So often something is tried that goes wrong now and then.
const MANY: usize = 600;

#[tokio::test]
async fn the_end_of_a_socket_is_one_line_and_a_flood_of_failures_few_without_any_text() {
    let (_folder, process, app) = process("log = 'tidings=debug'\nlog_format = 'json'").await;
    let (ann, bob, conversation) = app.pair().await;
    let (a, b) = (app.socket(&ann).await, app.socket(&bob).await);
    b.done("join-conversation", conversation).await;
    a.done("send-message", json!({"conversationId": conversation, "message": TEXT, "tempId": TEMP_ID})).await;
    for _ in 0..50 {
        let ack = a.ask("send-message", json!({"conversationId": TEXT, "message": TEXT, "tempId": TEMP_ID})).await;
        assert_eq!(ack["ok"], false);
    }
    a.emit(TEXT, json!({"message": TEXT}));
    a.close().await;
    let lines = lines(&process, GONE).await;
    let gone = of(&lines, GONE);
    assert_eq!(gone.len(), 1);
    assert_eq!(
        (&gone[0]["user"], &gone[0]["kind"], &gone[0]["transport"], &gone[0]["reason"], &gone[0]["address"]),
        (&json!(ann.id), &json!("user"), &json!("websocket"), &json!("client_left"), &json!("127.0.0.1"))
    );
    assert_eq!((&gone[0]["events_in"], &gone[0]["failed"]), (&json!(52), &json!(50)));
    assert!(gone[0]["packets_out"].as_u64().is_some_and(|packets| packets > 100) && gone[0]["seconds"].as_f64() > Some(0.0));
    let refused = of(&lines, REFUSED);
    assert_eq!(refused.len() as u64 + gone[0]["suppressed"].as_u64().expect("a number"), 50, "those not logged are counted");
    assert_eq!(refused.len(), 10);
    for line in refused {
        assert_eq!((&line["event"], &line["code"], &line["user"]), (&json!("send-message"), &json!("invalid_payload"), &json!(ann.id)));
        assert!(line["socket"] == gone[0]["socket"] && line["microseconds"].is_u64(), "{line}");
    }
    let log = process.log();
    for secret in [TEXT, TEMP_ID, &ann.token, &ann.name] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
}

#[tokio::test]
async fn a_poller_that_leaves_is_logged_as_one() {
    let (_folder, process, app) = process("log_format = 'json'").await;
    let ann = app.user("ann").await;
    let post = async |path: &str, body: String| app.answer(app.request("POST", path).body(body)).await;
    let open = app.answer(app.request("GET", "/socket.io/?EIO=4&transport=polling")).await.body;
    let open: Value = serde_json::from_str(open.as_str().and_then(|open| open.strip_prefix('0')).expect("an open packet")).expect("JSON");
    let session = format!("/socket.io/?EIO=4&transport=polling&sid={}", open["sid"].as_str().expect("a session"));
    post(&session, format!("40{}", json!({"token": ann.token}))).await;
    // A ping may come first.
    while !app.answer(app.request("GET", &session)).await.body.as_str().is_some_and(|packets| packets.contains("40{")) {}
    post(&session, "41".to_owned()).await;
    let lines = lines(&process, GONE).await;
    let gone = of(&lines, GONE);
    assert_eq!((gone.len(), &gone[0]["transport"], &gone[0]["user"]), (1, &json!("polling"), &json!(ann.id)));
}

#[tokio::test]
async fn a_request_has_an_id_that_its_answer_its_line_and_the_upstream_share() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let upstream = listener.local_addr().expect("an address");
    let echo = |request: Request| async move {
        let id = request.headers().get("x-request-id").and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned();
        axum::Json(json!({"id": id}))
    };
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(echo)).await });
    let settings = format!("log = 'tidings=debug'\nlog_format = 'json'\nlegacy_upstream = 'http://{upstream}'");
    let (_folder, process, app) = process(&settings).await;
    let ann = app.user("ann").await;
    let ask = async |path: &str, id: Option<&str>| {
        let request = app.request("GET", path).bearer_auth(&ann.token);
        let answer = app.answer(if let Some(id) = id { request.header("x-request-id", id) } else { request }).await;
        (answer.header("x-request-id").expect("an id").to_owned(), answer.body)
    };
    let path = "/api/messaging/conversations?search=secret-of-ann";
    assert_eq!(ask(path, Some("Trace-1.a_b")).await.0, "Trace-1.a_b");
    let made = ask(path, None).await.0;
    assert!(made.len() == 16 && made != ask(path, None).await.0, "{made}");
    let (id, body) = ask("/legacy/path-of-ann", Some("for-upstream")).await;
    assert_eq!((id.as_str(), &body["id"]), ("for-upstream", &json!("for-upstream")));
    let (id, body) = ask("/legacy", None).await;
    assert_eq!(body["id"], id);
    for odd in ["", "a b", "a\"b", "{}", &"x".repeat(65)] {
        let (id, body) = ask("/legacy", Some(odd)).await;
        assert!(id != odd && id.len() == 16 && body["id"] == id, "{odd:?} is not taken: {id}");
    }
    ask("/readyz", Some("the-last-one")).await;
    let lines = lines(&process, "a request was answered").await;
    let span = |id: &str| lines.iter().find(|line| line["span"]["id"] == id).map(|line| (&line["span"], &line["fields"]));
    for id in ["Trace-1.a_b", &made] {
        let (span, fields) = span(id).unwrap_or_else(|| panic!("{id}: {}", process.log()));
        let shared = (&span["route"], &span["method"], &span["user"], &fields["status"]);
        assert_eq!(shared, (&json!("/api/messaging/conversations"), &json!("GET"), &json!(ann.id), &json!(200)));
        assert!(fields["microseconds"].is_u64());
    }
    assert_eq!(span("for-upstream").map(|(span, _)| &span["route"]), Some(&json!("other")));
    let log = process.log();
    for secret in ["secret-of-ann", "path-of-ann", &ann.token] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
}

#[tokio::test]
async fn lines_for_people_are_plain_where_nobody_looks_at_colours() {
    let (_folder, process, app) = process("").await;
    let ann = app.user("ann").await;
    app.socket(&ann).await.close().await;
    let said = async {
        while !process.log().contains(GONE) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(DEADLINE, said).await.expect("it is said");
    let log = process.log();
    let line = log.lines().find(|line| line.contains(GONE)).expect("a line");
    assert!(line.contains(&format!("user={}", ann.id)) && line.contains("reason=\"client_left\"") && !log.contains('\u{1b}'), "{log}");
}

#[tokio::test]
async fn a_socket_that_leaves_as_soon_as_it_is_let_in_has_its_line_too() {
    let (_folder, process, app) = process("[limits]\nhandshakes = { per_second = 1000, burst = 1000 }").await;
    let ann = app.user("ann").await;
    for _ in 0..MANY / 10 {
        join_all((0..10).map(async |_| app.socket(&ann).await.close().await)).await;
    }
    let said = async {
        while process.log().matches(GONE).count() < MANY {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(DEADLINE, said).await.unwrap_or_else(|_| panic!("{} of {MANY}", process.log().matches(GONE).count()));
}

#[tokio::test]
async fn an_old_backend_that_does_not_answer_is_one_line_for_a_request() {
    // Bound and not listening: the port refuses, and nobody else is given it.
    let port = tokio::net::TcpSocket::new_v4().expect("a socket");
    port.bind(std::net::SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port");
    let upstream = port.local_addr().expect("an address");
    let settings =
        format!("log = 'trace,hyper=off,hyper_util=off,sqlx=off,mio=off'\nlog_format = 'json'\nlegacy_upstream = 'http://{upstream}'");
    let (_folder, process, app) = process(&settings).await;
    for (n, path) in ["/api/trips", "/trips", "/api/trips/7"].into_iter().enumerate() {
        app.answer(app.request("GET", path).header("x-request-id", n.to_string())).await.refused(502, "unavailable");
    }
    // When there is a line of this one, those of the others are there as well.
    app.answer(app.request("GET", "/last").header("x-request-id", "last")).await.refused(502, "unavailable");
    let said = async {
        while !process.log().contains("\"last\"") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(DEADLINE, said).await.expect("it is said");
    let lines = lines(&process, "the legacy backend did not answer").await;
    for n in ["0", "1", "2"] {
        let loud: Vec<_> =
            lines.iter().filter(|line| line["span"]["id"] == n && ["WARN", "ERROR"].iter().any(|level| line["level"] == *level)).collect();
        assert_eq!(loud.len(), 1, "{loud:?}");
    }
    let loud = lines.iter().filter(|line| ["WARN", "ERROR"].iter().any(|level| line["level"] == *level) && line["span"]["id"] != "last");
    assert_eq!(loud.count(), 3, "{}", process.log());
}

#[tokio::test]
async fn a_proxy_that_names_no_address_is_warned_of_once() {
    let (_folder, process, app) = process("trusted_proxies = ['127.0.0.1']\nlog = 'tidings=debug'\nlog_format = 'json'").await;
    for n in 0..3 {
        let body = json!({"email": "nobody@test.example", "password": n.to_string()});
        app.answer(app.request("POST", "/api/auth/agency/login").header("x-forwarded-for", "unknown").json(&body))
            .await
            .refused(401, "unauthorized");
    }
    let lines = lines(&process, "a request was answered").await;
    let warned: Vec<_> = lines.iter().filter(|line| line["level"] == "WARN").collect();
    assert!(warned.len() == 1 && warned[0].to_string().contains("X-Forwarded-For"), "{warned:?}");
}

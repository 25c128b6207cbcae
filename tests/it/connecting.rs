//! Connecting: where the server listens, which tokens are believed, what the open packet says, and what becomes of a socket whose token ends.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};

use crate::support::{ROOMY, TestApp, token};

const HOUR: Duration = Duration::from_secs(3600);

async fn is_user(app: &TestApp, auth: Value, headers: &[(&'static str, &str)]) -> bool {
    let socket = app.connect(auth, headers).await.expect("connects");
    socket.ask("join-conversation", 999_999).await["code"] == "not_found"
}

#[tokio::test]
async fn a_good_token_makes_the_socket_its_user_wherever_it_stands() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let bearer = format!("Bearer {}", ann.token);
    assert!(is_user(&app, json!({"token": ann.token}), &[]).await);
    assert!(is_user(&app, json!({"token": bearer}), &[]).await);
    assert!(is_user(&app, Value::Null, &[("authorization", &bearer)]).await);
    assert!(is_user(&app, json!({"token": null}), &[("authorization", &bearer)]).await);
    assert!(is_user(&app, json!({"token": ann.token, "more": [1]}), &[("authorization", "Basic abc")]).await);
}

#[test]
fn the_demo_whose_passwords_everybody_knows_listens_for_this_machine_alone() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
    command.arg("demo").env("HOST", "0.0.0.0").env("PORT", "0").stdout(Stdio::piped()).stderr(Stdio::null());
    let mut demo = command.spawn().expect("the program starts");
    let mut lines = BufReader::new(demo.stdout.take().expect("a pipe")).lines().map(|line| line.expect("it speaks UTF-8"));
    let where_it_is = lines.find(|line| line.starts_with("tidings demo at "));
    let stopped = Command::new("kill").args(["-s", "TERM", &demo.id().to_string()]).status();
    assert!(stopped.is_ok_and(|status| status.success()) && lines.count() > 0);
    assert!(demo.wait().expect("it ends").success());
    assert!(where_it_is.as_ref().is_some_and(|line| line.starts_with("tidings demo at http://127.0.0.1:")), "{where_it_is:?}");
}

#[tokio::test]
async fn what_is_no_token_at_all_is_a_guest() {
    let app = TestApp::start().await;
    for auth in [Value::Null, json!({}), json!({"token": null}), json!({"token": ""}), json!({"userId": 1})] {
        let guest = app.connect(auth.clone(), &[]).await.expect("connects");
        guest.refused("join-conversation", 1, "unauthorized").await;
    }
}

#[tokio::test]
async fn a_token_that_proves_nothing_is_refused_with_one_sentence() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let forged = tidings::auth::Tokens::new("another secret", Duration::ZERO, true, &[]);
    let forged = forged.sign(entity::UserId(ann.id), Some("admin"), HOUR).expect("signs");
    let unsigned = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.eyJpZCI6MSwiZXhwIjo5OTk5OTk5OTk5fQ.";
    for (bad, sentence) in [
        (json!(token(ann.id, None, Duration::ZERO)), "Token has expired"),
        (json!(token(999_999, None, HOUR)), "User no longer exists"),
        (json!(forged), "Token is not valid"),
        (json!(unsigned), "Token is not valid"),
        (json!(ann.token[..ann.token.len() - 2]), "Token is not valid"),
        (json!("nonsense"), "Token is not valid"),
        (json!(7), "Token is not valid"),
        (json!(true), "Token is not valid"),
        (json!([ann.token]), "Token is not valid"),
        (json!({"token": ann.token}), "Token is not valid"),
    ] {
        let refusal = app.connect(json!({"token": bad}), &[]).await.err();
        assert_eq!(refusal.as_deref(), Some(sentence), "{bad}");
        if let Some(text) = bad.as_str() {
            let answer = app.answer(app.request("GET", "/api/auth/me").bearer_auth(text)).await;
            assert_eq!((answer.status, answer.body["error"].as_str()), (401, Some(sentence)), "by REST too: {bad}");
        }
    }
}

#[tokio::test]
async fn an_auth_that_cannot_be_read_makes_no_guest() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    for auth in [json!(ann.token), json!([{"token": ann.token}]), json!(true)] {
        let refusal = app.connect(auth.clone(), &[]).await.err();
        assert_eq!(refusal.as_deref(), Some("Token is not valid"), "{auth}");
    }
    let path = "/socket.io/?EIO=4&transport=polling";
    for nonsense in ["{\"token\":\"\\ud800\"}", "{\"token\":", "{]"] {
        let open = app.answer(app.request("GET", path)).await.body;
        let open: Value = serde_json::from_str(&open.as_str().expect("text")[1..]).expect("an open packet");
        let session = format!("{path}&sid={}", open["sid"].as_str().expect("a session"));
        assert_eq!(app.answer(app.request("POST", &session).body(format!("40{nonsense}"))).await.status, 200);
        let mut said = String::new();
        while !said.contains("44{") {
            assert!(!said.contains("40{"), "{nonsense}: {said}");
            said = app.answer(app.request("GET", &session)).await.body.as_str().expect("text").to_owned();
        }
        assert!(said.contains("Token is not valid"), "{nonsense}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_that_come_at_the_same_moment_are_counted_each() {
    let app = TestApp::with(&format!("{ROOMY}sockets_per_user = 3\n")).await;
    let ann = app.user("ann").await;
    let sockets = futures_util::future::join_all((0..40).map(|_| app.connect(json!({"token": ann.token}), &[]))).await;
    let refused = sockets.iter().filter(|socket| socket.as_ref().is_err_and(|why| why == "Too many connections of this user")).count();
    assert_eq!((refused, sockets.iter().flatten().count()), (37, 3));
}

#[tokio::test]
async fn a_live_socket_is_told_and_disconnected_when_its_token_ends() {
    let app = TestApp::with("[presence]\ngrace = \"10ms\"").await;
    let (ann, bob, conversation) = app.pair().await;
    let b = app.socket(&bob).await;
    let short = token(ann.id, None, Duration::from_secs(2));
    let a = app.connect(json!({"token": short}), &[]).await.expect("connects");
    a.send(conversation, "in time").await;
    assert_eq!(a.heard("error").await["code"], "token_expired");
    a.disconnected().await;
    assert_eq!(b.heard("user-offline").await["userId"], ann.id);
    assert_eq!(app.connect(json!({"token": short}), &[]).await.err().as_deref(), Some("Token has expired"));
}

#[tokio::test]
async fn the_open_packet_announces_what_the_original_did() {
    let app = TestApp::start().await;
    let answer = app.answer(app.request("GET", "/socket.io/?EIO=4&transport=polling")).await;
    let open = answer.body.as_str().and_then(|text| text.strip_prefix('0')).expect("an open packet");
    let open: Value = serde_json::from_str(open).expect("JSON");
    assert_eq!((&open["pingInterval"], &open["pingTimeout"], &open["maxPayload"]), (&json!(25000), &json!(20000), &json!(1_000_000)));
    assert_eq!(open["upgrades"], json!(["websocket"]));
}

#[tokio::test]
async fn a_request_may_have_more_than_a_hundred_headers_but_not_any_number() {
    let app = TestApp::start().await;
    for path in ["/healthz", "/socket.io/?EIO=4&transport=polling"] {
        for (headers, status) in [(200, 200), (300, 431)] {
            let request = (0..headers).fold(app.request("GET", path), |request, n| request.header(format!("x-{n}"), "1"));
            assert_eq!(app.answer(request).await.status, status, "{headers} headers: {path}");
        }
    }
}

#[tokio::test]
async fn a_user_holds_a_bounded_number_of_sockets_and_others_are_not_touched() {
    let app = TestApp::with(&format!("{ROOMY}sockets_per_user = 2\n")).await;
    let (ann, bob, _) = app.pair().await;
    let (one, two) = (app.socket(&ann).await, app.socket(&ann).await);
    one.fence().await;
    two.fence().await;
    assert!(app.connect(json!({"token": ann.token}), &[]).await.is_err());
    app.socket(&bob).await.fence().await;
}

#[tokio::test]
async fn an_event_that_nobody_knows_is_ignored_and_answered_only_if_it_asks() {
    let app = TestApp::start().await;
    let (ann, _, conversation) = app.pair().await;
    let socket = app.socket(&ann).await;
    socket.emit("no-such-event", json!({"a": 1}));
    socket.emit("message-received", json!({"id": 1}));
    socket.emit_raw("[\"toString\",{\"__proto__\":1},[[]],null]");
    assert!(socket.rest().await.iter().all(|event| event.name == "online-users"));
    assert_eq!(socket.ask("no-such-event", 1).await["code"], "invalid_payload");
    socket.send(conversation, "and all is well").await;
}

//! What is passed on to the old backend behind, and what is not: the upstream notes each head that it gets.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use crate::support::{DEADLINE, TestApp};

const ORIGIN: &str = "http://localhost:5173";

/// An old backend that notes what it is asked, and answers everything alike.
struct Upstream {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Upstream {
    async fn start(answer: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let (address, heads) = (listener.local_addr().expect("an address"), Arc::<Mutex<Vec<String>>>::default());
        let noted = heads.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let noted = noted.clone();
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while !head.windows(4).any(|four| four == b"\r\n\r\n") && stream.read_buf(&mut head).await.is_ok_and(|n| n > 0) {}
                    noted.lock().expect("a lock").push(String::from_utf8_lossy(&head).to_lowercase());
                    stream.write_all(answer.as_bytes()).await.ok();
                    // Whoever asked ends it.
                    while stream.read_buf(&mut head).await.is_ok_and(|n| n > 0) {}
                });
            }
        });
        Self { address, heads }
    }

    fn heard(&self) -> Vec<String> {
        std::mem::take(&mut *self.heads.lock().expect("a lock"))
    }

    fn setting(&self) -> String {
        format!("legacy_upstream = 'http://{}'\n", self.address)
    }
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close, x-inner\r\nx-inner: 1\r\nproxy-authenticate: Basic\r\n\
    access-control-allow-origin: *\r\naccess-control-expose-headers: X-Total-Count\r\n\r\nok";

/// The whole answer to a request of these lines, in lower case.
async fn ask(app: &TestApp, lines: &[&str]) -> String {
    let mut stream = TcpStream::connect(app.address).await.expect("the server accepts");
    let request = format!("{}\r\nConnection: close, X-Secret\r\n\r\n", lines.join("\r\n"));
    stream.write_all(request.as_bytes()).await.expect("the request is sent");
    let mut answer = Vec::new();
    timeout(DEADLINE, stream.read_to_end(&mut answer)).await.expect("an answer in time").ok();
    String::from_utf8_lossy(&answer).to_lowercase()
}

async fn get(app: &TestApp, path: &str) -> String {
    ask(app, &[&format!("GET {path} HTTP/1.1"), "Host: app.example.com"]).await
}

#[tokio::test]
async fn a_path_of_ours_is_not_passed_on_however_it_is_spelled() {
    let upstream = Upstream::start(OK).await;
    let app = TestApp::with(&upstream.setting()).await;
    let upgrade = ["Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="];
    for path in [
        "/socket.io/x?EIO=4&transport=polling",
        "/SOCKET.IO/?EIO=4&transport=polling",
        "//socket.io/?EIO=4",
        "/x/../socket.io/?EIO=4",
        "/socket%2eio/",
        "/API/messaging/conversations",
        "/api//messaging/conversations",
        "/api/%6dessaging/conversations",
        "/api%2fmessaging/conversations",
        "/api/messaging;x/conversations",
        "/api/x/%252e%252e/messaging",
        "/api/auth/traveller/LOGIN",
        "/api//auth/register",
        "/Metrics",
        "/healthz/",
    ] {
        let answer = get(&app, path).await;
        assert!(answer.starts_with("http/1.1 404") && answer.contains("no such route"), "{path}: {answer}");
        let first = format!("GET {path} HTTP/1.1");
        let mut lines = vec![first.as_str(), "Host: app.example.com", "Connection: upgrade"];
        lines.extend(upgrade);
        assert!(!ask(&app, &lines).await.starts_with("http/1.1 101"), "{path}");
        assert_eq!(upstream.heard(), [] as [String; 0], "{path}");
    }
    assert!(ask(&app, &["OPTIONS * HTTP/1.1", "Host: app.example.com"]).await.starts_with("http/1.1 404"), "it means this server");
    assert_eq!(upstream.heard(), [] as [String; 0]);
    for path in ["/api/trips//7/./x/../y?z=%2F", "/api/messagingtoo", "/api/auth/me/avatar", "/x;v=1/%7bid%7d", "/x/"] {
        assert!(get(&app, path).await.starts_with("http/1.1 200"), "{path}");
        let heard = upstream.heard();
        assert!(heard.len() == 1 && heard[0].starts_with(&format!("get {} http/1.1", path.to_lowercase())), "{path}: {heard:?}");
    }
}

#[tokio::test]
async fn without_accounts_of_our_own_their_routes_are_passed_on_byte_for_byte() {
    let upstream = Upstream::start(OK).await;
    let app = TestApp::with(&format!("{}accounts = false", upstream.setting())).await;
    for path in [
        "/api/auth/me",
        "/api/auth/me/",
        "/api/auth/register/?a=%2fb",
        "/api/auth/traveller/login/",
        "/api/auth/agency/login/?",
        "/api/user/search/?query=x",
        "/api/user/search//",
    ] {
        assert!(get(&app, path).await.starts_with("http/1.1 200"), "{path}");
        let heard = upstream.heard();
        assert!(heard.len() == 1 && heard[0].starts_with(&format!("get {path} http/1.1\r\n")), "{path}: {heard:?}");
    }
}

#[tokio::test]
async fn strangers_speak_for_nobody_and_headers_of_a_hop_end_there() {
    let upstream = Upstream::start(OK).await;
    let app = TestApp::with(&upstream.setting()).await;
    let said = [
        "X-Forwarded-For: 6.6.6.6",
        "X-Forwarded-Host: evil",
        "X-Real-IP: 6.6.6.6",
        "X_Real_IP: 6.6.6.6",
        "Forwarded: for=6.6.6.6",
        "True-Client-IP: 6.6.6.6",
        "CF-Connecting-IP: 6.6.6.6",
        "X-Original-URL: /admin/6.6.6.6",
        "Proxy-Authorization: Basic 6.6.6.6",
        "X-Secret: 6.6.6.6",
    ];
    let mut lines = vec!["GET /api/trips HTTP/1.1", "Host: app.example.com", "Authorization: Bearer kept"];
    lines.extend(said);
    let answer = ask(&app, &lines).await;
    assert!(answer.starts_with("http/1.1 200") && !answer.contains("proxy-authenticate") && !answer.contains("x-inner"), "{answer}");
    let heard = upstream.heard().concat();
    assert!(!heard.contains("6.6.6.6") && !heard.contains("evil"), "{heard}");
    assert!(heard.contains("x-forwarded-for: 127.0.0.1\r\n") && heard.contains("authorization: bearer kept"), "{heard}");

    let trusting = TestApp::with(&format!("{}trusted_proxies = ['127.0.0.1']", upstream.setting())).await;
    ask(&trusting, &lines).await;
    let heard = upstream.heard().concat();
    assert!(heard.contains("x-forwarded-for: 6.6.6.6, 127.0.0.1") && heard.contains("x-real-ip: 6.6.6.6"), "{heard}");
    assert!(!heard.contains("proxy-authorization") && !heard.contains("x-secret"), "{heard}");
}

#[tokio::test]
async fn two_hosts_and_websockets_of_foreign_sites_do_not_reach_the_upstream() {
    let upstream = Upstream::start(OK).await;
    let app = TestApp::with(&upstream.setting()).await;
    let two = ask(&app, &["GET /api/trips HTTP/1.1", "Host: app.example.com", "Host: other.example.com"]).await;
    assert!(two.starts_with("http/1.1 400"), "{two}");
    let mut lines = vec!["GET /live HTTP/1.1", "Host: app.example.com", "Origin: https://evil.test", "Connection: upgrade"];
    lines.extend(["Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]);
    let foreign = ask(&app, &lines).await;
    assert!(foreign.starts_with("http/1.1 403"), "{foreign}");
    assert_eq!(upstream.heard(), [] as [String; 0]);
}

#[tokio::test]
async fn options_without_a_preflight_are_passed_on_and_preflights_allow_what_they_ask_for() {
    let upstream = Upstream::start(OK).await;
    let app = TestApp::with(&upstream.setting()).await;
    let options = ["OPTIONS /api/trips HTTP/1.1", "Host: app.example.com", "Origin: http://localhost:5173"];
    let answer = ask(&app, &options).await;
    assert!(answer.starts_with("http/1.1 200") && upstream.heard()[0].starts_with("options /api/trips"), "{answer}");
    let exposed = answer.lines().find(|line| line.starts_with("access-control-expose-headers")).unwrap_or_default();
    assert!(exposed.contains("x-total-count") && exposed.contains("x-error-code"), "{exposed}");
    assert_eq!(answer.matches("access-control-allow-origin").count(), 1, "{answer}");
    let mut preflight = options.to_vec();
    preflight.extend(["Access-Control-Request-Method: POST", "Access-Control-Request-Headers: X-CSRF-Token, sentry-trace"]);
    let answer = ask(&app, &preflight).await;
    let allowed = answer.lines().find(|line| line.starts_with("access-control-allow-headers")).unwrap_or_default();
    assert!(["x-csrf-token", "sentry-trace", "authorization"].iter().all(|name| allowed.contains(name)), "{answer}");
    assert!(answer.contains("vary: access-control-request-headers"), "{answer}");
    assert_eq!(upstream.heard(), [] as [String; 0], "a preflight is answered here");
    preflight[2] = "Origin: https://evil.test";
    assert!(!ask(&app, &preflight).await.contains("access-control-allow"));
    let foreign = ask(&app, &["GET /api/trips HTTP/1.1", "Host: app.example.com", "Origin: https://evil.test"]).await;
    assert!(
        foreign.starts_with("http/1.1 200") && !foreign.contains("access-control"),
        "the upstream's own word does not count: {foreign}"
    );
}

#[tokio::test]
async fn a_browsers_list_that_nobody_serves_is_an_empty_one() {
    let silent = Upstream::start("").await;
    let broken = Upstream::start("nonsense").await;
    let [alone, late, failing] = [String::new(), format!("{}legacy_idle = '200ms'", silent.setting()), broken.setting()];
    for (settings, status, code) in [(alone, 404, "not_found"), (late, 504, "unavailable"), (failing, 502, "unavailable")] {
        let app = TestApp::with(&settings).await;
        let plain = app.answer(app.request("GET", "/api/trips")).await;
        plain.refused(status, code);
        let browser = app.answer(app.request("GET", "/api/trips").header("origin", ORIGIN)).await;
        assert_eq!((browser.status, &browser.body), (status, &json!([])));
        assert_eq!((browser.header("x-error"), browser.header("x-error-code")), (plain.body["error"].as_str(), Some(code)));
        app.answer(app.request("POST", "/api/trips").header("origin", ORIGIN)).await.refused(status, code);
        app.answer(app.request("GET", "/trips").header("origin", ORIGIN)).await.refused(status, code);
    }
}

#[tokio::test]
async fn an_answer_that_stands_still_is_broken_off() {
    let halting = Upstream::start("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf").await;
    let app = TestApp::with(&format!("{}legacy_idle = '200ms'", halting.setting())).await;
    let answer = get(&app, "/api/trips").await;
    assert!(answer.starts_with("http/1.1 200") && answer.ends_with("half"), "{answer}");
}

#[tokio::test]
async fn an_upload_may_take_longer_than_it_may_stand_still() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let upstream = listener.local_addr().expect("an address");
    let count = |body: axum::body::Bytes| async move { body.len().to_string() };
    tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(count)).await });
    let app = TestApp::with(&format!("legacy_upstream = 'http://{upstream}'\nlegacy_idle = '2s'")).await;
    let mut stream = TcpStream::connect(app.address).await.expect("the server accepts");
    let head = "POST /api/upload HTTP/1.1\r\nHost: app.example.com\r\nContent-Length: 12\r\nConnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).await.expect("is sent");
    let mut tick = tokio::time::interval(Duration::from_millis(250));
    for _ in 0..12 {
        tick.tick().await;
        stream.write_all(b"x").await.expect("is sent");
    }
    let mut answer = String::new();
    timeout(DEADLINE, stream.read_to_string(&mut answer)).await.expect("an answer in time").expect("text");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("12"), "{answer}");
}

#[tokio::test]
async fn with_an_old_backend_that_has_a_page_for_it_a_profile_is_not_called_complete() {
    let upstream = Upstream::start(OK).await;
    let app = TestApp::with(&upstream.setting()).await;
    let account = json!({"username": "ann", "email": "ann@test.example", "password": "a good password"});
    let new = app.answer(app.request("POST", "/api/auth/register").json(&account)).await;
    assert_eq!((new.status, &new.body["isProfileCompleted"]), (201, &json!(0)), "{new:?}");
}

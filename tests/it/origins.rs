//! Which web origins may use the server: the same answer by REST, by polling and for the websocket.

use serde_json::{Value, json};

use crate::support::{Answer, TestApp};

const SETTINGS: &str = "origins = [\"http://localhost:5173\", \"https://*.example.com\"]";
const POLLING: &str = "/socket.io/?EIO=4&transport=polling";

fn cors(answer: &Answer) -> Vec<&str> {
    answer.headers.keys().map(|name| name.as_str()).filter(|name| name.starts_with("access-control-")).collect()
}

fn list(answer: &Answer, name: &str) -> Vec<String> {
    answer.header(name).unwrap_or_default().split(',').map(|word| word.trim().to_lowercase()).collect()
}

/// What stands on every answer, whoever asks and whatever is answered.
#[track_caller]
fn assert_marked(answer: &Answer) {
    assert!(list(answer, "vary").contains(&"origin".to_owned()), "{answer:?}");
    assert_eq!(answer.headers.get_all("cross-origin-resource-policy").iter().collect::<Vec<_>>(), ["cross-origin"], "{answer:?}");
}

async fn from(app: &TestApp, method: &str, path: &str, origin: &str) -> Answer {
    let mut request = app.request(method, path).header("origin", origin);
    if method == "OPTIONS" {
        request =
            request.header("access-control-request-method", "POST").header("access-control-request-headers", "authorization,content-type");
    }
    app.answer(request).await
}

#[tokio::test]
async fn an_allowed_origin_is_let_in_with_credentials_on_every_way() {
    let app = TestApp::with(SETTINGS).await;
    let own = format!("http://{}", app.address);
    for origin in ["http://localhost:5173", "https://app.example.com", "https://a.b.example.com", own.as_str()] {
        for (method, path) in [("GET", "/healthz"), ("GET", "/api/messaging/conversations"), ("GET", POLLING), ("GET", "/nowhere")] {
            let answer = from(&app, method, path, origin).await;
            assert_eq!(answer.header("access-control-allow-origin"), Some(origin), "{path} {answer:?}");
            assert_eq!(answer.headers.get_all("access-control-allow-origin").iter().count(), 1);
            assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
            let exposed = list(&answer, "access-control-expose-headers");
            assert!(
                ["x-error", "x-error-code", "x-has-more", "link"].iter().all(|name| exposed.contains(&(*name).to_owned())),
                "{exposed:?}"
            );
            assert_marked(&answer);
        }
        let socket = app.connect(Value::Null, &[("origin", origin)]).await;
        assert!(socket.is_ok(), "{origin}: {:?}", socket.err());
    }
}

#[tokio::test]
async fn a_preflight_of_an_allowed_origin_names_methods_and_headers() {
    let app = TestApp::with(SETTINGS).await;
    for path in ["/api/messaging/conversations", "/api/auth/register", "/api/anything/else", POLLING] {
        let answer = from(&app, "OPTIONS", path, "http://localhost:5173").await;
        assert!(matches!(answer.status, 200 | 204), "{path} {answer:?}");
        assert_eq!(answer.header("access-control-allow-origin"), Some("http://localhost:5173"));
        assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
        let methods = list(&answer, "access-control-allow-methods");
        assert!(["get", "head", "put", "patch", "post", "delete"].iter().all(|m| methods.contains(&(*m).to_owned())), "{methods:?}");
        let headers = list(&answer, "access-control-allow-headers");
        assert!(["authorization", "content-type"].iter().all(|name| headers.contains(&(*name).to_owned())), "{headers:?}");
        assert_marked(&answer);
    }
}

#[tokio::test]
async fn a_foreign_origin_gets_no_cors_header_at_all_and_no_websocket() {
    let app = TestApp::with(SETTINGS).await;
    let port = app.address.port();
    let neighbour = format!("http://127.0.0.1:{}", port.wrapping_add(1));
    let mut foreign =
        vec!["http://evil.test", "https://localhost:5173", "http://localhost:5174", "https://example.com", "null", &neighbour];
    foreign.extend(["http://app.example.com", "https://app.example.com.evil.test", "https://evilexample.com", "https://localhost:51730"]);
    for origin in foreign {
        for (method, path) in
            [("GET", "/healthz"), ("GET", POLLING), ("OPTIONS", "/api/messaging/conversations"), ("OPTIONS", POLLING), ("GET", "/nowhere")]
        {
            let answer = from(&app, method, path, origin).await;
            assert_eq!(cors(&answer), [] as [&str; 0], "{method} {path} from {origin}: {answer:?}");
            assert_marked(&answer);
        }
        let refusal = app.connect(Value::Null, &[("origin", origin)]).await.err();
        assert_eq!(refusal.as_deref(), Some("403"), "{origin}");
    }
    app.connect(Value::Null, &[]).await.expect("without an origin it passes");
    assert_eq!(cors(&app.answer(app.request("GET", "/healthz")).await).len(), 0);
}

#[tokio::test]
async fn every_answer_says_that_it_varies_by_origin_and_may_be_used_across_origins() {
    let app = TestApp::with(SETTINGS).await;
    let ann = app.user("ann").await;
    for (method, path, status) in [
        ("GET", "/", 200),
        ("GET", "/healthz", 200),
        ("GET", "/readyz", 200),
        ("GET", POLLING, 200),
        ("GET", "/socket.io/?EIO=4&transport=polling&sid=unknown", 400),
        ("GET", "/socket.io/?EIO=3&transport=polling", 400),
        ("GET", "/socket.io/", 400),
        ("GET", "/nowhere", 404),
        ("GET", "/api/messaging/nowhere", 404),
        ("GET", "/api/messaging/conversations", 200),
        ("GET", "/api/messaging/conversations?limit=x", 400),
        ("GET", "/api/messaging/conversations/7/messages", 404),
        ("GET", "/api/messaging/support/admin/tickets", 403),
        ("POST", "/api/messaging/conversations", 415),
        ("PUT", "/api/messaging/conversations", 405),
    ] {
        let answer = app.answer(app.request(method, path).bearer_auth(&ann.token)).await;
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
        assert_marked(&answer);
    }
    let unauthorized = app.answer(app.request("GET", "/api/messaging/conversations")).await;
    assert_eq!(unauthorized.status, 401);
    assert_marked(&unauthorized);
    let huge = app.post("/api/messaging/conversations", &ann, json!({"x": "x".repeat(1 << 20)})).await;
    assert_eq!(huge.status, 413);
    assert_marked(&huge);
    let upgrade = app.request("GET", "/socket.io/?EIO=4&transport=websocket").header("origin", "http://evil.test");
    let upgrade = upgrade.header("connection", "upgrade").header("upgrade", "websocket").header("sec-websocket-version", "13");
    let refused = app.answer(upgrade.header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")).await;
    assert_eq!(refused.status, 403);
    assert_marked(&refused);
}

#[tokio::test]
async fn a_refused_list_is_an_empty_list_to_a_browser_with_the_reason_in_headers() {
    let app = TestApp::with(SETTINGS).await;
    let (ann, bob, conversation) = app.pair().await;
    let stranger = app.user("stranger").await;
    let history = format!("/api/messaging/conversations/{conversation}/messages");
    for (path, user, status, code) in [
        ("/api/messaging/conversations", None, 401, "unauthorized"),
        ("/api/messaging/conversations?limit=x", Some(&ann), 400, "invalid_payload"),
        (&*history, None, 401, "unauthorized"),
        (&*history, Some(&stranger), 403, "forbidden"),
        ("/api/messaging/conversations/999999/messages", Some(&ann), 404, "not_found"),
        ("/api/messaging/conversations/undefined/messages", Some(&ann), 404, "not_found"),
        ("/api/messaging/support/tickets", None, 401, "unauthorized"),
        ("/api/messaging/support/tickets/admin/all", Some(&bob), 403, "forbidden"),
        ("/api/messaging/support/admin/tickets", None, 401, "unauthorized"),
    ] {
        let request = |origin: Option<&str>| {
            let mut request = app.request("GET", path);
            if let Some(user) = user {
                request = request.bearer_auth(&user.token);
            }
            origin.into_iter().fold(request, |request, origin| request.header("origin", origin))
        };
        let plain = app.answer(request(None)).await;
        plain.refused(status, code);
        let browser = app.answer(request(Some("http://localhost:5173"))).await;
        assert_eq!((browser.status, &browser.body), (status, &json!([])), "{path}");
        assert_eq!((browser.header("x-error"), browser.header("x-error-code")), (plain.body["error"].as_str(), Some(code)), "{path}");
        assert!(browser.header("content-type").is_some_and(|kind| kind.starts_with("application/json")), "{browser:?}");
    }
    for path in ["/api/messaging/unread-count", "/api/messaging/support/tickets/1", "/api/auth/me"] {
        from(&app, "GET", path, "http://localhost:5173").await.refused(401, "unauthorized");
    }
}

//! Attacks on tokens: each is tried over REST, in the packet and in the header of a websocket, and by polling. None may make anybody.

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::{Value, json};

use crate::support::{SECRET, TestApp, User};

mod claims;
mod headers;

const HS256: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let digits = |chunk: &[u8]| {
        let bits = chunk.iter().chain(&[0, 0]).take(3).fold(0, |bits, byte| bits << 8 | usize::from(*byte));
        (0..=chunk.len()).map(move |n| char::from(DIGITS[bits >> (18 - 6 * n) & 63])).collect::<Vec<_>>()
    };
    bytes.chunks(3).flat_map(digits).collect()
}

fn signed_by(key: &[u8], algorithm: Algorithm, header: &str, claims: &[u8]) -> String {
    let text = format!("{}.{}", base64url(header.as_bytes()), base64url(claims));
    let signature = crypto::sign(text.as_bytes(), &EncodingKey::from_secret(key), algorithm).expect("signs");
    format!("{text}.{signature}")
}

/// A token whose signature is right, whatever it says.
fn signed(header: &str, claims: &str) -> String {
    signed_by(SECRET.as_bytes(), Algorithm::HS256, header, claims.as_bytes())
}

fn now() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "a client has a clock of its own")]
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// What a token may be tried as, and the sentence it is refused with; nothing when it was believed.
async fn refusals(app: &TestApp, token: &str) -> Vec<(&'static str, Option<String>)> {
    let mut refusals = Vec::new();
    let bearer = format!("Bearer {token}");
    if bearer.is_ascii() && reqwest::header::HeaderValue::from_str(&bearer).is_ok() {
        let answer = app.answer(app.request("GET", "/api/auth/me").header("authorization", &bearer)).await;
        let sentence = answer.body["error"].as_str().map(str::to_owned);
        assert!((answer.status == 401) == sentence.is_some(), "{token:.80}: {answer:?}");
        assert!(answer.status != 401 || ["unauthorized", "token_expired"].contains(&answer.body["code"].as_str().unwrap_or_default()));
        refusals.push(("REST", sentence));
        refusals.push(("the header of a websocket", app.connect(json!({}), &[("authorization", &bearer)]).await.err()));
    }
    refusals.push(("a websocket", app.connect(json!({"token": token}), &[]).await.err()));
    refusals.push(("polling", by_polling(app, token).await));
    refusals
}

/// The sentence with which a polling client is refused.
async fn by_polling(app: &TestApp, token: &str) -> Option<String> {
    let path = "/socket.io/?EIO=4&transport=polling";
    let poll = async |path: &str| match app.answer(app.request("GET", path)).await.body {
        Value::String(packets) => packets,
        ping => ping.to_string(),
    };
    let open: Value = poll(path).await.strip_prefix('0').and_then(|text| serde_json::from_str(text).ok()).expect("opens");
    let path = format!("{path}&sid={}", open["sid"].as_str().expect("a session"));
    app.answer(app.request("POST", &path).body(format!("40{}", json!({"token": token})))).await;
    loop {
        // The library's first ping may come before or with it.
        let packets = poll(&path).await;
        let Some(packet) = packets.split('\u{1e}').find(|packet| *packet != "2") else { continue };
        assert!(packet.starts_with("40") || packet.starts_with("44"), "{token:.80}: {packet}");
        let refusal = packet.strip_prefix("44").map(|text| serde_json::from_str::<Value>(text).expect("JSON"));
        return refusal.map(|refusal| refusal["message"].as_str().unwrap_or_default().to_owned());
    }
}

async fn assert_refused(app: &TestApp, what: &str, token: &str) {
    for (by, refusal) in refusals(app, token).await {
        let sentence = refusal.unwrap_or_else(|| panic!("{what} is believed by {by}: {token:.200}"));
        assert!(
            ["Token is not valid", "Token has expired", "User no longer exists"].contains(&sentence.as_str()),
            "{what} by {by}: {sentence}"
        );
    }
}

async fn assert_believed(app: &TestApp, token: &str) {
    for (by, refusal) in refusals(app, token).await {
        assert_eq!(refusal, None, "{token} by {by}");
    }
}

async fn scene() -> (TestApp, User, u64) {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    (app, ann, now() + 3600)
}

#[tokio::test]
async fn a_token_counts_only_where_the_contract_looks_for_it() {
    let (app, ann, _) = scene().await;
    let me = "/api/auth/me";
    for request in [
        app.request("GET", &format!("{me}?token={0}&access_token={0}&auth[token]={0}", ann.token)),
        app.request("GET", me).header("cookie", format!("token={0}; jwt={0}; Authorization=Bearer {0}", ann.token)),
        app.request("GET", me).header("x-access-token", &ann.token).header("x-auth-token", &ann.token),
        app.request("GET", me).header("proxy-authorization", format!("Bearer {}", ann.token)),
        app.request("GET", me).header("authorization", &ann.token),
        app.request("GET", me).header("authorization", format!("Token {}", ann.token)),
        app.request("GET", me).header("authorization", format!("Basic {}", ann.token)),
        app.request("GET", me).header("authorization", format!("Bearer:{}", ann.token)),
        app.request("GET", me).header("authorization", format!("Bearer\t{}", ann.token)),
        app.request("GET", me).header("authorization", format!("Bearer token=\"{}\"", ann.token)),
        app.request("GET", me).header("authorization", "Bearer nonsense").header("authorization", format!("Bearer {}", ann.token)),
    ] {
        app.answer(request).await.refused(401, "unauthorized");
    }
    for auth in [json!({"jwt": ann.token}), json!({"Token": ann.token}), json!({"auth": {"token": ann.token}})] {
        let guest = app.connect(auth, &[]).await.expect("a guest");
        guest.refused("join-conversation", 1, "unauthorized").await;
    }
    let refusal = app.connect(json!([{"token": ann.token}]), &[]).await.err();
    assert_eq!(refusal.as_deref(), Some("Token is not valid"), "what is no object says nothing that could be understood");
    app.answer(app.request("GET", me).header("authorization", format!("bearer  {} ", ann.token))).await.ok();
}

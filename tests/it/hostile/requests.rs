//! Hostile requests: every route with ids, queries, headers and bodies that nobody asked for. Each is answered, and none by a 5xx.

use serde_json::Value;

use super::{Scene, nonsense, raw::Raw};
use crate::support::Dice;

const PATHS: &[&str] = &[
    "/",
    "/healthz",
    "/readyz",
    "/metrics",
    "/api/auth/me",
    "/api/user/search",
    "/api/auth/register",
    "/api/auth/traveller/login",
    "/api/auth/agency/login",
    "/api/messaging",
    "/api/messaging/",
    "/api/messaging/conversations",
    "/api/messaging/conversations/{id}/messages",
    "/api/messaging/conversations/{id}/mark-read",
    "/api/messaging/unread-count",
    "/api/messaging/support/tickets",
    "/api/messaging/support/tickets/{id}",
    "/api/messaging/support/tickets/{id}/respond",
    "/api/messaging/support/tickets/{id}/status",
    "/api/messaging/support/tickets/admin/all",
    "/api/messaging/support/admin/tickets",
    "/api/messaging/{id}",
    "/{id}",
];

const METHODS: &[&str] = &["GET", "GET", "GET", "POST", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "get", "BREW"];

/// Texts in a path or a query.
const TEXTS: &[&str] = &[
    "1",
    "2",
    "7",
    "0",
    "-1",
    "1.5",
    "1e3",
    "01",
    "9007199254740991",
    "9007199254740992",
    "9223372036854775808",
    "99999999999999999999999999",
    "%00",
    "1%00",
    "%ff%fe",
    "%c3%28",
    "%",
    "%zz",
    "%2e%2e%2f",
    "..",
    ".",
    "*",
    "NaN",
    "null",
    "undefined",
    "[object%20Object]",
    "{id}",
    "%7Bid%7D",
    "1;2",
    "1,2",
    "%201",
    "+1",
    "%d9%a7",
    "'%20OR%201=1--",
    "%25",
    "_",
    "%F0%9F%98%80",
    "admin",
    "true",
    "1000",
    "1001",
    "open",
    "In%20Progress",
    "2026-11-01T00:00:00.000Z",
    "2026-11-01T00:00:00+14:00",
    "9999-12-31T23:59:59-23:59",
    "0000-01-01T00:00:00+23:59",
    "0000-01-01T00:00:00Z",
    "2016-12-31T23:59:60Z",
    "2026-02-30T00:00:00Z",
    "+262142-01-01T00:00:00Z",
];

const PARAMETERS: &[&str] =
    &["limit", "before", "before_id", "after", "envelope", "search", "query", "status", "category", "unheard-of", ""];

const FIELDS: &[&str] = &[
    "otherUserId",
    "subject",
    "description",
    "category",
    "message_text",
    "message",
    "newStatus",
    "status",
    "priority",
    "username",
    "email",
    "role",
    "userId",
    "isAdmin",
    "id",
];

const TYPES: &[&str] = &[
    "application/json",
    "application/json",
    "application/json",
    "application/json; charset=utf-8",
    "application/json; charset=utf-16",
    "APPLICATION/JSON;;;",
    "application/problem+json",
    "application/",
    "text/plain",
    "application/xml",
    "multipart/form-data; boundary=x",
    "application/x-www-form-urlencoded",
    "",
    "\u{ff}",
];

const HEADERS: &[&str] = &[
    "Origin: http://localhost:5173",
    "Origin: https://evil.example",
    "Origin: null",
    "Origin: http://[::1",
    "X-Forwarded-For: , ,, 1.2.3.4, ::1, nonsense",
    "X-Forwarded-Host: evil.example",
    "X-HTTP-Method-Override: DELETE",
    "Accept: \u{0}",
    "Accept-Encoding: gzip;q=0, *;q=0",
    "Content-Encoding: gzip",
    "Expect: 100-continue",
    "Expect: nothing",
    "Range: bytes=0-0,-1",
    "If-None-Match: *",
    "Connection: close",
    "Connection: upgrade\r\nUpgrade: h2c",
    "Connection: keep-alive, authorization",
    "Access-Control-Request-Method: DELETE",
    "Cookie: a=b; ;;=;",
    "Host: evil.example",
    "TE: trailers",
    "Authorization: Basic x",
    "Folded: a\r\n b",
];

fn address(dice: &mut Dice) -> String {
    let text = |dice: &mut Dice| if dice.once_in(200) { "x".repeat(9000) } else { dice.one_of(TEXTS).to_owned() };
    let mut address = dice.one_of(PATHS).replace("{id}", &text(dice));
    for n in 0..dice.below(4) {
        address.push(if n == 0 { '?' } else { '&' });
        address.push_str(dice.one_of(PARAMETERS));
        if !dice.once_in(9) {
            address.push('=');
            address.push_str(&text(dice));
        }
    }
    address
}

fn body(dice: &mut Dice) -> Vec<u8> {
    let object = nonsense::object(dice, FIELDS);
    match dice.below(40) {
        0 => Vec::new(),
        1 => dice.bytes(200),
        2 => object.as_bytes()[..dice.below(object.len())].to_vec(),
        3 => [b"\xef\xbb\xbf", object.as_bytes()].concat(),
        4 => object.replace("\\u0000", "\0").into_bytes(),
        5 => object.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        6 => "[".repeat(100_000).into_bytes(),
        7 => format!("{object}{object}").into_bytes(),
        8 => nonsense::value(dice).into_bytes(),
        9 if dice.once_in(10) => vec![b' '; 1_100_000],
        _ => object.into_bytes(),
    }
}

/// Sends so many requests.
pub async fn attack(scene: &Scene, mut dice: Dice, count: usize) {
    let mut client = Raw::new(scene);
    for _ in 0..count {
        let (method, address, body) = (dice.one_of(METHODS), address(&mut dice), body(&mut dice));
        let mut head = format!("{method} {address} HTTP/1.1\r\nHost: {}\r\n", scene.app.address);
        match dice.below(20) {
            0 => {}
            1 => head.push_str("Authorization: Bearer nonsense\r\n"),
            _ => head.push_str(&format!("Authorization: Bearer {}\r\n", scene.token(&mut dice))),
        }
        head.push_str(&format!("Content-Type: {}\r\n", dice.one_of(TYPES)));
        while dice.once_in(3) {
            head.push_str(&format!("{}\r\n", dice.one_of(HEADERS)));
        }
        // A length that is wrong, twice there or beside chunks leaves the connection out of step: nothing more is sent on it.
        let (length, ends) = match dice.below(40) {
            0 => ("Content-Length: -1".to_owned(), true),
            1 => ("Content-Length: 99999999999999999999".to_owned(), true),
            2 => (format!("Content-Length: {}", body.len() + 7), true),
            3 => (format!("Content-Length: {}\r\nContent-Length: {}", body.len(), body.len() + 1), true),
            4 => (format!("Content-Length: {}\r\nTransfer-Encoding: chunked", body.len()), true),
            5 => ("Transfer-Encoding: chunked".to_owned(), true),
            6 => ("Transfer-Encoding: gzip, chunked, chunked".to_owned(), true),
            _ => (format!("Content-Length: {}", body.len()), dice.once_in(50)),
        };
        let request = [head.as_bytes(), length.as_bytes(), b"\r\n\r\n", &body].concat();
        let Some(reply) = client.send(&request, method != "HEAD", ends).await else { continue };
        let shown = || String::from_utf8_lossy(&request[..request.len().min(1200)]).into_owned();
        assert!((200..500).contains(&reply.status), "{}\n\n{reply:?}", shown());
        // What the HTTP library itself refuses has no body.
        if reply.status >= 400 && reply.head.contains("application/json") && method != "HEAD" {
            let body: Value = serde_json::from_slice(&reply.body).unwrap_or_else(|e| panic!("{e}: {}\n\n{reply:?}", shown()));
            let coded = body["code"].is_string() && body["error"].is_string()
                || body == Value::Array(vec![]) && reply.head.contains("x-error-code");
            assert!(coded, "{}\n\n{reply:?}", shown());
        }
    }
}

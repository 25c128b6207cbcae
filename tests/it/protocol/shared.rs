//! The cases of Engine.IO that both suites have: over a server of either kind.

use serde_json::{Value, json};

use super::{
    Echo, Kind, open_packet,
    server::{CALM, OFFICIAL, PATIENT},
};

/// Makes a test of each of these cases, for the servers of a kind.
macro_rules! shared_cases {
    ($kind:expr) => {
        $crate::protocol::shared::shared_cases! { $kind;
            handshake_http_long_polling_successfully_opens_a_session
            handshake_http_long_polling_fails_with_an_invalid_eio_query_parameter
            handshake_http_long_polling_fails_with_an_invalid_transport_query_parameter
            handshake_http_long_polling_fails_with_an_invalid_request_method
            handshake_websocket_successfully_opens_a_session
            handshake_websocket_fails_with_an_invalid_eio_query_parameter
            handshake_websocket_fails_with_an_invalid_transport_query_parameter
            heartbeat_http_long_polling_sends_ping_pong_packets
            heartbeat_http_long_polling_closes_the_session_upon_ping_timeout
            heartbeat_websocket_sends_ping_pong_packets
            heartbeat_websocket_closes_the_session_upon_ping_timeout
            close_http_long_polling_forcefully_closes_the_session
            close_websocket_forcefully_closes_the_session
            upgrade_successfully_upgrades_from_http_long_polling_to_websocket
            upgrade_ignores_http_requests_with_same_sid_after_upgrade
            upgrade_ignores_websocket_connection_with_same_sid_after_upgrade
        }
    };
    ($kind:expr; $($case:ident)*) => {
        $(
            #[tokio::test]
            async fn $case() {
                $crate::protocol::shared::$case($kind).await;
            }
        )*
    };
}
pub(super) use shared_cases;

fn is_an_opening(mut open: Value, upgrades: &Value) {
    assert!(open["sid"].as_str().is_some_and(|sid| !sid.is_empty()), "{open}");
    open["sid"] = json!("");
    let expected = json!({"sid": "", "upgrades": upgrades, "pingInterval": 300, "pingTimeout": 200, "maxPayload": 1_000_000});
    assert_eq!(open, expected);
}

pub async fn handshake_http_long_polling_successfully_opens_a_session(kind: Kind) {
    is_an_opening(Echo::start(kind, OFFICIAL).await.open().await, &json!(["websocket"]));
}

pub async fn handshake_http_long_polling_fails_with_an_invalid_eio_query_parameter(kind: Kind) {
    let echo = Echo::start(kind, CALM).await;
    for query in ["transport=polling", "EIO=abc&transport=polling"] {
        assert_eq!(echo.request("GET", query, "").await.0, 400, "{query}");
    }
}

pub async fn handshake_http_long_polling_fails_with_an_invalid_transport_query_parameter(kind: Kind) {
    let echo = Echo::start(kind, CALM).await;
    for query in ["EIO=4", "EIO=4&transport=abc"] {
        assert_eq!(echo.request("GET", query, "").await.0, 400, "{query}");
    }
}

pub async fn handshake_http_long_polling_fails_with_an_invalid_request_method(kind: Kind) {
    let echo = Echo::start(kind, CALM).await;
    for method in ["POST", "PUT"] {
        assert_eq!(echo.request(method, "EIO=4&transport=polling", "").await.0, 400, "{method}");
    }
}

pub async fn handshake_websocket_successfully_opens_a_session(kind: Kind) {
    let open = Echo::start(kind, OFFICIAL).await.fresh().await.hears_text().await;
    is_an_opening(open_packet(&open), &json!([]));
}

pub async fn handshake_websocket_fails_with_an_invalid_eio_query_parameter(kind: Kind) {
    let echo = Echo::start(kind, CALM).await;
    for query in ["transport=websocket", "EIO=abc&transport=websocket"] {
        assert_eq!(echo.websocket(query).await.err(), Some(400), "{query}");
    }
}

pub async fn handshake_websocket_fails_with_an_invalid_transport_query_parameter(kind: Kind) {
    let echo = Echo::start(kind, CALM).await;
    for query in ["EIO=4", "EIO=4&transport=abc"] {
        assert_eq!(echo.websocket(query).await.err(), Some(400), "{query}");
    }
}

pub async fn heartbeat_http_long_polling_sends_ping_pong_packets(kind: Kind) {
    let echo = Echo::start(kind, PATIENT).await;
    let session = echo.session().await;
    for _ in 0..3 {
        assert_eq!(echo.poll(&session).await, (200, "2".to_owned()));
        assert_eq!(echo.push(&session, "3").await, (200, "ok".to_owned()));
    }
}

pub async fn heartbeat_http_long_polling_closes_the_session_upon_ping_timeout(kind: Kind) {
    let echo = Echo::start(kind, OFFICIAL).await;
    let session = echo.session().await;
    // It polls, and answers no ping.
    let ends = async { while echo.poll(&session).await.0 == 200 {} };
    tokio::time::timeout(crate::support::DEADLINE, ends).await.expect("the session ends");
    assert_eq!(echo.push(&session, "3").await.0, 400);
}

pub async fn heartbeat_websocket_sends_ping_pong_packets(kind: Kind) {
    let echo = Echo::start(kind, PATIENT).await;
    let mut websocket = echo.fresh().await;
    open_packet(&websocket.hears_text().await);
    for _ in 0..3 {
        assert_eq!(websocket.hears_text().await, "2");
        websocket.say("3").await;
    }
}

pub async fn heartbeat_websocket_closes_the_session_upon_ping_timeout(kind: Kind) {
    Echo::start(kind, OFFICIAL).await.fresh().await.closed().await;
}

pub async fn close_http_long_polling_forcefully_closes_the_session(kind: Kind) {
    let echo = Echo::start(kind, CALM).await;
    let session = echo.session().await;
    let (poll, push) = tokio::join!(echo.poll(&session), echo.push(&session, "1"));
    assert_eq!(push, (200, "ok".to_owned()));
    // The close may be there before the poll.
    assert!(poll == (200, "6".to_owned()) || poll.0 == 400, "{poll:?}");
    assert_eq!(echo.poll(&session).await.0, 400);
}

pub async fn close_websocket_forcefully_closes_the_session(kind: Kind) {
    let echo = Echo::start(kind, CALM).await;
    let mut websocket = echo.fresh().await;
    open_packet(&websocket.hears_text().await);
    websocket.say("1").await;
    websocket.closed().await;
}

pub async fn upgrade_successfully_upgrades_from_http_long_polling_to_websocket(kind: Kind) {
    let echo = Echo::start(kind, CALM).await;
    let session = echo.session().await;
    let mut websocket = echo.upgrade(&session).await;
    websocket.probe().await;
    // A no-op ends the poll, so that the client may send what ends polling.
    assert_eq!(echo.poll(&session).await, (200, "6".to_owned()));
    websocket.say("5").await;
    websocket.is_alive(kind).await;
}

pub async fn upgrade_ignores_http_requests_with_same_sid_after_upgrade(kind: Kind) {
    let echo = Echo::start(kind, CALM).await;
    let session = echo.session().await;
    let mut websocket = echo.upgrade(&session).await;
    websocket.probe().await;
    websocket.say("5").await;
    websocket.is_alive(kind).await;
    assert_eq!(echo.poll(&session).await.0, 400);
    assert_eq!(echo.push(&session, "4hello").await.0, 400);
    websocket.is_alive(kind).await;
}

pub async fn upgrade_ignores_websocket_connection_with_same_sid_after_upgrade(kind: Kind) {
    let echo = Echo::start(kind, CALM).await;
    let session = echo.session().await;
    let mut websocket = echo.upgrade(&session).await;
    websocket.probe().await;
    websocket.say("5").await;
    websocket.is_alive(kind).await;
    // It may be refused at once, or closed.
    if let Ok(mut second) = echo.websocket(&format!("EIO=4&transport=websocket&sid={session}")).await {
        second.closed().await;
    }
    websocket.is_alive(kind).await;
}

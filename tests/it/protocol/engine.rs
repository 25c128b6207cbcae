//! The suite of Engine.IO.

use engineioxide::DisconnectReason;
use tokio_tungstenite::tungstenite::Message;

use super::{
    Echo, Kind, SEPARATOR, open_packet,
    server::{CALM, OFFICIAL},
    shared::shared_cases,
};
use crate::support::waiting_request;

shared_cases!(Kind::Engine);

/// What is pushed comes back by one poll.
async fn echoes(packets: &[&str]) {
    let echo = Echo::start(Kind::Engine, CALM).await;
    let session = echo.session().await;
    let payload = packets.join(SEPARATOR);
    assert_eq!(echo.push(&session, &payload).await, (200, "ok".to_owned()));
    assert_eq!(echo.poll(&session).await, (200, payload));
}

#[tokio::test]
async fn message_http_long_polling_sends_and_receives_a_payload_containing_one_plain_text_packet() {
    echoes(&["4hello"]).await;
}

#[tokio::test]
async fn message_http_long_polling_sends_and_receives_a_payload_containing_several_plain_text_packets() {
    echoes(&["4test1", "4test2", "4test3"]).await;
}

#[tokio::test]
async fn message_http_long_polling_sends_and_receives_a_payload_containing_plain_text_and_binary_packets() {
    echoes(&["4hello", "bAQIDBA=="]).await;
}

#[tokio::test]
async fn message_http_long_polling_closes_the_session_upon_invalid_packet_format() {
    let echo = Echo::start(Kind::Engine, CALM).await;
    let session = echo.session().await;
    assert_eq!(echo.push(&session, "abc").await.0, 400);
    assert_eq!(echo.poll(&session).await.0, 400);
}

#[tokio::test]
async fn message_http_long_polling_closes_the_session_upon_duplicate_poll_requests() {
    let echo = Echo::start(Kind::Engine, CALM).await;
    let session = echo.session().await;
    let (one, other) = tokio::join!(echo.poll(&session), echo.poll(&session));
    let (first, second) = if one.0 == 200 { (one, other) } else { (other, one) };
    assert_eq!(first, (200, "1".to_owned()));
    // Node answers 500; 400 is what it means.
    assert_eq!(second.0, 400);
    assert_eq!(echo.poll(&session).await.0, 400);
}

#[tokio::test]
async fn message_http_long_polling_closes_the_session_upon_cancelled_polling_request() {
    let mut echo = Echo::start(Kind::Engine, CALM).await;
    let session = echo.session().await;
    drop(waiting_request(echo.address, &format!("/engine.io/?EIO=4&transport=polling&sid={session}")).await);
    assert!(matches!(echo.end().await, DisconnectReason::TransportClose | DisconnectReason::TransportError));
    assert_eq!(echo.poll(&session).await.0, 400);
}

#[tokio::test]
async fn message_websocket_sends_and_receives_a_plain_text_packet() {
    let echo = Echo::start(Kind::Engine, CALM).await;
    let mut websocket = echo.fresh().await;
    open_packet(&websocket.hears_text().await);
    websocket.say("4hello").await;
    assert_eq!(websocket.hears_text().await, "4hello");
}

#[tokio::test]
async fn message_websocket_sends_and_receives_a_binary_packet() {
    let echo = Echo::start(Kind::Engine, CALM).await;
    let mut websocket = echo.fresh().await;
    open_packet(&websocket.hears_text().await);
    websocket.say(vec![1, 2, 3, 4]).await;
    assert_eq!(websocket.hears().await, Message::binary(vec![1, 2, 3, 4]));
}

#[tokio::test]
async fn message_websocket_closes_the_session_upon_invalid_packet_format() {
    let mut echo = Echo::start(Kind::Engine, CALM).await;
    let mut websocket = echo.fresh().await;
    open_packet(&websocket.hears_text().await);
    websocket.say("abc").await;
    websocket.closed().await;
    assert_eq!(echo.end().await, DisconnectReason::PacketParsingError);
}

/// As in the suite, where the client does not even poll.
#[tokio::test]
async fn heartbeat_http_long_polling_closes_the_session_upon_ping_timeout_without_a_poll() {
    let mut echo = Echo::start(Kind::Engine, OFFICIAL).await;
    let session = echo.session().await;
    assert_eq!(echo.end().await, DisconnectReason::HeartbeatTimeout);
    assert_eq!(echo.poll(&session).await.0, 400);
}

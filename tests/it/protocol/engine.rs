//! The suite of Engine.IO.

use engineioxide::DisconnectReason;
use tokio_tungstenite::tungstenite::Message;

use super::{
    Echo, Kind, open_packet,
    server::{CALM, OFFICIAL},
    shared::shared_cases,
};

shared_cases!(Kind::Engine);

#[tokio::test]
async fn message_http_long_polling_closes_the_session_upon_invalid_packet_format() {
    let echo = Echo::start(Kind::Engine, CALM).await;
    let session = echo.session().await;
    assert_eq!(echo.push(&session, "abc").await.0, 400);
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

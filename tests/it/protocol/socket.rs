//! The suite of Socket.IO.

use std::time::Duration;

use serde_json::Value;
use tokio_tungstenite::tungstenite::Message;

use super::{
    Echo, Kind, Websocket, open_packet,
    server::{CALM, PATIENT, Pace},
    shared::shared_cases,
};

shared_cases!(Kind::Socket);

/// A server, and a websocket on it before any CONNECT.
async fn unconnected(pace: Pace) -> (Echo, Websocket) {
    let echo = Echo::start(Kind::Socket, pace).await;
    let mut websocket = echo.fresh().await;
    open_packet(&websocket.hears_text().await);
    (echo, websocket)
}

/// A server, and a websocket that has connected to `/`.
async fn connected(pace: Pace) -> (Echo, Websocket) {
    let (echo, mut websocket) = unconnected(pace).await;
    connects(&mut websocket, "40", "40", "42[\"auth\",{}]").await;
    (echo, websocket)
}

/// Says CONNECT, and hears of it, with an id alone, and of what it was sent with.
async fn connects(websocket: &mut Websocket, says: &str, prefix: &str, auth: &str) {
    websocket.say(says).await;
    let connect = websocket.hears_but_pings().await.to_string();
    let handshake: Value = serde_json::from_str(connect.strip_prefix(prefix).unwrap_or_else(|| panic!("{connect}"))).expect("JSON");
    let handshake = handshake.as_object().expect("an object");
    assert!(handshake.len() == 1 && handshake["sid"].is_string(), "{handshake:?}");
    assert_eq!(websocket.hears_but_pings().await, Message::text(auth));
}

/// What is said comes back as this.
async fn answers(says: &[Message], expected: &[Message]) {
    let (_echo, mut websocket) = connected(CALM).await;
    for message in says {
        websocket.say(message.clone()).await;
    }
    for message in expected {
        assert_eq!(websocket.hears_but_pings().await, *message);
    }
}

/// What is said after CONNECT makes the server close the connection.
async fn closes_on(says: &'static str) {
    let (_echo, mut websocket) = connected(CALM).await;
    websocket.say(says).await;
    websocket.closed().await;
}

#[tokio::test]
async fn connect_should_allow_connection_to_the_main_namespace() {
    connected(CALM).await;
}

#[tokio::test]
async fn connect_should_allow_connection_to_the_main_namespace_with_a_payload() {
    let (_echo, mut websocket) = unconnected(CALM).await;
    connects(&mut websocket, r#"40{"token":"123"}"#, "40", r#"42["auth",{"token":"123"}]"#).await;
}

#[tokio::test]
async fn connect_should_allow_connection_to_a_custom_namespace() {
    let (_echo, mut websocket) = unconnected(CALM).await;
    connects(&mut websocket, "40/custom,", "40/custom,", r#"42/custom,["auth",{}]"#).await;
}

#[tokio::test]
async fn connect_should_allow_connection_to_a_custom_namespace_with_a_payload() {
    let (_echo, mut websocket) = unconnected(CALM).await;
    connects(&mut websocket, r#"40/custom,{"token":"abc"}"#, "40/custom,", r#"42/custom,["auth",{"token":"abc"}]"#).await;
}

#[tokio::test]
async fn connect_should_disallow_connection_to_an_unknown_namespace() {
    let (_echo, mut websocket) = unconnected(CALM).await;
    websocket.say("40/random").await;
    assert_eq!(websocket.hears_but_pings().await, Message::text(r#"44/random,{"message":"Invalid namespace"}"#));
}

#[tokio::test]
async fn connect_should_disallow_connection_with_an_invalid_handshake() {
    let (_echo, mut websocket) = unconnected(CALM).await;
    websocket.say("4abc").await;
    websocket.closed().await;
}

#[tokio::test]
async fn connect_should_close_the_connection_if_no_handshake_is_received() {
    let (_echo, mut websocket) = unconnected(Pace { connect: Duration::from_millis(500), ..CALM }).await;
    websocket.closed().await;
}

#[tokio::test]
async fn disconnect_should_disconnect_from_the_main_namespace() {
    let (_echo, mut websocket) = connected(PATIENT).await;
    websocket.say("41").await;
    // The connection itself goes on.
    assert_eq!(websocket.hears_text().await, "2");
}

#[tokio::test]
async fn disconnect_should_connect_then_disconnect_from_a_custom_namespace() {
    let (_echo, mut websocket) = connected(PATIENT).await;
    assert_eq!(websocket.hears_text().await, "2");
    websocket.say("3").await;
    connects(&mut websocket, "40/custom", "40/custom,", r#"42/custom,["auth",{}]"#).await;
    websocket.say("41/custom").await;
    websocket.say(r#"42["message","message to main namespace"]"#).await;
    assert_eq!(websocket.hears_but_pings().await, Message::text(r#"42["message-back","message to main namespace"]"#));
}

#[tokio::test]
async fn message_should_send_a_plain_text_packet() {
    let expected = Message::text(r#"42["message-back",1,"2",{"3":[true]}]"#);
    answers(&[Message::text(r#"42["message",1,"2",{"3":[true]}]"#)], &[expected]).await;
}

#[tokio::test]
async fn message_should_send_a_packet_with_binary_attachments() {
    let (one, other) = (Message::binary(vec![1, 2, 3]), Message::binary(vec![4, 5, 6]));
    let says = Message::text(r#"452-["message",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#);
    let expected = Message::text(r#"452-["message-back",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#);
    answers(&[says, one.clone(), other.clone()], &[expected, one, other]).await;
}

#[tokio::test]
async fn message_should_send_a_plain_text_packet_with_an_ack() {
    let expected = Message::text(r#"43456[1,"2",{"3":[false]}]"#);
    answers(&[Message::text(r#"42456["message-with-ack",1,"2",{"3":[false]}]"#)], &[expected]).await;
}

#[tokio::test]
async fn message_should_send_a_packet_with_binary_attachments_and_an_ack() {
    let (one, other) = (Message::binary(vec![1, 2, 3]), Message::binary(vec![4, 5, 6]));
    let says = Message::text(r#"452-789["message-with-ack",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#);
    let expected = Message::text(r#"462-789[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#);
    answers(&[says, one.clone(), other.clone()], &[expected, one, other]).await;
}

#[tokio::test]
async fn message_should_close_the_connection_upon_invalid_format_unknown_packet_type() {
    closes_on("4abc").await;
}

#[tokio::test]
async fn message_should_close_the_connection_upon_invalid_format_invalid_payload_format() {
    closes_on("42{}").await;
}

#[tokio::test]
async fn message_should_close_the_connection_upon_invalid_format_invalid_ack_id() {
    closes_on(r#"42abc["message-with-ack",1,"2",{"3":[false]}]"#).await;
}

//! The websocket transport, and requests for it.

use std::time::Duration;

use bytes::Bytes;
use engineioxide::{DisconnectReason, FirstMessages};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest};

use crate::support::{Seen, Server, hear, say};

#[tokio::test(start_paused = true)]
async fn messages_go_both_ways_and_pings_are_answered() {
    let mut server = Server::new(|_| {});
    let mut websocket = server.websocket("").await;
    let socket = server.connected().await;
    let open = hear(&mut websocket).await.expect("a packet");
    assert!(open.starts_with(&format!("0{{\"sid\":\"{}\",\"upgrades\":[]", socket.id)), "{open}");
    socket.emit("one").expect("there is room");
    socket.emit_binary(Bytes::from_static(&[1, 2])).expect("there is room");
    assert_eq!(hear(&mut websocket).await.as_deref(), Some("4one"));
    assert_eq!(hear(&mut websocket).await.as_deref(), Some("b\"\\x01\\x02\""));
    say(&mut websocket, "4two").await;
    assert_eq!(server.text().await, "two");
    websocket.send(Message::binary(vec![3, 4])).await.expect("sent");
    assert!(matches!(server.next().await, Seen::Binary(bytes) if bytes[..] == [3, 4]));
    websocket.send(Message::Ping(Bytes::from_static(b"x"))).await.expect("sent");
    let pong = websocket.next().await.expect("open").expect("valid");
    assert_eq!(pong, Message::Pong(Bytes::from_static(b"x")));
    let began = crate::support::now();
    assert_eq!(hear(&mut websocket).await.as_deref(), Some("2"));
    assert!(began.elapsed() > Duration::from_secs(24));
    assert_eq!(server.disconnected().await, DisconnectReason::HeartbeatTimeout);
    assert_eq!(hear(&mut websocket).await, None);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_websocket_has_its_reason() {
    let mut server = Server::new(|config| config.ws_max_frame_size = 100);
    for (says, reason) in [
        (Message::text("1"), DisconnectReason::TransportClose),
        (Message::Close(None), DisconnectReason::TransportClose),
        (Message::text("x"), DisconnectReason::PacketParsingError),
        (Message::text("4".repeat(101)), DisconnectReason::TransportError),
    ] {
        let mut websocket = server.websocket("").await;
        server.connected().await;
        websocket.send(says.clone()).await.expect("sent");
        assert_eq!(server.disconnected().await, reason, "{says:?}");
        while hear(&mut websocket).await.is_some() {}
    }
    let websocket = server.websocket("").await;
    server.connected().await;
    drop(websocket);
    assert_eq!(server.disconnected().await, DisconnectReason::TransportError);
}

#[tokio::test(start_paused = true)]
async fn a_protocol_that_is_offered_is_chosen() {
    let mut server = Server::new(|_| {});
    let mut request = "ws://here/engine.io/?EIO=4&transport=websocket".into_client_request().expect("valid");
    request.headers_mut().insert("sec-websocket-protocol", "x, y".parse().expect("valid"));
    let (_, response) = tokio_tungstenite::client_async(request, server.connect()).await.expect("accepted");
    assert_eq!(response.headers()["sec-websocket-protocol"], "x");
    let socket = server.connected().await;
    assert!(!socket.req_parts.headers.contains_key("sec-websocket-key"), "only the handshake needs it");
}

#[tokio::test(start_paused = true)]
async fn a_request_for_a_websocket_that_lost_its_headers_is_refused() {
    let server = Server::new(|_| {});
    let mut connection = server.connect();
    let request = "GET /engine.io/?EIO=4&transport=websocket HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n";
    connection.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.expect("text");
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.ends_with("{\"code\":3,\"message\":\"Bad request\"}"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_first_message_that_is_too_long_is_not_kept_and_no_more_is_read() {
    let mut server = Server::new(|_| {});
    server.limit_first(FirstMessages { most: 10, instead: Some("too long".into()) });
    let mut websocket = server.websocket("").await;
    let socket = server.connected().await;
    say(&mut websocket, &"4".repeat(11)).await;
    say(&mut websocket, "4x").await;
    assert_eq!(server.text().await, "too long");
    socket.emit("why").expect("there is room");
    socket.close(DisconnectReason::TransportClose);
    assert_eq!(server.disconnected().await, DisconnectReason::TransportClose);
    hear(&mut websocket).await;
    assert_eq!(hear(&mut websocket).await.as_deref(), Some("4why"));
    assert_eq!(hear(&mut websocket).await.as_deref(), Some("1"));
    assert_eq!(hear(&mut websocket).await, None);
}

//! The handle of the transport: what waits, and closing from outside.

use std::time::Duration;

use bytes::Bytes;
use engineioxide::{DisconnectReason, TransportType};

use crate::support::{Server, hear, say, transport};

#[tokio::test(start_paused = true)]
async fn what_waits_and_for_how_long_can_be_asked() {
    let mut server = Server::new(|config| config.max_buffer_size = 2);
    let (sid, socket) = server.open().await;
    let handle = transport(&socket);
    assert_eq!((handle.bytes_waiting(), handle.packets_waiting(), handle.stalled_for()), (0, 0, Duration::ZERO));
    socket.emit("12345").expect("there is room");
    tokio::time::sleep(Duration::from_secs(3)).await;
    socket.emit("123").expect("there is room");
    assert!(socket.emit("1").is_err(), "two packets wait");
    assert_eq!((handle.bytes_waiting(), handle.packets_waiting(), handle.stalled_for()), (8, 2, Duration::from_secs(3)));
    server.get(&sid).await;
    assert_eq!((handle.bytes_waiting(), handle.bytes_taken(), handle.stalled_for()), (0, 8, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn what_is_emitted_together_takes_one_place() {
    let mut server = Server::new(|config| config.max_buffer_size = 2);
    let (sid, socket) = server.open().await;
    for n in 0..2 {
        let attachments = [Bytes::from_static(&[1]), Bytes::from_static(&[2])].into();
        socket.reserve().expect("there is room").emit_many(n.to_string().into(), attachments);
    }
    assert!(socket.reserve().is_err(), "two emits wait");
    assert_eq!(server.get(&sid).await.1, "40\u{1e}bAQ==\u{1e}bAg==\u{1e}41\u{1e}bAQ==\u{1e}bAg==");
    assert!(socket.reserve().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_websocket_that_is_not_read_stalls_and_can_be_cut() {
    let mut server = Server::new(|_| {});
    let mut websocket = server.websocket("").await;
    let socket = server.connected().await;
    let handle = transport(&socket);
    assert_eq!(handle.kind(), TransportType::Websocket);
    for _ in 0..20 {
        socket.emit("x".repeat(10_000)).expect("there is room");
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!((100_000..200_000).contains(&handle.bytes_waiting()), "{handle:?}");
    assert!((Duration::from_secs(4)..Duration::from_secs(6)).contains(&handle.stalled_for()));
    handle.cut();
    assert_eq!(server.disconnected().await, DisconnectReason::TransportClose);
    assert!(handle.is_closed() && socket.emit("y").is_err());
    while hear(&mut websocket).await.is_some() {}
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_closed_gives_its_client_what_waits() {
    let mut server = Server::new(|_| {});
    let mut websocket = server.websocket("").await;
    let socket = server.connected().await;
    (0..50).for_each(|n| socket.emit(format!("{n}{}", "x".repeat(5000))).expect("there is room"));
    transport(&socket).close();
    assert_eq!(server.disconnected().await, DisconnectReason::TransportClose);
    socket.closed().await;
    hear(&mut websocket).await.expect("the open packet");
    for n in 0..50 {
        assert!(hear(&mut websocket).await.expect("what waited").starts_with(&format!("4{n}x")));
    }
    assert_eq!(hear(&mut websocket).await.as_deref(), Some("1"));
    assert_eq!(hear(&mut websocket).await, None);

    let (sid, socket) = server.open().await;
    socket.emit("last").expect("there is room");
    socket.close(DisconnectReason::ClosingServer);
    assert_eq!(server.disconnected().await, DisconnectReason::ClosingServer);
    assert_eq!(server.get(&sid).await, (200, "4last\u{1e}1".to_owned()));
    assert_eq!(server.get(&sid).await.0, 400);
}

#[tokio::test(start_paused = true)]
async fn a_poller_that_is_cut_learns_that_its_session_is_unknown() {
    let mut server = Server::new(|_| {});
    let (sid, socket) = server.open().await;
    let (poll, ()) = tokio::join!(server.get(&sid), async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        transport(&socket).cut();
    });
    assert_eq!(poll, (400, "{\"code\":1,\"message\":\"Session ID unknown\"}".to_owned()));
    assert_eq!(server.disconnected().await, DisconnectReason::TransportClose);
    assert_eq!(server.post(&sid, "4x").await.0, 400);
}

#[tokio::test(start_paused = true)]
async fn one_of_the_next_texts_can_be_changed() {
    let mut server = Server::new(|_| {});
    let mut websocket = server.websocket("").await;
    let socket = server.connected().await;
    transport(&socket).rewrite_next(|text| (text == "b").then(|| "other".to_owned()));
    for text in ["a", "b", "b"] {
        socket.emit(text).expect("there is room");
    }
    hear(&mut websocket).await;
    for expected in ["4a", "4other", "4b"] {
        assert_eq!(hear(&mut websocket).await.as_deref(), Some(expected));
    }
    say(&mut websocket, "4x").await;
    assert_eq!(server.text().await, "x");
}

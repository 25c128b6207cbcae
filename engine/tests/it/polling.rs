//! The polling transport.

use std::time::Duration;

use bytes::Bytes;
use engineioxide::{DisconnectReason, FirstMessages};
use http::Method;

use crate::support::{Seen, Server, request, transport};

#[tokio::test(start_paused = true)]
async fn a_session_begins_with_an_open_packet_and_takes_and_brings_messages() {
    let mut server = Server::new(|_| {});
    let (status, body) = server.get("").await;
    let sid = body.split('"').nth(3).expect("an id").to_owned();
    let open =
        format!("0{{\"sid\":\"{sid}\",\"upgrades\":[\"websocket\"],\"pingInterval\":25000,\"pingTimeout\":20000,\"maxPayload\":100000}}");
    assert_eq!((status, body), (200, open));
    let socket = server.connected().await;
    socket.emit("one").expect("there is room");
    socket.emit_binary(Bytes::from_static(&[1, 2, 3, 4])).expect("there is room");
    assert_eq!(server.get(&sid).await, (200, "4one\u{1e}bAQIDBA==".to_owned()));
    assert_eq!(server.post(&sid, "4hello\u{1e}bAQIDBA==").await, (200, "ok".to_owned()));
    assert_eq!(server.text().await, "hello");
    assert!(matches!(server.next().await, Seen::Binary(bytes) if bytes[..] == [1, 2, 3, 4]));
}

#[tokio::test(start_paused = true)]
async fn the_first_ping_comes_after_the_interval_and_a_client_that_answers_none_is_gone() {
    let mut server = Server::new(|_| {});
    let began = crate::support::now();
    let (sid, _) = server.open().await;
    assert_eq!(server.get(&sid).await.1, "2");
    assert!(began.elapsed() >= Duration::from_secs(25));
    server.post(&sid, "3").await;
    assert_eq!(server.get(&sid).await.1, "2");
    assert!((Duration::from_secs(50)..Duration::from_secs(51)).contains(&began.elapsed()));
    assert_eq!(server.disconnected().await, DisconnectReason::HeartbeatTimeout);
    assert!((Duration::from_secs(70)..Duration::from_secs(71)).contains(&began.elapsed()));
    assert_eq!(server.get(&sid).await, (400, "{\"code\":1,\"message\":\"Session ID unknown\"}".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn two_polls_at_a_time_end_the_session() {
    let mut server = Server::new(|_| {});
    let (sid, _) = server.open().await;
    let (first, second) = tokio::join!(server.get(&sid), async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        server.get(&sid).await
    });
    assert_eq!((first, second.0), ((200, "1".to_owned()), 400));
    assert_eq!(server.disconnected().await, DisconnectReason::MultipleHttpPollingError);
    assert_eq!(server.get(&sid).await.0, 400);
}

#[tokio::test(start_paused = true)]
async fn two_posts_at_a_time_end_the_session() {
    use tokio::io::AsyncWriteExt;

    let mut server = Server::new(|_| {});
    let (sid, _) = server.open().await;
    let mut first = server.connect();
    let head = format!("POST /engine.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nhost: here\r\ncontent-length: 5\r\n\r\n4h");
    first.write_all(head.as_bytes()).await.expect("sent");
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(server.post(&sid, "4second").await.0, 400);
    assert_eq!(server.disconnected().await, DisconnectReason::MultipleHttpPollingError);
}

#[tokio::test(start_paused = true)]
async fn a_poll_that_is_aborted_ends_the_session() {
    let mut server = Server::new(|_| {});
    let (sid, _) = server.open().await;
    let poll = request(server.connect(), Method::GET, &sid, "");
    assert!(tokio::time::timeout(Duration::from_millis(5), poll).await.is_err(), "nothing waits");
    let began = crate::support::now();
    assert_eq!(server.disconnected().await, DisconnectReason::TransportError);
    assert!(began.elapsed() < Duration::from_secs(1));
    assert_eq!(server.get(&sid).await.0, 400);
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fit_into_one_answer_comes_with_the_next() {
    let mut server = Server::new(|config| config.max_payload = 10);
    let (sid, socket) = server.open().await;
    for message in ["hello", "world", "a message that fits into none", "x", "y"] {
        socket.emit(message).expect("there is room");
    }
    for expected in ["4hello", "4world", "4a message that fits into none", "4x\u{1e}4y"] {
        assert_eq!(server.get(&sid).await.1, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_too_long_is_refused_and_the_session_goes_on() {
    let mut server = Server::new(|config| config.max_payload = 10);
    let (sid, _) = server.open().await;
    assert_eq!(server.post(&sid, "4".repeat(11)).await.0, 413);
    assert_eq!(server.post(&sid, "4short").await.0, 200);
    assert_eq!(server.text().await, "short");
}

#[tokio::test(start_paused = true)]
async fn what_is_no_packet_ends_the_session_after_what_came_before_it() {
    let mut server = Server::new(|_| {});
    for wrong in ["4a\u{1e}x", "4a\u{1e}", "4a\u{1e}0", "4a\u{1e}2", "4a\u{1e}b!"] {
        let (sid, _) = server.open().await;
        assert_eq!(server.post(&sid, wrong).await.0, 400, "{wrong:?}");
        assert_eq!(server.text().await, "a");
        assert_eq!(server.disconnected().await, DisconnectReason::PacketParsingError, "{wrong:?}");
    }
    let (sid, _) = server.open().await;
    assert_eq!(server.post(&sid, &[b'4', 0xff][..]).await.0, 400);
    assert_eq!(server.disconnected().await, DisconnectReason::PacketParsingError);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_close_is_gone_and_its_poll_is_answered() {
    let mut server = Server::new(|_| {});
    let (sid, _) = server.open().await;
    let (poll, post) = tokio::join!(server.get(&sid), async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        server.post(&sid, "1").await
    });
    assert_eq!((poll, post), ((200, "6".to_owned()), (200, "ok".to_owned())));
    assert_eq!(server.disconnected().await, DisconnectReason::TransportClose);
    assert_eq!(server.get(&sid).await.0, 400);
}

#[tokio::test(start_paused = true)]
async fn the_application_is_given_something_in_place_of_a_first_message_that_is_too_long() {
    let mut server = Server::new(|_| {});
    server.limit_first(FirstMessages { most: 10, instead: Some("too long".into()) });
    let (sid, socket) = server.open().await;
    assert_eq!(server.post(&sid, "4".repeat(11)).await, (200, "ok".to_owned()));
    assert_eq!(server.text().await, "too long");
    transport(&socket).limit_incoming(usize::MAX, None);
    assert_eq!(server.post(&sid, format!("4{}", "x".repeat(20))).await.0, 200);
    assert_eq!(server.text().await, "x".repeat(20));
}

#[tokio::test(start_paused = true)]
async fn messages_of_an_answer_that_nobody_takes_end_the_session() {
    let mut server = Server::new(|_| {});
    let (sid, socket) = server.open().await;
    let (poll, ()) = tokio::join!(server.get(&sid), async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        socket.emit("one").expect("there is room");
    });
    assert_eq!(poll.1, "4one");
    assert_eq!((transport(&socket).bytes_waiting(), transport(&socket).bytes_taken()), (0, 3));
    socket.emit("two").expect("there is room");
    drop(server.answer(&sid).await);
    assert_eq!(server.disconnected().await, DisconnectReason::TransportError);
}

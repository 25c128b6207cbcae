//! A websocket takes over from polling, or does not.

use std::time::Duration;

use engineioxide::{DisconnectReason, TransportType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Server, hear, say, transport};

#[tokio::test(start_paused = true)]
async fn polling_goes_on_until_the_client_says_five() {
    let mut server = Server::new(|_| {});
    let (sid, socket) = server.open().await;
    let mut websocket = server.websocket(&sid).await;
    let (poll, ()) = tokio::join!(server.get(&sid), async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        say(&mut websocket, "2probe").await;
        assert_eq!(hear(&mut websocket).await.as_deref(), Some("3probe"));
    });
    assert_eq!(poll.1, "6", "the poll that waits is answered");
    assert_eq!(transport(&socket).kind(), TransportType::Polling);
    socket.emit("one").expect("there is room");
    assert_eq!(server.get(&sid).await.1, "4one");
    assert_eq!(server.get(&sid).await.1, "6", "and so is the next, soon");
    server.post(&sid, "4hello").await;
    assert_eq!(server.text().await, "hello");
    (0..100).for_each(|n| socket.emit(n.to_string()).expect("there is room"));
    say(&mut websocket, "5").await;
    for n in 0..100 {
        assert_eq!(hear(&mut websocket).await, Some(format!("4{n}")));
    }
    assert_eq!(transport(&socket).kind(), TransportType::Websocket);
    assert_eq!(server.get(&sid).await, (400, "{\"code\":3,\"message\":\"Bad request\"}".to_owned()));
    assert_eq!(server.post(&sid, "4x").await.0, 400);
    say(&mut websocket, "4bye").await;
    assert_eq!(server.text().await, "bye");
}

#[tokio::test(start_paused = true)]
async fn a_poll_that_still_waits_when_the_websocket_takes_over_is_answered() {
    let mut server = Server::new(|_| {});
    let (sid, socket) = server.open().await;
    let mut websocket = server.websocket(&sid).await;
    say(&mut websocket, "2probe").await;
    hear(&mut websocket).await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    let (poll, ()) = tokio::join!(server.get(&sid), async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        say(&mut websocket, "5").await;
        tokio::time::sleep(Duration::from_millis(5)).await;
        socket.emit("one").expect("there is room");
    });
    assert_eq!(poll.1, "6");
    assert_eq!(hear(&mut websocket).await.as_deref(), Some("4one"));
}

/// How a websocket breaks before it takes over.
#[derive(Clone, Copy, Debug)]
enum Breaks {
    ClosedAfterAccepted,
    Swallowed,
    Garbage,
    ClosedAfterProbe,
    SilentAfterProbe,
    WrongAfterProbe,
}

#[tokio::test(start_paused = true)]
async fn a_websocket_that_breaks_before_it_takes_over_leaves_polling_as_it_was() {
    use Breaks::*;
    for breaks in [ClosedAfterAccepted, Swallowed, Garbage, ClosedAfterProbe, SilentAfterProbe, WrongAfterProbe] {
        let mut server = Server::new(|_| {});
        let (sid, socket) = server.open().await;
        let mut websocket = server.websocket(&sid).await;
        match breaks {
            ClosedAfterAccepted | Swallowed => {}
            Garbage => websocket.get_mut().write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("sent"),
            _ => {
                say(&mut websocket, "2probe").await;
                assert_eq!(hear(&mut websocket).await.as_deref(), Some("3probe"));
            }
        }
        match breaks {
            ClosedAfterAccepted | ClosedAfterProbe => drop(websocket),
            WrongAfterProbe => {
                say(&mut websocket, "4not yet").await;
                assert_eq!(hear(&mut websocket).await, None, "{breaks:?}: the websocket is closed");
            }
            Swallowed | SilentAfterProbe => {
                let began = crate::support::now();
                assert_eq!(hear(&mut websocket).await, None, "{breaks:?}: the websocket is closed");
                assert!((Duration::from_secs(10)..Duration::from_secs(11)).contains(&began.elapsed()));
            }
            Garbage => assert_eq!(hear(&mut websocket).await, None, "{breaks:?}: the websocket is closed"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
        socket.emit("one").expect("there is room");
        assert_eq!(server.get(&sid).await, (200, "4one".to_owned()), "{breaks:?}");
        assert_eq!(server.post(&sid, "4two").await.0, 200, "{breaks:?}");
        assert_eq!(server.text().await, "two", "{breaks:?}: and nothing has happened before");
        let mut again = server.websocket(&sid).await;
        say(&mut again, "2probe").await;
        assert_eq!(hear(&mut again).await.as_deref(), Some("3probe"), "{breaks:?}: another may try");
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_websocket_is_refused_while_one_tries_and_after_it_has_taken_over() {
    let mut server = Server::new(|_| {});
    let (sid, _) = server.open().await;
    let mut websocket = server.websocket(&sid).await;
    assert!(crate::support::websocket(server.connect(), &sid).await.is_err());
    say(&mut websocket, "2probe").await;
    hear(&mut websocket).await;
    say(&mut websocket, "5").await;
    say(&mut websocket, "4here").await;
    assert_eq!(server.text().await, "here");
    assert!(crate::support::websocket(server.connect(), &sid).await.is_err());
    assert!(crate::support::websocket(server.connect(), "abcdefghijklmnop").await.is_err(), "nobody has this id");
}

#[tokio::test(start_paused = true)]
async fn a_session_that_ends_while_a_websocket_tries_takes_it_along() {
    let mut server = Server::new(|_| {});
    let (sid, socket) = server.open().await;
    let mut websocket = server.websocket(&sid).await;
    say(&mut websocket, "2probe").await;
    hear(&mut websocket).await;
    transport(&socket).cut();
    assert_eq!(server.disconnected().await, DisconnectReason::TransportClose);
    assert_eq!(hear(&mut websocket).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_was_on_its_way_when_the_websocket_took_over_is_received() {
    let mut server = Server::new(|_| {});
    let (sid, _) = server.open().await;
    let mut post = server.connect();
    let head = format!("POST /engine.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nhost: here\r\ncontent-length: 6\r\n\r\n4fir");
    post.write_all(head.as_bytes()).await.expect("sent");
    let mut websocket = server.websocket(&sid).await;
    say(&mut websocket, "2probe").await;
    hear(&mut websocket).await;
    say(&mut websocket, "5").await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    post.write_all(b"st").await.expect("sent");
    assert_eq!(server.text().await, "first");
    let mut answer = [0; 12];
    post.read_exact(&mut answer).await.expect("answered");
    assert_eq!(&answer, b"HTTP/1.1 200");
    say(&mut websocket, "4second").await;
    assert_eq!(server.text().await, "second");
}

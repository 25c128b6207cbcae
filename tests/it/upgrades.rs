//! From polls to a websocket, and how it may go wrong: what is refused, what breaks on the way, and what waits meanwhile.

use futures_util::{SinkExt, StreamExt};
use reqwest::header::{SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_tungstenite::{
    connect_async,
    tungstenite::{Message, client::IntoClientRequest, http::HeaderValue},
};

use crate::support::{DEADLINE, Poller, ROOMY, TestApp, User, Websocket};

/// What makes a request a websocket's.
const HANDSHAKE: [(&str, &str); 4] = [
    ("connection", "Upgrade"),
    ("upgrade", "websocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

/// The head of the answer to a request as it stands, and the connection behind it.
async fn asks(app: &TestApp, path: &str, headers: &[(&str, &str)]) -> (String, TcpStream) {
    let mut stream = TcpStream::connect(app.address).await.expect("connects");
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {}\r\n{headers}\r\n", app.address);
    stream.write_all(request.as_bytes()).await.expect("is sent");
    let mut head = Vec::new();
    let answer = async {
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("an answer"));
        }
    };
    timeout(DEADLINE, answer).await.expect("an answer in time");
    (String::from_utf8(head).expect("text"), stream)
}

/// A frame of a client: its kind, and what it brings.
fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).expect("it is short");
    [&[0x80 | kind, 0x80 | length, 0, 0, 0, 0], payload].concat()
}

/// The text of a direct message, if that is what a packet brings.
fn text_of(packet: &str) -> Option<String> {
    let array = packet.strip_prefix("42").filter(|array| array.starts_with("[\"message-received\""))?;
    Some(serde_json::from_str::<Value>(array).expect("JSON")[1]["message_text"].as_str().expect("a text").to_owned())
}

/// The next direct message by polls.
async fn polled(poller: &mut Poller<'_>) -> String {
    let next = async {
        loop {
            if let Some(text) = text_of(&poller.next().await) {
                return text;
            }
        }
    };
    timeout(DEADLINE, next).await.expect("a message in time")
}

/// The next direct message by websocket.
async fn heard(websocket: &mut Websocket) -> String {
    let next = async {
        loop {
            let frame = websocket.next().await.expect("it is open").expect("a frame");
            if frame == Message::text("2") {
                websocket.send(Message::text("3")).await.expect("sends");
            }
            if let Some(text) = text_of(frame.to_text().unwrap_or_default()) {
                return text;
            }
        }
    };
    timeout(DEADLINE, next).await.expect("a message in time")
}

async fn probes(websocket: &mut Websocket) {
    websocket.send(Message::text("2probe")).await.expect("sends");
    assert_eq!(websocket.next().await.expect("a frame").expect("a frame"), Message::text("3probe"));
}

async fn joined<'a>(app: &'a TestApp, user: &User, conversation: i64) -> Poller<'a> {
    let mut poller = Poller::connect(app, user).await;
    poller.say(format!("421[\"join-conversation\",{conversation}]")).await;
    assert_eq!(poller.heard("431").await["ok"], true);
    poller
}

/// How an upgrade ends that comes to nothing.
#[derive(Clone, Copy, PartialEq)]
enum End {
    /// The client closes the websocket.
    Closed,
    /// Nothing more comes, until the server has had enough of it.
    Swallowed,
}

/// Begins an upgrade that comes to nothing in this way: what the client sends of it, and how it ends.
async fn an_upgrade_breaks(sends: &[Vec<u8>], end: End) {
    let app = TestApp::with(ROOMY).await;
    let (ann, bob, conversation) = app.pair().await;
    let mut poller = joined(&app, &ann, conversation).await;
    let b = app.socket(&bob).await;
    let (head, mut broken) = asks(&app, &poller.upgrade_path(), &HANDSHAKE).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    for bytes in sends {
        broken.write_all(bytes).await.expect("is sent");
    }
    if end == End::Closed {
        broken.shutdown().await.expect("is closed");
    } else {
        b.send(conversation, "meanwhile").await;
        assert_eq!(polled(&mut poller).await, "meanwhile");
    }
    let mut rest = Vec::new();
    timeout(3 * DEADLINE, broken.read_to_end(&mut rest)).await.expect("the server closes it, too").ok();
    for text in ["afterwards", "and later"] {
        b.send(conversation, text).await;
        assert_eq!(polled(&mut poller).await, text);
    }
    poller.say(format!("422[\"send-message\",{{\"conversationId\":{conversation},\"message\":\"by polling\"}}]")).await;
    assert_eq!(poller.heard("432").await["ok"], true);
    // The next one succeeds.
    let mut websocket = poller.upgrade().await;
    probes(&mut websocket).await;
    websocket.send(Message::text("5")).await.expect("sends");
    b.send(conversation, "by websocket").await;
    let mut text = heard(&mut websocket).await;
    if text == "by polling" {
        text = heard(&mut websocket).await;
    }
    assert_eq!(text, "by websocket");
}

#[tokio::test]
async fn polling_goes_on_when_the_websocket_is_closed_at_once() {
    an_upgrade_breaks(&[], End::Closed).await;
}

#[tokio::test]
async fn polling_goes_on_when_the_websocket_swallows_everything() {
    an_upgrade_breaks(&[], End::Swallowed).await;
}

#[tokio::test]
async fn polling_goes_on_when_the_websocket_is_closed_after_the_probe() {
    an_upgrade_breaks(&[frame(1, b"2probe")], End::Closed).await;
}

#[tokio::test]
async fn polling_goes_on_when_the_probe_is_all_that_comes() {
    an_upgrade_breaks(&[frame(1, b"2probe")], End::Swallowed).await;
}

#[tokio::test]
async fn polling_goes_on_when_the_websocket_says_that_it_closes() {
    an_upgrade_breaks(&[frame(8, &[3, 232])], End::Closed).await;
}

#[tokio::test]
async fn polling_goes_on_when_the_websocket_ends_within_a_frame() {
    an_upgrade_breaks(&[frame(1, b"2probe"), frame(1, b"5")[..6].to_vec()], End::Closed).await;
}

#[tokio::test]
async fn polling_goes_on_when_the_websocket_brings_something_else_than_a_probe() {
    for sends in [frame(1, b"4hello"), frame(1, b"5"), frame(2, b"2probe"), b"HTTP/1.1 502 Bad Gateway\r\n\r\n".to_vec()] {
        an_upgrade_breaks(&[sends], End::Closed).await;
    }
}

#[tokio::test]
async fn what_waits_for_a_poller_arrives_once_and_in_order_when_it_moves_to_a_websocket() {
    // More than one answer to a poll may bring.
    const MESSAGES: usize = 300;
    let app = TestApp::with(ROOMY).await;
    let (ann, bob, conversation) = app.pair().await;
    for polls in 0..3 {
        let mut poller = joined(&app, &ann, conversation).await;
        let b = app.socket(&bob).await;
        let long = "x".repeat(9_900);
        for n in 0..MESSAGES {
            b.send(conversation, &format!("{n} {long}")).await;
        }
        let mut texts = Vec::new();
        for _ in 0..polls {
            texts.push(polled(&mut poller).await);
            texts.extend(poller.so_far().iter().filter_map(|packet| text_of(packet)));
        }
        assert!(texts.len() < MESSAGES, "a poll brings {} of them", texts.len());
        let mut websocket = poller.upgrade().await;
        probes(&mut websocket).await;
        websocket.send(Message::text("5")).await.expect("sends");
        b.send(conversation, "the last").await;
        while texts.last().is_none_or(|text| text != "the last") {
            texts.push(heard(&mut websocket).await);
        }
        let numbers: Vec<_> = texts.iter().map(|text| text.split(' ').next().unwrap_or_default().to_owned()).collect();
        let expected: Vec<_> = (0..MESSAGES).map(|n| n.to_string()).chain(["the".to_owned()]).collect();
        assert_eq!(numbers, expected, "after {polls} polls");
    }
}

#[tokio::test]
async fn a_websocket_request_that_lost_its_upgrade_is_refused() {
    let app = TestApp::start().await;
    let mut poller = Poller::open(&app).await;
    for path in ["/socket.io/?EIO=4&transport=websocket".to_owned(), poller.upgrade_path()] {
        for lost in HANDSHAKE {
            let headers: Vec<_> = HANDSHAKE.into_iter().filter(|header| *header != lost).collect();
            let (head, _) = asks(&app, &path, &headers).await;
            assert!(head.starts_with("HTTP/1.1 400 "), "without {}: {head}", lost.0);
        }
        let (head, _) = asks(&app, &path, &[]).await;
        assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
    }
    poller.say("40".to_owned()).await;
    assert!(poller.next().await.starts_with("40{"), "the session of polls goes on");
}

#[tokio::test]
async fn the_first_websocket_protocol_that_a_client_offers_is_chosen() {
    let app = TestApp::start().await;
    for (offered, chosen) in [(None, None), (Some("x"), Some("x")), (Some("y, x"), Some("y"))] {
        let address = format!("ws://{}/socket.io/?EIO=4&transport=websocket", app.address);
        let mut request = address.into_client_request().expect("a request");
        if let Some(offered) = offered {
            request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(offered));
        }
        let (mut websocket, answer) = connect_async(request).await.expect("connects");
        assert_eq!(answer.headers()[UPGRADE], "websocket");
        let protocol = answer.headers().get(SEC_WEBSOCKET_PROTOCOL).map(|value| value.to_str().expect("text"));
        assert_eq!(protocol, chosen, "{offered:?}");
        assert!(websocket.next().await.expect("a frame").expect("a frame").to_text().is_ok_and(|text| text.starts_with('0')));
    }
}

#[tokio::test]
async fn the_first_ping_comes_after_the_interval() {
    let app = TestApp::start().await;
    let address = format!("ws://{}/socket.io/?EIO=4&transport=websocket", app.address);
    let (mut websocket, _) = connect_async(address).await.expect("connects");
    websocket.send(Message::text("40")).await.expect("sends");
    for prefix in ["0{", "40{"] {
        let frame = websocket.next().await.expect("a frame").expect("a frame");
        assert!(frame.to_text().is_ok_and(|text| text.starts_with(prefix)), "{frame} instead of {prefix}");
    }
    let poller = Poller::open(&app).await;
    poller.say("40".to_owned()).await;
    let poll = app.answer(poller.request("GET")).await;
    assert!(poll.body.as_str().is_some_and(|text| text.starts_with("40{") && !text.contains("\u{1e}2")), "{:?}", poll.body);
}

#[tokio::test]
async fn what_is_refused_before_a_session_is_refused_with_the_numbers_of_the_protocol() {
    let app = TestApp::start().await;
    for (method, query, code, message) in [
        ("GET", "EIO=4", 0, "Transport unknown"),
        ("GET", "EIO=4&transport=smoke", 0, "Transport unknown"),
        ("GET", "EIO=4&transport=polling&sid=nobody", 1, "Session ID unknown"),
        ("GET", "EIO=4&transport=polling&sid=AAAAAAAAAAAAAAHs", 1, "Session ID unknown"),
        ("POST", "EIO=4&transport=polling&sid=AAAAAAAAAAAAAAHs", 1, "Session ID unknown"),
        ("POST", "EIO=4&transport=polling", 2, "Bad handshake method"),
        ("GET", "EIO=4&transport=websocket", 3, "Bad request"),
        ("GET", "EIO=3&transport=polling", 5, "Unsupported protocol version"),
        ("GET", "transport=polling", 5, "Unsupported protocol version"),
    ] {
        let answer = app.answer(app.request(method, &format!("/socket.io/?{query}"))).await;
        assert_eq!((answer.status, answer.body), (400, json!({"code": code, "message": message})), "{method} {query}");
    }
}

//! Garbage below the events: sessions that do not exist, packets of no kind, frames that are none, bytes that are no HTTP. The server may
//! answer, refuse or close; it must go on.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};
use tokio_tungstenite::{connect_async, tungstenite::Message};

use super::{Scene, nonsense, raw::Raw};
use crate::support::{DEADLINE, Dice};

/// Packets of Socket.IO and Engine.IO that are malformed, out of place or without an end.
const PACKETS: &[&str] = &[
    "",
    "0",
    "0{}",
    "1",
    "2",
    "2probe",
    "3",
    "3probe",
    "4",
    "5",
    "6",
    "7",
    "9",
    "b",
    "bAAAA",
    "b!!!",
    "\u{0}",
    "\u{1e}",
    "4\u{1e}4",
    "40",
    "40{",
    "40{}",
    "40{\"token\":5}",
    "40[]",
    "40null",
    "40/",
    "40/,",
    "40/admin",
    "40/admin,{}",
    "40/admin,{\"token\":null}",
    "40/é?x=1,{}",
    "41",
    "41/admin,",
    "42",
    "42[",
    "42[]",
    "42{}",
    "42[1]",
    "42[null]",
    "42[[\"typing\"]]",
    "42\"typing\"",
    "42[\"typing\"",
    "42[\"typing\",]",
    "42[\"typing\",1]x",
    "42[\"typ\\u0069ng\",1]",
    "42[\"\\ud800\",1]",
    "42[\"typing\",\"\u{0}\"]",
    "42[\"typing\",01]",
    "42[\"typing\",1e]",
    "42[\"typing\",NaN]",
    "42-1[\"typing\"]",
    "421",
    "421[]",
    "421{}",
    "42é",
    "421é[\"typing\"]",
    "4299999999999999999999[\"typing\"]",
    "42/admin,[\"typing\",1]",
    "42/admin,1[\"typing\",1]",
    "42/[\"typing\"]",
    "43",
    "43[]",
    "431[]",
    "439223372036854775807[1]",
    "44",
    "44{\"message\":\"x\"}",
    "45",
    "45-",
    "450-[\"typing\",1]",
    "451-[\"typing\",{\"_placeholder\":true,\"num\":0}]",
    "452-[\"typing\",{\"_placeholder\":true,\"num\":-1}]",
    "459999-[\"typing\"]",
    "4599999999999999999999-[\"typing\"]",
    "45-1[\"typing\"]",
    "451-1[\"send-message\",{\"message\":{\"_placeholder\":true,\"num\":0}}]",
    "46",
    "461-1[{\"_placeholder\":true,\"num\":0}]",
    "47",
];

const QUERIES: &[&str] = &[
    "",
    "EIO=4",
    "transport=polling",
    "EIO=4&transport=polling&sid=",
    "EIO=4&transport=polling&sid=nonsense",
    "EIO=4&transport=polling&sid=AAAAAAAAAAAAAAHs",
    "EIO=4&transport=polling&sid=%00",
    "EIO=4&transport=polling&sid=AAAAAAAAAAAAAAHs&sid=x",
    "EIO=4&transport=websocket",
    "EIO=4&transport=websocket&sid=AAAAAAAAAAAAAAHs",
    "EIO=3&transport=polling",
    "EIO=4&transport=webtransport",
    "EIO=4&transport=flashsocket",
    "EIO=4=4&transport=polling=&b64=1",
    "EIO=99999999999999999999&transport=polling",
    "EIO=&transport=&sid=",
    "&&&=&EIO=4&transport=polling&j=0",
];

const TYPES: &[&str] =
    &["text/plain;charset=UTF-8", "application/octet-stream", "application/json", "image/png", "text/plain;charset=utf-7", ";", "\u{1}"];

fn packet(dice: &mut Dice) -> String {
    match dice.below(20) {
        0 => String::from_utf8_lossy(&dice.bytes(300)).into_owned(),
        1 => format!("4{}", String::from_utf8_lossy(&dice.bytes(100))),
        2 => format!("42[\"send-message\",{}", nonsense::value(dice)),
        3 => format!("40{}", nonsense::object(dice, &["token", "pid", "offset", "recovery", "sid"])),
        4 if dice.once_in(300) => format!("42[\"send-message\",\"{}\"]", "x".repeat(1_100_000)),
        _ => dice.one_of(PACKETS).to_owned(),
    }
}

/// How fast connections follow one another. The library keeps one that spoke before its CONNECT for ten seconds: at a steady pace as
/// many are kept in the first wave as in the second, whatever else the machine does.
const PACE: Duration = Duration::from_millis(20);

/// Sends so many packets, a few on each connection.
pub async fn attack(scene: &Scene, mut dice: Dice, count: usize) {
    let mut left = count;
    let mut pace = tokio::time::interval(PACE);
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while left > 0 {
        pace.tick().await;
        let some = left.min(1 + dice.below(20));
        match dice.below(10) {
            0..5 => by_websocket(scene, &mut dice, some).await,
            5..7 => by_requests(scene, &mut dice, some).await,
            7 => by_polling(scene, &mut dice, some).await,
            8 => frames(scene, &mut dice, some).await,
            _ => bytes(scene, &mut dice, some).await,
        }
        left -= some;
    }
}

/// On a websocket: before CONNECT, after it, or after a refused one.
async fn by_websocket(scene: &Scene, dice: &mut Dice, count: usize) {
    let address = format!("ws://{}/socket.io/?EIO=4&transport=websocket", scene.app.address);
    let (mut wire, _) = connect_async(address).await.expect("connects");
    if dice.once_in(2) {
        let (auth, _) = scene.somebody(dice);
        wire.send(Message::text(format!("40{auth}"))).await.ok();
    }
    for n in 0..count {
        let message = match dice.below(12) {
            0 => Message::binary(dice.bytes(300)),
            1 => Message::Ping(dice.bytes(100).into()),
            2 => Message::Pong(dice.bytes(100).into()),
            _ => Message::text(packet(dice)),
        };
        if wire.send(message).await.is_err() {
            // It was closed: what is left is said elsewhere.
            return Box::pin(by_websocket(scene, dice, count - n)).await;
        }
    }
    if dice.once_in(2) {
        // What it says to all of this is read to the end.
        wire.close(None).await.ok();
        timeout(DEADLINE, async { while let Some(Ok(_)) = wire.next().await {} }).await.ok();
    }
}

/// By requests to the path of the sockets.
async fn by_requests(scene: &Scene, dice: &mut Dice, count: usize) {
    let mut client = Raw::new(scene);
    for _ in 0..count {
        let method = dice.one_of(&["GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"]);
        let path = dice.one_of(&["/socket.io/", "/socket.io", "/socket.io//", "/socket.io/x"]);
        let (query, kind, body) = (dice.one_of(QUERIES), dice.one_of(TYPES), packet(dice));
        let more = dice.one_of(&[
            "",
            "Connection: Upgrade\r\nUpgrade: websocket\r\n",
            "Origin: https://evil.example\r\n",
            "Sec-WebSocket-Version: 13\r\n",
        ]);
        let request = format!(
            "{method} {path}?{query} HTTP/1.1\r\nHost: {}\r\nContent-Type: {kind}\r\n{more}Content-Length: {}\r\n\r\n{body}",
            scene.app.address,
            body.len()
        );
        let reply = client.send(request.as_bytes(), true, false).await;
        assert!(reply.as_ref().is_none_or(|reply| reply.status < 500), "{request:.600}\n\n{reply:?}");
    }
}

/// In the bodies of a polling session that there is.
async fn by_polling(scene: &Scene, dice: &mut Dice, count: usize) {
    let mut client = Raw::new(scene);
    let head =
        |method: &str, sid: &str| format!("{method} /socket.io/?EIO=4&transport=polling{sid} HTTP/1.1\r\nHost: {}\r\n", scene.app.address);
    let open = client.send(format!("{}\r\n", head("GET", "")).as_bytes(), true, false).await.expect("a session");
    let open = String::from_utf8_lossy(&open.body).into_owned();
    let sid = open.split("\"sid\":\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_else(|| panic!("{open}"));
    let sid = format!("&sid={sid}");
    let mut bodies = vec![format!("40{}", scene.somebody(dice).0).into_bytes()];
    for _ in 1..count {
        let packets: Vec<String> = (0..=dice.below(5)).map(|_| packet(dice)).collect();
        bodies.push(if dice.once_in(5) { dice.bytes(400) } else { packets.join("\u{1e}").into_bytes() });
    }
    for body in bodies {
        let head = format!("{}Content-Type: {}\r\nContent-Length: {}\r\n\r\n", head("POST", &sid), dice.one_of(TYPES), body.len());
        let reply = client.send(&[head.as_bytes(), &body].concat(), true, false).await;
        assert!(reply.as_ref().is_none_or(|reply| reply.status < 500), "{head}{}\n\n{reply:?}", String::from_utf8_lossy(&body));
    }
    // The client says that it leaves, or just never polls.
    if dice.once_in(2) {
        client.send(format!("{}Content-Length: 1\r\n\r\n1", head("POST", &sid)).as_bytes(), true, false).await;
    }
}

/// As frames of a websocket that break its rules.
async fn frames(scene: &Scene, dice: &mut Dice, count: usize) {
    let mut stream = Raw::connect(scene).await;
    let upgrade =
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let request = format!("GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\n{upgrade}\r\n");
    stream.write_all(request.as_bytes()).await.ok();
    let mut answer = Vec::new();
    while !answer.windows(4).any(|four| four == b"\r\n\r\n") {
        if timeout(DEADLINE, stream.read_buf(&mut answer)).await.expect("an answer").unwrap_or(0) == 0 {
            break;
        }
    }
    for _ in 0..count {
        let frame: Vec<u8> = match dice.below(9) {
            // Without a mask, with an unknown kind, with reserved bits, with a length that never comes.
            0 => [&[0x81, 2], &b"40"[..]].concat(),
            1 => [&[0x83, 0x82, 0, 0, 0, 0], &b"40"[..]].concat(),
            2 => [&[0xf1, 0x82, 0, 0, 0, 0], &b"40"[..]].concat(),
            3 => vec![0x81, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0],
            4 => vec![0x81, 0xff, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0],
            // No UTF-8, a message in pieces that never ends, a ping that is too long, a close with a code that nobody has.
            5 => [&[0x81, 0x84, 0, 0, 0, 0], &b"42\xff\xfe"[..]].concat(),
            6 => [&[0x01, 0x82, 0, 0, 0, 0], &b"40"[..]].concat(),
            7 => [&[0x89, 0xfe, 0, 200, 0, 0, 0, 0], &[0_u8; 200][..]].concat(),
            _ => vec![0x88, 0x82, 0, 0, 0, 0, 0, 1],
        };
        if stream.write_all(&frame).await.is_err() {
            break;
        }
    }
}

/// As bytes that are no HTTP at all.
async fn bytes(scene: &Scene, dice: &mut Dice, count: usize) {
    for _ in 0..count {
        let mut stream = Raw::connect(scene).await;
        let bytes = match dice.below(6) {
            0 => b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            1 => b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
            2 => b"GET / HTTP/9.9\r\n\r\n".to_vec(),
            3 => b"GET /socket.io/?EIO=4 HTTP/1.1\r\nHost".to_vec(),
            4 => [&b"GET / HTTP/1.1\r\nX: "[..], &[b'x'; 100_000], b"\r\n\r\n"].concat(),
            _ => dice.bytes(500),
        };
        stream.write_all(&bytes).await.ok();
        if dice.once_in(2) {
            stream.shutdown().await.ok();
            let mut answer = Vec::new();
            timeout(3 * DEADLINE, stream.read_to_end(&mut answer)).await.expect("an end").ok();
            assert!(!answer.starts_with(b"HTTP/1.1 5"), "{}", String::from_utf8_lossy(&answer));
        }
    }
}

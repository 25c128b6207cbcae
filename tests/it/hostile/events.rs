//! Hostile events: each is a well-formed packet, so that it reaches the parser and the rules, and must be answered when it asks.

use std::collections::HashSet;

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};

use super::{Scene, nonsense};
use crate::support::{DEADLINE, Dice};

const NAMES: &[&str] = &[
    "user-online",
    "join-conversation",
    "leave-conversation",
    "send-message",
    "typing",
    "stop-typing",
    "mark-as-read",
    "join-support",
    "send-support-message",
];

/// Names that mean something to a library or to a server, and nothing here.
const STRANGE: &[&str] =
    &["", " ", "connect", "disconnect", "error", "newListener", "__proto__", "toString", "message-received", "SEND-MESSAGE", "送る", "*"];

const FIELDS: &[&str] = &[
    "conversationId",
    "ticketId",
    "messageId",
    "userId",
    "message",
    "tempId",
    "isTyping",
    "senderId",
    "isAdmin",
    "token",
    "pid",
    "offset",
];

const CODES: &[&str] =
    &["unauthorized", "forbidden", "not_found", "invalid_payload", "empty_message", "message_too_long", "rate_limited", "ticket_closed"];

/// How many events are on their way at a time; all of them are answered before the next.
const VOLLEY: usize = 50;

/// The server closes the connection of whoever sends a longer packet.
const LONGEST: usize = 999_900;

/// The array of an event: a name and any number of arguments.
fn event(dice: &mut Dice, own: i64) -> String {
    let name = if dice.once_in(20) { dice.one_of(STRANGE) } else { dice.one_of(NAMES) };
    let mut array = format!("[\"{name}\"");
    for _ in 0..dice.one_of(&[0, 1, 1, 1, 1, 1, 1, 2, 3, 20]) {
        let argument = match dice.below(10) {
            // Nearly right, so that it gets further than most.
            0 | 1 => format!("{{\"conversationId\":{own},\"message\":{},\"tempId\":{}}}", nonsense::value(dice), nonsense::value(dice)),
            2 => format!("{{\"messageId\":{},\"conversationId\":{own}}}", nonsense::value(dice)),
            3 => own.to_string(),
            4..7 => nonsense::object(dice, FIELDS),
            _ => nonsense::value(dice),
        };
        if array.len() + argument.len() < LONGEST {
            array.push(',');
            array.push_str(&argument);
        }
    }
    array + "]"
}

/// The longest event of a socket without a token.
const GUESTS_LONGEST: usize = 8192;

type Wire = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A client that sends hostile events.
pub struct Attacker {
    wire: Wire,
    next_ack: i64,
    is_guest: bool,
}

impl Attacker {
    /// Connects, as a user or as a guest.
    pub async fn connect(scene: &Scene, auth: &str) -> Self {
        let address = format!("ws://{}/socket.io/?EIO=4&transport=websocket", scene.app.address);
        let (mut wire, _) = connect_async(address).await.expect("connects");
        wire.send(Message::text(format!("40{auth}"))).await.expect("sends");
        loop {
            let frame = timeout(DEADLINE, wire.next()).await.expect("an answer").expect("a frame").expect("a frame");
            let text = frame.to_text().unwrap_or_default();
            assert!(!text.starts_with("44"), "{auth} is refused: {text}");
            if text == "2" {
                wire.send(Message::text("3")).await.expect("sends");
            }
            if text.starts_with("40") {
                return Self { wire, next_ack: 0, is_guest: auth == "{}" };
            }
        }
    }

    /// Sends some events at once, and waits until all that asked are answered.
    pub async fn volley(&mut self, dice: &mut Dice, own: i64, count: usize) {
        let (mut asked, mut frames) = (HashSet::new(), Vec::new());
        for n in 0..count {
            let asks = n + 1 == count || !dice.once_in(10);
            let mut array = event(dice, own);
            // The connection of a guest ends with a longer one, and what follows it is not answered.
            while self.is_guest && array.len() > GUESTS_LONGEST {
                array = event(dice, own);
            }
            if asks {
                // An ack may have any number; the client's own count up.
                self.next_ack += 1;
                let ack = if dice.once_in(50) { i64::MAX - self.next_ack } else { self.next_ack };
                asked.insert(ack);
                frames.push(Message::text(format!("42{ack}{array}")));
            } else {
                frames.push(Message::text(format!("42{array}")));
            }
        }
        let sent: Vec<String> = frames.iter().map(|frame| frame.to_text().unwrap_or_default().chars().take(300).collect()).collect();
        for _ in 0..exchange(&mut self.wire, frames, asked, &sent).await {
            self.wire.send(Message::text("3")).await.expect("sends");
        }
    }
}

/// Sends frames and hears the answers that are waited for at the same time. Returns how many pings came meanwhile.
async fn exchange(wire: &mut Wire, frames: Vec<Message>, mut asked: HashSet<i64>, sent: &[String]) -> usize {
    let (mut mouth, mut ear) = wire.split();
    let say = async {
        for frame in frames {
            mouth.feed(frame).await.expect("sends");
        }
        mouth.flush().await.expect("sends");
    };
    let hear = async {
        let mut pings = 0;
        while !asked.is_empty() {
            let Some(Ok(frame)) = ear.next().await else { panic!("the connection ends before {asked:?} of {sent:#?}") };
            let text = frame.to_text().unwrap_or_default();
            assert!(!text.starts_with("41"), "it is disconnected after {sent:#?}");
            pings += usize::from(text == "2");
            let Some(answer) = text.strip_prefix("43") else { continue };
            let (ack, array) = answer.split_at(answer.find('[').expect("arguments"));
            let ack = ack.parse().expect("a number");
            assert!(asked.remove(&ack), "{ack} was not asked, or is answered twice");
            assert_answer(array);
        }
        pings
    };
    let both = timeout(6 * DEADLINE, async { tokio::join!(say, hear) }).await;
    both.unwrap_or_else(|_| panic!("not answered in time: {sent:#?}")).1
}

/// An answer says that all is well, or why not, with a code and a sentence.
fn assert_answer(array: &str) {
    let answer: Value = serde_json::from_str(array).unwrap_or_else(|e| panic!("{array}: {e}"));
    let answer = &answer[0];
    let code = answer["code"].as_str().unwrap_or_default();
    let refused = answer["ok"] == false && CODES.contains(&code) && answer["error"].as_str().is_some_and(|s| !s.is_empty());
    assert!(answer["ok"] == true || refused, "{array}");
}

/// Sends so many events, by one client after the other.
pub async fn attack(scene: &Scene, mut dice: Dice, count: usize) {
    let mut left = count;
    while left > 0 {
        let (auth, own) = scene.somebody(&mut dice);
        let mut attacker = Attacker::connect(scene, &auth).await;
        for _ in 0..1 + dice.below(40) {
            let some = left.min(VOLLEY);
            if some > 0 {
                attacker.volley(&mut dice, own, some).await;
            }
            left -= some;
        }
        if dice.once_in(2) {
            attacker.wire.close(None).await.ok();
        }
    }
}

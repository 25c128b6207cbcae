//! What it costs to read an event and to write one: no socket, no database. Run by hand:
//! `cargo bench --manifest-path bench/Cargo.toml -p tidings-micro --bench wire`.

use divan::{Bencher, black_box};
use entity::{ConversationId, MessageId, UserId};
use tidings::chat::{Event, Message, TempId};
use tidings::clock::Timestamp;
use tidings::wire::{inbound, outbound};

const SEND: &str = r#"["send-message",{"conversationId":7,"senderId":13,"message":"0000000001 shall we take the early train to the mountains, Ben?!","tempId":"temp-1700000000000"}]"#;
const JOIN: &str = r#"["join-conversation",{"conversationId":7}]"#;
const TYPING: &str = r#"["typing",{"conversationId":7,"userId":13}]"#;
const MARK: &str = r#"["mark-as-read",{"messageId":9,"conversationId":7}]"#;

fn main() {
    divan::main();
}

#[divan::bench(args = [SEND, JOIN, TYPING, MARK])]
fn parse(packet: &str) {
    black_box(inbound::parse(black_box(packet))).1.expect("is an event");
}

fn message() -> Event {
    let message = Message {
        id: MessageId(9),
        conversation: ConversationId(7),
        sender: UserId(13),
        receiver: UserId(14),
        text: "0000000001 shall we take the early train to the mountains, Ben?!".into(),
        read_at: None,
        is_read: false,
        created_at: Timestamp::default(),
    };
    let temp_id = TempId { echo: "\"temp-1700000000000\"".into(), nonce: Some("temp-1700000000000".into()) };
    Event::Message { message, temp_id: Some(temp_id), after: None }
}

/// Once per message.
#[divan::bench]
fn encode_message(bencher: Bencher) {
    let event = message();
    bencher.bench(|| outbound::frames(black_box(&event)));
}

/// Once per message and socket.
#[divan::bench]
fn packet_of_message(bencher: Bencher) {
    let frames = outbound::frames(&message());
    bencher.bench(|| black_box(&frames)[0].packet(None));
}

#[divan::bench]
fn encode_nudge(bencher: Bencher) {
    let event = Event::ConversationUpdated { conversation: ConversationId(7), delay: std::time::Duration::ZERO };
    bencher.bench(|| outbound::frames(black_box(&event))[0].packet(None));
}

#[divan::bench(args = [1, 10, 100])]
fn encode_online_users(bencher: Bencher, users: i64) {
    let event = Event::OnlineUsers((1..=users).map(UserId).collect());
    bencher.bench(|| outbound::frames(black_box(&event))[0].packet(None));
}

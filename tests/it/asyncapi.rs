//! The document of the events: it names every event, field and code that `src/wire` has, and no other. That every packet is as it says is
//! checked by `support::event_document` wherever a test has a socket.

use std::collections::{BTreeMap, BTreeSet};

use entity::{ConversationId, MessageId, SupportMessageId, TicketId, UserId};
use serde_json::{Map, Value, json};
use tidings::chat::{Event, Message, Room, TempId, TicketNews};
use tidings::clock::Timestamp;
use tidings::error::Error;
use tidings::store::{SupportMessage, Ticket};
use tidings::wire::{
    inbound::{self, Reference},
    outbound::{self, Frame},
};

use crate::readme;
use crate::support::event_document::{ASYNCAPI, fault_of_heard, payload, properties};

/// The messages of one side.
fn messages(side: &str) -> BTreeSet<String> {
    let all = ASYNCAPI.document["components"]["messages"].as_object().expect("messages");
    all.keys().filter_map(|name| name.strip_prefix(side)).map(str::to_owned).collect()
}

#[test]
fn every_event_is_in_the_document_and_no_other() {
    assert_eq!(messages("client."), readme::inbound());
    assert_eq!(messages("server."), readme::outbound());
    let told = ASYNCAPI.document["operations"]["tell"]["messages"].as_array().expect("what is told").len();
    assert_eq!(told, readme::outbound().len());
    for name in readme::inbound() {
        let operation = &ASYNCAPI.document["operations"][&name];
        assert_eq!(operation["messages"][0]["$ref"], format!("#/channels/socket/messages/client.{name}"));
        assert!(operation["reply"]["messages"][0]["$ref"].is_string(), "{name} has no ack");
    }
}

#[test]
fn every_code_of_the_sockets_is_in_the_document_and_no_other() {
    let code = readme::code("src/wire/error.rs");
    let (_, arms) = code.split_once("pub fn code").expect("the codes are there");
    let arms = arms.split("\n}").next().unwrap_or_default();
    // A socket has no body that could be too large or of another kind, and opens nothing that could be there already.
    let over_rest_only = ["conflict", "too_large", "unsupported_media_type"];
    let known: BTreeSet<_> =
        readme::literals(arms).into_iter().map(|(_, code, _)| code).filter(|code| !over_rest_only.contains(code)).collect();
    let documented = ASYNCAPI.document["components"]["schemas"]["Code"]["enum"].as_array().expect("codes");
    assert_eq!(documented.iter().filter_map(Value::as_str).collect::<BTreeSet<_>>(), known);
}

/// Every frame that a socket can hear, in all of its forms.
fn all_frames() -> Vec<Frame> {
    let (user, moment) = (UserId(1), Timestamp::default());
    let temp_id = || Some(TempId { echo: "\"temp-1\"".into(), nonce: None });
    let message = Message {
        id: MessageId(9),
        conversation: ConversationId(7),
        sender: user,
        receiver: UserId(2),
        text: "hi".into(),
        read_at: None,
        is_read: false,
        created_at: moment,
    };
    let support = SupportMessage {
        id: SupportMessageId(3),
        ticket: TicketId(5),
        sender: user,
        text: "hi".into(),
        is_admin: true,
        created_at: moment,
    };
    let ticket = Ticket {
        id: TicketId(5),
        owner: user,
        subject: "a".into(),
        description: "b".into(),
        category: "general".into(),
        status: "open".into(),
        priority: "low".into(),
        created_at: moment,
        updated_at: moment,
    };
    let typing = |room, is_typing| Event::Typing { room, user, with: user, name: Some("ann".into()), is_typing };
    let events = [
        Event::from(message.clone()),
        Event::Message { message: Message { read_at: Some(moment), ..message }, temp_id: temp_id(), after: None },
        Event::from((support.clone(), user)),
        Event::SupportMessage { message: support, owner: user, temp_id: temp_id(), after: None },
        Event::ConversationUpdated { conversation: ConversationId(7), delay: Default::default() },
        Event::MessagesRead { conversation: ConversationId(7), reader: user, other: user, read_at: moment, messages: vec![MessageId(9)] },
        typing(Room::Conversation(ConversationId(7)), true),
        typing(Room::Ticket(TicketId(5)), true),
        typing(Room::Conversation(ConversationId(7)), false),
        typing(Room::Ticket(TicketId(5)), false),
        Event::Presence { user, name: "ann".into(), last_seen: None },
        Event::Presence { user, name: "ann".into(), last_seen: Some(moment) },
        Event::OnlineUsers(vec![user]),
        Event::Ticket(ticket.clone(), TicketNews::Created),
        Event::Ticket(ticket, TicketNews::Changed),
    ];
    let whole = Reference { is_send: true, temp_id: temp_id(), conversation: Some(ConversationId(7)), ..Reference::default() };
    let limited = Error::RateLimited { retry_after: std::time::Duration::from_secs(1) };
    let failures = [
        outbound::failure(&limited, &whole),
        outbound::failure(&Error::EmptyMessage, &Reference { is_send: true, ..Reference::default() }),
    ];
    events.iter().flat_map(outbound::frames).chain(failures.into_iter().flatten()).chain([outbound::bare_nudge()]).collect()
}

#[test]
fn what_sockets_hear_has_the_documented_fields_and_no_other() {
    let mut heard: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for frame in all_frames() {
        let packet: Vec<Value> = serde_json::from_str(&frame.packet(None)).expect("a packet is JSON");
        let name = packet[0].as_str().expect("a name").to_owned();
        assert_eq!(fault_of_heard(&name, &packet[1..]), None);
        heard.entry(name).or_default().push(packet[1].clone());
    }
    assert_eq!(heard.keys().cloned().collect::<BTreeSet<_>>(), messages("server."));
    for (name, payloads) in heard.iter().filter(|(name, _)| *name != "online-users") {
        let objects: Vec<&Map<String, Value>> = payloads.iter().map(|payload| payload.as_object().expect("an object")).collect();
        let schema = ASYNCAPI.resolve(payload(&format!("server.{name}")));
        let ever: BTreeSet<String> = objects.iter().flat_map(|fields| fields.keys().cloned()).collect();
        assert_eq!(properties(schema).into_iter().collect::<BTreeSet<_>>(), ever, "{name}");
        let always = ever.iter().filter(|field| objects.iter().all(|fields| fields.contains_key(*field)));
        let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
        assert_eq!(required.collect::<BTreeSet<_>>(), always.map(String::as_str).collect(), "{name}");
    }
}

/// Something that fits a schema.
fn example(schema: &Value) -> Value {
    if schema["$ref"].as_str().is_some_and(|place| place.ends_with("/Id")) {
        return json!(7);
    }
    let schema = ASYNCAPI.resolve(schema);
    if let Some(first) = schema["oneOf"].get(0) {
        return example(first);
    }
    let kind = if schema["type"].is_array() { &schema["type"][0] } else { &schema["type"] };
    match kind.as_str() {
        Some("string") => json!("x"),
        Some("boolean") => json!(false),
        Some("array") => json!([example(&schema["items"])]),
        Some("object") => {
            let fields = schema["properties"].as_object().expect("properties").iter();
            fields.map(|(name, field)| (name.clone(), example(field))).collect::<Map<_, _>>().into()
        }
        other => panic!("{schema} is of kind {other:?}"),
    }
}

#[test]
fn what_clients_may_say_is_understood_as_documented() {
    let is_ignored = |field: &Value| field["$ref"].as_str().is_some_and(|place| place.ends_with("/Ignored"));
    let mut read = BTreeSet::new();
    for name in messages("client.") {
        let schema = ASYNCAPI.resolve(payload(&format!("client.{name}")));
        let variants = schema["oneOf"].as_array().or(schema["anyOf"].as_array()).cloned().unwrap_or_else(|| vec![schema.clone()]);
        for variant in &variants {
            let says = |argument: &Value| inbound::parse(&json!([name, argument]).to_string()).1;
            let whole = example(variant);
            let understood = says(&whole).unwrap_or_else(|e| panic!("{name} {whole}: {e}"));
            for (field, schema) in variant["properties"].as_object().into_iter().flatten() {
                let mut other = whole.clone();
                // What is ignored may be anything; what is read is missed, or makes a difference.
                other[field] = if is_ignored(schema) { json!("something else") } else { Value::Null };
                let changed = says(&other).ok().is_none_or(|event| event != understood);
                // `typing` is on without `isTyping`, and `stop-typing` never is.
                assert_eq!(changed, !is_ignored(schema), "{name}: {field} of {whole}");
                if !is_ignored(schema) {
                    read.insert(field.clone());
                }
            }
        }
    }
    let code = readme::code("src/wire/fields.rs");
    let (_, fields) = code.split_once("struct Fields<'a> {").expect("the fields are there");
    let fields = fields.split('}').next().unwrap_or_default().lines().filter_map(|line| line.split_once(": Option<"));
    let camel = |name: &str| {
        let mut words = name.trim().split('_');
        let first = words.next().unwrap_or_default().to_owned();
        words.fold(first, |whole, word| whole + &word[..1].to_uppercase() + &word[1..])
    };
    assert_eq!(read, fields.map(|(name, _)| camel(name.trim().trim_start_matches("pub(super) "))).collect::<BTreeSet<_>>());
}

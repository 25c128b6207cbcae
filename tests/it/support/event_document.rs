//! Holds every event and ack of the tests' sockets against `docs/asyncapi.yaml`.

use std::sync::LazyLock;

use serde_json::{Value, json};
use tidings::wire::inbound::{self, ClientEvent};

use super::schema::Schemas;

/// The document of the events.
pub static ASYNCAPI: LazyLock<Schemas> = LazyLock::new(|| {
    let text = include_str!("../../../docs/asyncapi.yaml");
    Schemas::new(yaml_serde::from_str(text).expect("docs/asyncapi.yaml is YAML"))
});

/// The schema of a message, `client.…`, `server.…` or `ack.…`.
pub fn payload(message: &str) -> &'static Value {
    &ASYNCAPI.document["components"]["messages"][message]["payload"]
}

/// What is wrong with an event that was heard.
pub fn fault_of_heard(name: &str, arguments: &[Value]) -> Option<String> {
    let schema = payload(&format!("server.{name}"));
    if schema.is_null() {
        return Some(format!("{name} is not in docs/asyncapi.yaml"));
    }
    let recovers = ["message-received", "support-message-received"].contains(&name);
    match arguments {
        [first] => ASYNCAPI.fault(schema, first),
        [first, Value::String(_)] if recovers => ASYNCAPI.fault(schema, first),
        _ => Some(format!("{arguments:?} are too many or too few")),
    }
    .map(|fault| format!("{name} is not as documented: {fault}"))
}

/// What is wrong with the ack of an event.
pub fn fault_of_ack(name: &str, ack: &Value) -> Option<String> {
    let message = ASYNCAPI.document["operations"][name]["reply"]["messages"][0]["$ref"].as_str();
    // Who asks for what does not exist is refused.
    let kind = message.and_then(|place| place.rsplit('/').next()).unwrap_or("ack.done");
    ASYNCAPI.fault(payload(kind), ack).map(|fault| format!("the ack of {name} is not as documented: {fault}"))
}

/// What the document and the server understand of a payload: both take it, or both refuse it.
pub fn check_said(name: &str, argument: &Value) {
    let schema = payload(&format!("client.{name}"));
    let event = inbound::parse(&json!([name, argument]).to_string()).1;
    if schema.is_null() {
        assert!(matches!(event, Ok(ClientEvent::Unknown)), "{name} is understood, and not in docs/asyncapi.yaml");
        return;
    }
    // Any `user-online` is taken: of a socket with a token it says nothing.
    let refused = if name == "user-online" { None } else { event.err() };
    let mut documented = argument.clone();
    // Clients may say more; the schemas of this module are strict.
    if let Some(fields) = documented.as_object_mut() {
        fields.retain(|field, _| is_property(schema, field));
    }
    match (ASYNCAPI.fault(schema, &documented), refused) {
        (None, Some(error)) => panic!("{name} {argument} is as documented, and refused: {error}"),
        (Some(fault), None) if name != "user-online" => panic!("{name} is taken, and not as documented: {fault}"),
        _ => {}
    }
}

fn is_property(schema: &Value, field: &str) -> bool {
    properties(schema).iter().any(|name| name == field)
}

/// All fields that a schema's objects may have.
pub fn properties(schema: &Value) -> Vec<String> {
    let schema = ASYNCAPI.resolve(schema);
    let own = schema["properties"].as_object().into_iter().flat_map(|fields| fields.keys().cloned());
    let variants = ["oneOf", "anyOf"].into_iter().flat_map(|word| schema[word].as_array().into_iter().flatten());
    own.chain(variants.flat_map(properties)).collect()
}

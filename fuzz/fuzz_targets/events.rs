//! The text of an event packet, as a client may send it: it becomes an event or a refusal.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidings::wire::{inbound, outbound};

fuzz_target!(|text: &str| {
    let (reference, event) = inbound::parse(text);
    if let Err(error) = event {
        // What is refused can be told, also to whoever sent something that is no event at all.
        assert!(!outbound::failure(&error, &reference).is_empty());
        assert!(outbound::ack::failed(&error).starts_with('['));
    }
});

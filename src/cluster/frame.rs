//! What nodes tell each other, as JSON. When it is told is not decided here.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::chat::{Audience, Event, Fact, NodeId};

/// What goes to the other nodes.
#[derive(Serialize)]
pub enum Outgoing<'a> {
    Tell(&'a Audience, &'a Event),
    Know(&'a Fact),
    /// A request to be told all that one must know.
    Hello,
    Bye,
}

/// The same, as it arrives.
#[derive(Deserialize)]
pub enum Incoming {
    Tell(Audience, Event),
    Know(Fact),
    Hello,
    Bye,
}

/// Items of one node, in their order. A number that is left out is a frame that was lost.
#[derive(Deserialize)]
pub struct Frame {
    pub node: NodeId,
    pub number: u64,
    pub items: Vec<Box<RawValue>>,
}

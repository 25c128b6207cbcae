//! Packets as they are written: in a websocket frame, and between others in one answer to a poll.

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use engineioxide_core::Str;

/// A message on its way to the client.
#[derive(Debug, Clone)]
pub enum Outgoing {
    /// A text.
    Text(Str),
    /// Bytes.
    Binary(Bytes),
    /// Bytes that were emitted together with the packet before them.
    Attachment(Bytes),
}

/// Separates the packets of a payload.
pub const SEPARATOR: u8 = 0x1e;

/// Packets without a message, as text.
pub const CLOSE: &str = "1";
/// See [`CLOSE`].
pub const PING: &str = "2";
/// See [`CLOSE`].
pub const NOOP: &str = "6";

impl Outgoing {
    /// How many bytes the message has.
    pub fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) | Self::Attachment(bytes) => bytes.len(),
        }
    }

    /// How many places in the queue it takes: an emit takes one, however many packets it has.
    pub fn places(&self) -> usize {
        usize::from(!matches!(self, Self::Attachment(_)))
    }

    /// How many bytes it takes in a payload.
    pub fn payload_len(&self) -> usize {
        match self {
            Self::Text(text) => 1 + text.len(),
            Self::Binary(bytes) | Self::Attachment(bytes) => 1 + bytes.len().div_ceil(3) * 4,
        }
    }

    /// Adds it to a payload.
    pub fn append_to(&self, payload: &mut String) {
        match self {
            Self::Text(text) => {
                payload.push('4');
                payload.push_str(text);
            }
            Self::Binary(bytes) | Self::Attachment(bytes) => {
                payload.push('b');
                BASE64_STANDARD.encode_string(bytes, payload);
            }
        }
    }
}

//! Every JSON name and shape that goes over the wire, and the quirks of the clients that they serve. It knows the domain's types and calls
//! none of its functions.
//!
//! | quirk | for which client | why | shown by |
//! |---|---|---|---|
//! | ids come as `7`, `"7"` or `{conversationId: 7}` | all | three generations write them differently | `inbound::tests` |
//! | `mark-as-read 9` is a message, not a conversation | G1 | its own form | `inbound::tests` |
//! | every message says both `conversation_id` and `conversationId`, `sender_id` and `senderId` | D, G1, G2 | each reads another | `outbound::tests` |
//! | `user-typing` and `typing`, `user-status-changed` and `user-online` are sent side by side | D; G1, G2 | each listens to another | `outbound::tests` |
//! | errors say their sentence twice, as `error` and `message` | D, G1 | each shows another | `error::tests` |
//! | flags are booleans, ids numbers, times end in milliseconds and `Z` | G1, G2 | `{flag && …}` prints a 0, ids are compared with `===`, dates are parsed | `outbound::tests` |
//! | a guest's `conversation-updated` carries `{}` | G2's navbar | it has no token, and needs only the nudge | `frontend-compat-tests/sockets/guests.test.mjs` |
//! | half a character is read as U+FFFD | all | a text cut between two UTF-16 units arrives as an escape that no UTF-8 text can hold | `surrogates::tests` |
//! | the last, extra argument of a message is its offset | socket.io-client ≥ 4.6 | Socket.IO's connection state recovery | `frontend-compat-tests/sockets/recovery.test.mjs` |

pub mod accounts;
pub mod error;
pub mod fields;
pub mod handshake;
pub mod inbound;
pub mod names;
pub mod outbound;
pub mod query;
pub mod rest;
pub mod shapes;
pub mod surrogates;

use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use crate::clock::Timestamp;

/// A moment as `2026-11-01T12:00:00.000Z`.
pub fn iso(moment: Timestamp) -> String {
    moment.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

/// A moment: ISO 8601, UTC, milliseconds, `Z`.
#[derive(Clone, Copy, ToSchema)]
#[schema(value_type = String, format = DateTime, pattern = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$", example = "2026-11-01T12:00:00.000Z")]
pub struct Moment(pub Timestamp);

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&iso(self.0))
    }
}

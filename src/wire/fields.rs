//! What the payloads of events hold: ids in their several forms, texts, marks of the client.

use entity::{ConversationId, TicketId};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::chat::{Room, TempId};
use crate::error::Error;

/// The most that one join may follow.
const MOST_JOINED: usize = 100;
/// The longest mark that is echoed to everybody, in bytes of JSON: 64 characters take at most 770.
const MOST_ECHOED: usize = 1024;
/// The largest id that a JSON number holds exactly.
const MOST_ID: i64 = (1 << 53) - 1;

/// The fields that any payload may have; everything else in it is ignored, `senderId` and `isAdmin` above all.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Fields<'a> {
    #[serde(borrow)]
    pub(super) conversation_id: Option<&'a RawValue>,
    pub(super) ticket_id: Option<&'a RawValue>,
    pub(super) message_id: Option<&'a RawValue>,
    pub(super) user_id: Option<&'a RawValue>,
    message: Option<&'a RawValue>,
    temp_id: Option<&'a RawValue>,
    pub(super) is_typing: Option<&'a RawValue>,
}

impl<'a> Fields<'a> {
    pub(super) fn of(argument: &'a str) -> Self {
        if argument.starts_with('{') { serde_json::from_str(argument).unwrap_or_default() } else { Self::default() }
    }

    pub(super) fn conversation(&self) -> Result<ConversationId, Error> {
        required(self.conversation_id, "conversationId").map(ConversationId)
    }

    pub(super) fn ticket(&self) -> Result<TicketId, Error> {
        required(self.ticket_id, "ticketId").map(TicketId)
    }

    pub(super) fn text(&self) -> Result<String, Error> {
        let raw = self.message.ok_or_else(|| Error::invalid("message is required"))?;
        serde_json::from_str(raw.get()).map_err(|_| Error::invalid("message must be a string"))
    }

    pub(super) fn temp_id(&self) -> Result<Option<TempId>, Error> {
        let Some(raw) = self.temp_id.map(RawValue::get) else { return Ok(None) };
        if raw.len() > MOST_ECHOED {
            return Err(Error::invalid("tempId is too long"));
        }
        let text = serde_json::from_str::<String>(raw).ok();
        // A number such as 1E400 is good JSON that many a parser refuses: nobody shall be told it.
        if text.is_none() && serde_json::from_str::<f64>(raw).is_err() {
            return Ok(None);
        }
        let nonce = text.filter(|text| (12..=64).contains(&text.chars().count())).map(Into::into);
        Ok(Some(TempId { echo: raw.into(), nonce }))
    }
}

pub(super) fn required(raw: Option<&RawValue>, name: &'static str) -> Result<i64, Error> {
    raw.and_then(|raw| id(raw.get())).ok_or_else(|| Error::invalid(format!("{name} must be a positive number")))
}

/// An id, as a number, which some programs write as `7.0`, or a decimal string.
pub(super) fn id(raw: &str) -> Option<i64> {
    match raw.strip_prefix('"') {
        Some(rest) => decimal_id(rest.strip_suffix('"')?),
        None => decimal_id(raw.strip_suffix(".0").unwrap_or(raw)),
    }
}

/// An id in decimal digits, as in a path or a query.
pub fn decimal_id(digits: &str) -> Option<i64> {
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse().ok().filter(|id| plain && (1..=MOST_ID).contains(id))
}

/// One id, several in an array, or one in the named field.
pub(super) fn ids(first: &str, field: Option<&RawValue>, name: &'static str) -> Result<Vec<i64>, Error> {
    if let Ok(array) = serde_json::from_str::<Vec<&RawValue>>(first) {
        if array.is_empty() || array.len() > MOST_JOINED {
            return Err(Error::invalid(format!("between 1 and {MOST_JOINED} ids can be joined")));
        }
        return array.into_iter().map(|raw| required(Some(raw), name)).collect();
    }
    match field {
        Some(_) => required(field, name).map(|id| vec![id]),
        None => id(first).map(|id| vec![id]).ok_or_else(|| Error::invalid(format!("{name} must be a positive number"))),
    }
}

pub(super) fn conversations(first: &str, fields: &Fields<'_>) -> Result<Vec<ConversationId>, Error> {
    Ok(ids(first, fields.conversation_id, "conversationId")?.into_iter().map(ConversationId).collect())
}

pub(super) fn room(first: &str, fields: &Fields<'_>) -> Result<Room, Error> {
    if fields.conversation_id.is_none() && fields.ticket_id.is_some() {
        return fields.ticket().map(Room::Ticket);
    }
    let id = fields.conversation_id.map_or_else(|| id(first), |raw| id(raw.get()));
    id.map(|id| Room::Conversation(ConversationId(id))).ok_or_else(|| Error::invalid("conversationId must be a positive number"))
}

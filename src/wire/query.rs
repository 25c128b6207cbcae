//! The query of a request: parameters that are ids, limits, moments or words, and a 400 that names the parameter for all else.

use std::collections::HashMap;

use axum::{extract::Query, http::Uri};
use chrono::{Datelike, Timelike};
use entity::{ConversationId, MessageId, SupportMessageId, TicketId};
use utoipa::IntoParams;

use super::fields::decimal_id;
use crate::clock::Timestamp;
use crate::error::{Error, Result};

/// The parameters of the inbox, for the documentation.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Inbox {
    /// A part of the other user's name; `%` and `_` are plain characters.
    pub search: Option<String>,
    /// How many at most; without, 10 000, or what the server is configured for.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u64>,
    /// The `last_message_at` of the last row of the page before.
    #[param(value_type = Option<String>, format = DateTime)]
    pub before: Option<Timestamp>,
    /// The `id` of that row, which breaks ties; without effect alone.
    pub before_id: Option<ConversationId>,
}

/// The parameters of a history, for the documentation.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct History {
    /// How many at most; without, the newest 1000, or what the server is configured for.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u64>,
    /// Only what is older than this message.
    pub before: Option<MessageId>,
    /// Only what is newer than this message, the oldest of it first; 0 is the beginning.
    #[param(value_type = Option<i64>, minimum = 0)]
    pub after: Option<MessageId>,
    /// `1` wraps the messages in an object with the other user's name.
    #[param(example = "1")]
    pub envelope: Option<String>,
}

/// The parameters of all tickets, for the documentation.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Tickets {
    /// `open`, `in_progress`, `resolved` or `closed`, in any case.
    #[param(example = "open")]
    pub status: Option<String>,
    /// `general`, `booking`, `destination` or `complaint`, in any case.
    #[param(example = "booking")]
    pub category: Option<String>,
    /// How many at most; without, 1000.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u64>,
    /// Only what is older than this ticket.
    pub before: Option<TicketId>,
}

/// The parameters of the caller's tickets, for the documentation.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct OwnTickets {
    /// How many at most; without, 1000.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u64>,
    /// Only what is older than this ticket.
    pub before: Option<TicketId>,
}

/// The parameters of a ticket's messages, for the documentation.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct TicketMessages {
    /// How many messages at most; without, the newest 1000, or what the server is configured for.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u64>,
    /// Only what is older than this message.
    pub before: Option<SupportMessageId>,
    /// Only what is newer than this message, the oldest of it first; 0 is the beginning.
    #[param(value_type = Option<i64>, minimum = 0)]
    pub after: Option<SupportMessageId>,
}

/// The parameters of the search for users, for the documentation.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct UserSearch {
    /// A part of the name.
    pub query: Option<String>,
}

/// The parameters of a request. Of one that is repeated the last counts.
pub struct Params {
    by_name: HashMap<String, String>,
    /// As they came.
    query: String,
}

/// What names a place in a list.
const PLACES: [&str; 3] = ["before", "before_id", "after"];

impl Params {
    /// The query of an address.
    pub fn of(address: &Uri) -> Result<Self> {
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(address).map_err(|_| Error::invalid("The query is malformed"))?;
        Ok(Self { by_name: pairs.into_iter().collect(), query: address.query().unwrap_or_default().to_owned() })
    }

    /// A parameter as it is.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.by_name.get(name).map(String::as_str)
    }

    /// A parameter that is an id.
    pub fn id(&self, name: &'static str) -> Result<Option<i64>> {
        self.parse(name, decimal_id, "a positive number")
    }

    /// A parameter that is an id, or 0 for the beginning.
    pub fn start(&self, name: &'static str) -> Result<Option<i64>> {
        self.parse(name, |text| if text == "0" { Some(0) } else { decimal_id(text) }, "a number, 0 for the beginning")
    }

    /// The address of another place in the list at `path`, asked for in the same way.
    pub fn elsewhere(&self, path: &str, place: &[(&str, String)]) -> String {
        let is_kept = |part: &&str| !part.is_empty() && !PLACES.contains(&part.split('=').next().unwrap_or_default());
        let kept = self.query.split('&').filter(is_kept).map(str::to_owned);
        let all: Vec<String> = kept.chain(place.iter().map(|(name, value)| format!("{name}={value}"))).collect();
        format!("{path}?{}", all.join("&"))
    }

    /// How many rows are asked for.
    pub fn limit(&self) -> Result<Option<u64>> {
        self.parse("limit", |text| text.parse().ok().filter(|n| (1..=1000).contains(n)), "a number from 1 to 1000")
    }

    /// A parameter that is a moment.
    pub fn moment(&self, name: &'static str) -> Result<Option<Timestamp>> {
        // In a query that was not encoded a `+` has become a blank.
        let moment = |text: &str| Some(chrono::DateTime::parse_from_rfc3339(&text.replace(' ', "+")).ok()?.to_utc());
        // MySQL knows no leap second: it is the end of the second before.
        let moment = |text: &str| moment(text).and_then(|moment| moment.with_nanosecond(moment.nanosecond().min(999_999_999)));
        // An offset may lead out of the years that every database can compare.
        let moment = |text: &str| moment(text).filter(|moment| (1..=9999).contains(&moment.year()));
        self.parse(name, moment, "an ISO 8601 moment")
    }

    /// A parameter that is one of a few words; an empty one is none.
    pub fn word<T>(&self, name: &'static str, parse: impl FnOnce(&str) -> Option<T>, allowed: &str) -> Result<Option<T>> {
        match self.text(name).filter(|text| !text.is_empty()) {
            Some(text) => parse(text).map(Some).ok_or_else(|| Error::invalid(format!("{name} must be one of {allowed}"))),
            None => Ok(None),
        }
    }

    fn parse<T>(&self, name: &'static str, parse: impl FnOnce(&str) -> Option<T>, form: &str) -> Result<Option<T>> {
        match self.text(name) {
            Some(text) => parse(text).map(Some).ok_or_else(|| Error::invalid(format!("{name} must be {form}"))),
            None => Ok(None),
        }
    }
}

//! The query of a request: parameters that are ids, limits, moments or words, and a 400 that names the parameter for all else.

use std::collections::HashMap;

use axum::{extract::Query, http::Uri};
use chrono::{Datelike, Timelike};
use entity::{ConversationId, MessageId, TicketId};
use utoipa::IntoParams;

use super::inbound::decimal_id;
use crate::clock::Timestamp;
use crate::error::{Error, Result};

/// The parameters of the inbox, for the documentation.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Inbox {
    /// A part of the other user's name; `%` and `_` are plain characters.
    pub search: Option<String>,
    /// How many at most.
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
    /// Only what is newer than this message, the oldest of it first.
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
    /// How many at most.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u64>,
    /// Only what is older than this ticket.
    pub before: Option<TicketId>,
}

/// The parameters of the search for users, for the documentation.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct UserSearch {
    /// A part of the name.
    pub query: Option<String>,
}

/// The parameters of a request. Of one that is repeated the last counts.
pub struct Params(HashMap<String, String>);

impl Params {
    /// The query of an address.
    pub fn of(address: &Uri) -> Result<Self> {
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(address).map_err(|_| Error::invalid("The query is malformed"))?;
        Ok(Self(pairs.into_iter().collect()))
    }

    /// A parameter as it is.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A parameter that is an id.
    pub fn id(&self, name: &'static str) -> Result<Option<i64>> {
        self.parse(name, decimal_id, "a positive number")
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

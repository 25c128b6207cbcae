//! Everything that can go wrong for a caller, with a sentence for people. The codes and statuses are in `wire::error`.

use std::{borrow::Cow, sync::Arc, time::Duration};

/// Why something was refused or failed. The text is shown to the client.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// No token, or one that proves nothing.
    #[error("{0}")]
    Unauthorized(&'static str),
    /// The token was good once.
    #[error("Token has expired")]
    TokenExpired,
    /// It exists, and is not the caller's.
    #[error("{0}")]
    Forbidden(&'static str),
    /// It does not exist.
    #[error("{0}")]
    NotFound(&'static str),
    /// The input has another form than asked for.
    #[error("{0}")]
    Invalid(Cow<'static, str>),
    /// A message of nothing but white space.
    #[error("Message cannot be empty")]
    EmptyMessage,
    /// A message over the limit, which is given in code points.
    #[error("Message is longer than {0} characters")]
    MessageTooLong(usize),
    /// Too much in too short a time.
    #[error("Too many requests, please try again later")]
    RateLimited {
        /// When the next attempt may succeed.
        retry_after: Duration,
    },
    /// A closed ticket takes no message.
    #[error("This ticket is closed")]
    TicketClosed,
    /// It exists already.
    #[error("{0}")]
    Conflict(&'static str),
    /// The body is over the limit.
    #[error("Request body is too large")]
    TooLarge,
    /// The body is not declared as JSON.
    #[error("Content-Type must be application/json")]
    UnsupportedMediaType,
    /// The database is away; the same call may succeed later.
    #[error("The service is temporarily unavailable, please retry")]
    Unavailable,
    /// The old backend behind this server cannot be reached, or broke off.
    #[error("The backend behind this server does not answer")]
    UpstreamFailed,
    /// The old backend behind this server takes too long.
    #[error("The backend behind this server does not answer")]
    UpstreamTimeout,
    /// A fault of the server; the cause is for the log only.
    #[error("Internal server error")]
    Internal(Arc<str>),
}

impl Error {
    /// A malformed input, explained in one sentence.
    pub fn invalid(sentence: impl Into<Cow<'static, str>>) -> Self {
        Self::Invalid(sentence.into())
    }

    /// A fault of the server. `cause` is logged where the error is answered.
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        Self::Internal(cause.to_string().into())
    }
}

/// What every fallible operation of the server returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

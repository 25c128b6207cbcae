//! The code, the HTTP status and the JSON form of every error.

use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use crate::error::Error;

/// The code by which a program recognises the error.
pub fn code(error: &Error) -> &'static str {
    match error {
        Error::Unauthorized(_) => "unauthorized",
        Error::TokenExpired => "token_expired",
        Error::Forbidden(_) => "forbidden",
        Error::NotFound(_) => "not_found",
        Error::Invalid(_) => "invalid_payload",
        Error::EmptyMessage => "empty_message",
        Error::MessageTooLong(_) => "message_too_long",
        Error::RateLimited { .. } => "rate_limited",
        Error::TicketClosed => "ticket_closed",
        Error::Conflict(_) => "conflict",
        Error::TooLarge => "too_large",
        Error::UnsupportedMediaType => "unsupported_media_type",
        Error::Unavailable | Error::UpstreamFailed | Error::UpstreamTimeout => "unavailable",
        Error::Internal(_) => "internal",
    }
}

/// The HTTP status.
pub fn status(error: &Error) -> StatusCode {
    match error {
        Error::Unauthorized(_) | Error::TokenExpired => StatusCode::UNAUTHORIZED,
        Error::Forbidden(_) => StatusCode::FORBIDDEN,
        Error::NotFound(_) => StatusCode::NOT_FOUND,
        Error::Invalid(_) | Error::EmptyMessage | Error::MessageTooLong(_) => StatusCode::BAD_REQUEST,
        Error::RateLimited { .. } => StatusCode::TOO_MANY_REQUESTS,
        Error::TicketClosed | Error::Conflict(_) => StatusCode::CONFLICT,
        Error::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Error::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Error::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Error::UpstreamFailed => StatusCode::BAD_GATEWAY,
        Error::UpstreamTimeout => StatusCode::GATEWAY_TIMEOUT,
        Error::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// After how many seconds the same request may succeed.
pub fn retry_after(error: &Error) -> Option<u64> {
    match error {
        Error::RateLimited { retry_after } => Some(retry_after.as_millis().div_ceil(1000).max(1) as u64),
        Error::Unavailable => Some(1),
        _ => None,
    }
}

/// The fields that every JSON form of the error has: `error` and `message` hold the same sentence.
pub fn body(error: &Error) -> Map<String, Value> {
    let sentence = error.to_string();
    let mut fields = Map::new();
    fields.insert("error".into(), json!(sentence));
    fields.insert("message".into(), json!(sentence));
    fields.insert("code".into(), json!(code(error)));
    if let Error::RateLimited { retry_after } = error {
        fields.insert("retryAfterMs".into(), json!(retry_after.as_millis().max(1) as u64));
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn an_error_says_its_sentence_twice_and_when_to_come_back() {
        let limited = Error::RateLimited { retry_after: Duration::from_millis(1200) };
        let fields = body(&limited);
        assert_eq!(fields["error"], fields["message"]);
        assert_eq!((&fields["code"], &fields["retryAfterMs"]), (&json!("rate_limited"), &json!(1200)));
        assert_eq!((status(&limited).as_u16(), retry_after(&limited)), (429, Some(2)));
    }

    #[test]
    fn the_cause_of_an_internal_error_is_not_shown() {
        assert!(!Value::Object(body(&Error::internal("SELECT secret"))).to_string().contains("SELECT"));
    }
}

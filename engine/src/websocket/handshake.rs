//! Whether a request asks for a websocket, and the answer to one that does.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header, request::Parts};
use tungstenite::handshake::derive_accept_key;

/// The answer to a request for a websocket, without a body; nothing when it is none, whatever its query says.
pub fn accept(parts: &Parts) -> Option<Response<()>> {
    let headers = &parts.headers;
    let key = headers.get(header::SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes).filter(|key| is_key(key))?;
    let is_version = headers.get(header::SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13");
    let asks = has_token(headers, header::UPGRADE, "websocket") && has_token(headers, header::CONNECTION, "upgrade");
    if parts.method != Method::GET || !is_version || !asks {
        return None;
    }
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let answer = response.headers_mut();
    answer.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    answer.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    answer.insert(header::SEC_WEBSOCKET_ACCEPT, HeaderValue::from_str(&derive_accept_key(key)).ok()?);
    // A client that offers some closes a connection on which none of them is chosen.
    if let Some(protocol) = tokens(headers, header::SEC_WEBSOCKET_PROTOCOL).next() {
        answer.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_str(protocol).ok()?);
    }
    Some(response)
}

/// Sixteen bytes in base64.
fn is_key(key: &[u8]) -> bool {
    let Some(digits) = key.strip_suffix(b"==") else { return false };
    digits.len() == 22 && digits.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
}

fn has_token(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    tokens(headers, name).any(|one| one.eq_ignore_ascii_case(token))
}

fn tokens(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn request(change: impl FnOnce(&mut Parts)) -> Option<Response<()>> {
        let request = Request::get("/engine.io/?EIO=4&transport=websocket")
            .header("connection", "keep-alive, Upgrade")
            .header("upgrade", "WebSocket")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
            .header("sec-websocket-version", "13");
        let mut parts = request.body(()).expect("valid").into_parts().0;
        change(&mut parts);
        accept(&parts)
    }

    #[test]
    fn a_request_for_a_websocket_is_accepted_with_the_first_protocol_that_it_offers() {
        let response = request(|_| {}).expect("is one");
        assert_eq!(response.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert!(!response.headers().contains_key("sec-websocket-protocol"));
        let offers = request(|parts| drop(parts.headers.insert("sec-websocket-protocol", HeaderValue::from_static("x, y"))));
        assert_eq!(offers.expect("is one").headers()["sec-websocket-protocol"], "x");
    }

    #[test]
    fn a_request_that_is_not_what_it_says_is_not() {
        for name in ["connection", "upgrade", "sec-websocket-key", "sec-websocket-version"] {
            assert!(request(|parts| drop(parts.headers.remove(name))).is_none(), "without {name}");
        }
        let set = |name, value| request(|parts| drop(parts.headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value))));
        for (name, value) in [("connection", "close"), ("upgrade", "h2c"), ("sec-websocket-key", "short"), ("sec-websocket-version", "12")]
        {
            assert!(set(name, value).is_none(), "{name}: {value}");
        }
        assert!(request(|parts| parts.method = Method::POST).is_none());
    }
}

//! What a request asks for, and the answers to requests that ask for nothing that there is.

use engineioxide_core::{Sid, TransportType};
use http::{HeaderValue, Method, Response, StatusCode, header, request::Parts};

use super::body::OwnBody;
use crate::config::EngineIoConfig;

/// What a request asks for.
#[derive(Debug, PartialEq)]
pub enum Asked {
    /// A new session that begins with polls.
    Open,
    /// What waits.
    Poll(Sid),
    /// To receive what it brings.
    Post(Sid),
    /// A websocket: for a session, or for a new one.
    Websocket(Option<Sid>),
}

/// Why a request gets nothing, with the codes of the official server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// There is no such transport.
    UnknownTransport,
    /// There is no such session.
    UnknownSession,
    /// A session begins with a GET.
    BadHandshakeMethod,
    /// Something else is wrong.
    BadRequest,
    /// Version 4 alone is spoken.
    UnsupportedProtocol,
    /// The body is too long.
    TooLarge,
}

impl Error {
    fn code_and_message(self) -> (u8, &'static str) {
        match self {
            Self::UnknownTransport => (0, "Transport unknown"),
            Self::UnknownSession => (1, "Session ID unknown"),
            Self::BadHandshakeMethod => (2, "Bad handshake method"),
            Self::BadRequest | Self::TooLarge => (3, "Bad request"),
            Self::UnsupportedProtocol => (5, "Unsupported protocol version"),
        }
    }

    /// The answer.
    pub fn response(self) -> Response<OwnBody> {
        let (code, message) = self.code_and_message();
        let mut response = Response::new(OwnBody::of(format!("{{\"code\":{code},\"message\":\"{message}\"}}")));
        *response.status_mut() = if self == Self::TooLarge { StatusCode::PAYLOAD_TOO_LARGE } else { StatusCode::BAD_REQUEST };
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.code_and_message().1)
    }
}

impl std::error::Error for Error {}

/// Reads a request.
pub fn read(parts: &Parts, config: &EngineIoConfig) -> Result<Asked, Error> {
    let query = parts.uri.query().unwrap_or_default();
    let value = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    let transport: Option<TransportType> = value("transport").and_then(|name| name.parse().ok());
    let transport = transport.filter(|transport| config.allowed_transport(*transport)).ok_or(Error::UnknownTransport)?;
    let sid: Option<Sid> = value("sid").map(|sid| sid.parse().map_err(|_| Error::UnknownSession)).transpose()?;
    if sid.is_none() && parts.method != Method::GET {
        return Err(Error::BadHandshakeMethod);
    }
    if sid.is_none() && value("EIO") != Some("4") {
        return Err(Error::UnsupportedProtocol);
    }
    match (transport, sid, &parts.method) {
        (TransportType::Websocket, sid, _) => Ok(Asked::Websocket(sid)),
        (TransportType::Polling, None, _) => Ok(Asked::Open),
        (TransportType::Polling, Some(sid), &Method::GET) => Ok(Asked::Poll(sid)),
        (TransportType::Polling, Some(sid), &Method::POST) => Ok(Asked::Post(sid)),
        _ => Err(Error::BadRequest),
    }
}

/// Whether a path is the one of the service, or below it.
pub fn is_ours(path: &str, config: &EngineIoConfig) -> bool {
    let rest = path.strip_prefix(config.req_path.trim_end_matches('/'));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn asked(method: Method, query: &str) -> Result<Asked, Error> {
        let request = Request::builder().method(method).uri(format!("/engine.io/?{query}"));
        read(&request.body(()).expect("valid").into_parts().0, &EngineIoConfig::default())
    }

    #[test]
    fn requests_are_read_as_the_official_server_reads_them() {
        let (get, post) = (|query: &str| asked(Method::GET, query), |query: &str| asked(Method::POST, query));
        assert_eq!(get("EIO=4&transport=polling&t=x"), Ok(Asked::Open));
        assert_eq!(get("EIO=4&transport=websocket"), Ok(Asked::Websocket(None)));
        let id = "abcdefghijklmnop";
        let parsed: Sid = id.parse().expect("valid");
        assert_eq!(get(&format!("EIO=4&transport=polling&sid={id}")), Ok(Asked::Poll(parsed)));
        assert_eq!(post(&format!("transport=polling&sid={id}&EIO=4")), Ok(Asked::Post(parsed)));
        assert_eq!(get(&format!("EIO=4&transport=websocket&sid={id}")), Ok(Asked::Websocket(Some(parsed))));
        assert_eq!(get(""), Err(Error::UnknownTransport));
        assert_eq!(get("EIO=4&transport=flash"), Err(Error::UnknownTransport));
        assert_eq!(get("EIO=4&transport=polling&sid=short"), Err(Error::UnknownSession));
        assert_eq!(get("EIO=4&transport=polling&sid="), Err(Error::UnknownSession));
        assert_eq!(post("EIO=4&transport=polling"), Err(Error::BadHandshakeMethod));
        assert_eq!(get("EIO=3&transport=polling"), Err(Error::UnsupportedProtocol));
        assert_eq!(get("transport=polling"), Err(Error::UnsupportedProtocol));
        assert_eq!(asked(Method::PUT, &format!("EIO=4&transport=polling&sid={id}")), Err(Error::BadRequest));
    }

    #[test]
    fn the_path_and_those_below_are_ours() {
        let config = |path: &'static str| EngineIoConfig { req_path: path.into(), ..Default::default() };
        for path in ["/engine.io", "/engine.io/", "/engine.io/x"] {
            assert!(is_ours(path, &config("/engine.io")) && is_ours(path, &config("/engine.io/")), "{path}");
        }
        for path in ["/", "/engine.iox", "/engine.io-x/", "/x/engine.io"] {
            assert!(!is_ours(path, &config("/engine.io")), "{path}");
        }
        assert!(is_ours("/", &config("/")) && is_ours("/x", &config("/")));
    }
}

//! What a client says in its CONNECT packet, and the token it brings. Whether it is believed is decided in `socket`.

use axum::http::HeaderMap;
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::origin::bearer;

/// The `auth` of a CONNECT packet. Fields of another form than asked for are taken as absent, but for the token.
#[derive(Debug, Default)]
pub struct Handshake {
    token: Value,
    /// The private id of the session that was cut off.
    pub pid: Option<String>,
    /// How far the client has heard.
    pub offset: Option<String>,
    /// Whether it asks for connection state recovery, which only browsers have unasked.
    pub recovery: bool,
}

impl From<Map<String, Value>> for Handshake {
    fn from(mut fields: Map<String, Value>) -> Self {
        let text = |name: &str| fields.get(name).and_then(|v| v.as_str()).map(str::to_owned);
        let (pid, offset) = (text("pid"), text("offset"));
        let recovery = fields.get("recovery").is_some_and(|v| v == true);
        Self { token: fields.remove("token").unwrap_or_default(), pid, offset, recovery }
    }
}

impl Handshake {
    /// The token of the packet, else that of the request's `Authorization` header. None makes a guest: G2 sends `null` when logged out.
    pub fn token<'a>(&'a self, headers: &'a HeaderMap) -> Result<Option<&'a str>> {
        match &self.token {
            Value::String(token) if !token.is_empty() => Ok(Some(token.strip_prefix("Bearer ").unwrap_or(token))),
            Value::Null | Value::String(_) => Ok(bearer(headers)),
            _ => Err(Error::Unauthorized("Token is not valid")),
        }
    }
}

//! What a client says in its CONNECT packet, and the token it brings. Whether it is believed is decided in `socket`.

use axum::http::{HeaderMap, header};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::origin::bearer;

/// The `auth` of a CONNECT packet. Fields of another form than asked for are taken as absent, but for the token.
#[derive(Debug)]
pub struct Handshake {
    /// Nothing when the packet cannot be read.
    token: Option<Value>,
    /// The private id of the session that was cut off.
    pub pid: Option<String>,
    /// How far the client has heard.
    pub offset: Option<String>,
    /// Whether it asks for connection state recovery, which only browsers have unasked.
    pub recovery: bool,
}

impl Handshake {
    /// Reads what the packet says; nothing stands for what is no JSON.
    pub fn read(auth: Option<Value>) -> Self {
        let mut fields = match auth {
            Some(Value::Object(fields)) => fields,
            Some(Value::Null) => Default::default(),
            _ => return Self { token: None, pid: None, offset: None, recovery: false },
        };
        let text = |name: &str| fields.get(name).and_then(|v| v.as_str()).map(str::to_owned);
        let (pid, offset) = (text("pid"), text("offset"));
        let recovery = fields.get("recovery").is_some_and(|v| v == true);
        Self { token: Some(fields.remove("token").unwrap_or_default()), pid, offset, recovery }
    }

    /// The token of the packet, else that of the request's `Authorization` header. None makes a guest: G2 sends `null` when logged out. Refused: one
    /// that is there and cannot be read, so that nobody who meant to show a token becomes a guest without noticing.
    pub fn token<'a>(&'a self, headers: &'a HeaderMap) -> Result<Option<&'a str>> {
        match &self.token {
            Some(Value::String(token)) if !token.is_empty() => Ok(Some(token.strip_prefix("Bearer ").unwrap_or(token))),
            Some(Value::Null | Value::String(_)) => match bearer(headers) {
                None if headers.get(header::AUTHORIZATION).is_some_and(|v| v.to_str().is_err()) => Err(INVALID),
                token => Ok(token),
            },
            _ => Err(INVALID),
        }
    }
}

const INVALID: Error = Error::Unauthorized("Token is not valid");

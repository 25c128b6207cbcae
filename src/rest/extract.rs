//! What handlers take from a request: the caller, a JSON body, ids and queries. What is malformed becomes our own error, never a library's text.

use std::net::{IpAddr, SocketAddr};

use axum::{
    RequestPartsExt,
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Path, Request},
    http::{HeaderMap, Method, StatusCode, header, request::Parts},
};
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::work::Work;
use crate::app::Peer;
use crate::auth::Actor;
use crate::chat::Visitor;
use crate::error::{Error, Result};
use crate::limits::Limited;
use crate::origin::{Proxies, bearer};
use crate::socket::Context;
use crate::wire::fields::decimal_id;
pub use crate::wire::query::Params;
use crate::wire::surrogates::replace_lone;

/// The authenticated caller. Requests at work are counted, writing ones by their rate, too; reading ones wait for their turn; every request vouches for guest sockets of the same client.
pub struct Caller(pub Actor);

impl FromRequestParts<Context> for Caller {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, api: &Context) -> Result<Self> {
        let token = bearer(&parts.headers).ok_or(Error::Unauthorized("Authentication token is required"))?;
        let work = parts.extensions.get::<Work>().cloned().unwrap_or_default();
        work.begin(api.chat.admit(api.chat.user_of(token)?)?);
        let counted = [Method::POST, Method::PUT, Method::PATCH].contains(&parts.method).then_some(Limited::Write);
        let actor = api.chat.authenticate_counted(token, counted).await?;
        tracing::Span::current().record("user", actor.id.0);
        crate::faults::strike("request");
        if [Method::GET, Method::HEAD].contains(&parts.method) {
            work.read(api.chat.reading(actor.id).await?);
        }
        let guests = api.chat.vouch_by_request(actor.id, visitor(parts, &api.proxies));
        crate::socket::adopt_guests(api, actor.id, guests);
        Ok(Self(actor))
    }
}

/// Where a request comes from.
pub fn visitor(parts: &Parts, proxies: &Proxies) -> Visitor {
    let peer = parts.extensions.get::<Peer>().map_or(SocketAddr::from(([0, 0, 0, 0], 0)), |peer| peer.address);
    Visitor { address: proxies.client(peer.ip(), &parts.headers), agent: agent(&parts.headers) }
}

fn agent(headers: &HeaderMap) -> Option<u64> {
    let agent = headers.get(header::USER_AGENT).filter(|agent| !agent.is_empty())?;
    let digest = Sha256::digest(agent.as_bytes());
    Some(digest.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

/// An attempt to log in or to register, from a client address. It is counted before the body is read: a stranger's is read only so often.
pub struct Attempt(pub IpAddr);

impl FromRequestParts<Context> for Attempt {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, api: &Context) -> Result<Self> {
        let from = visitor(parts, &api.proxies).address;
        api.chat.limit_login(from)?;
        Ok(Self(from))
    }
}

/// A JSON body.
pub struct Body<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Context> for Body<T> {
    type Rejection = Error;

    async fn from_request(request: Request, api: &Context) -> Result<Self> {
        let declared = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let mime = declared.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if mime != "application/json" && !(mime.starts_with("application/") && mime.ends_with("+json")) {
            return Err(Error::UnsupportedMediaType);
        }
        let bytes = Bytes::from_request(request, api).await.map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Error::TooLarge,
            _ => Error::invalid("The body could not be read, or came too slowly"),
        })?;
        // Some programs begin a text with a mark of its encoding, which Express passes over.
        let json = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&bytes);
        serde_json::from_slice(&replace_lone(json)).map(Self).map_err(|e| match e.classify() {
            serde_json::error::Category::Data => Error::invalid("The body does not have the expected fields"),
            _ => Error::invalid("The body is not valid JSON"),
        })
    }
}

/// The id in a path; a malformed one names nothing that exists.
pub struct Id(pub i64);

impl FromRequestParts<Context> for Id {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &Context) -> Result<Self> {
        const NOTHING: Error = Error::NotFound("No such id");
        let Path(text) = parts.extract::<Path<String>>().await.map_err(|_| NOTHING)?;
        decimal_id(&text).map(Self).ok_or(NOTHING)
    }
}

impl FromRequestParts<Context> for Params {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &Context) -> Result<Self> {
        Self::of(&parts.uri)
    }
}

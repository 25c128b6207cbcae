//! What stands before the Socket.IO service: foreign origins stay out of websockets, nobody connects too often or opens too many sessions, and of
//! strangers little is read.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{
    extract::{Request, State},
    http::{HeaderName, HeaderValue, StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use engineioxide::FirstMessages;
use hyper::upgrade::OnUpgrade;

use super::places::{Place, Places};
use super::{CONNECT_TIMEOUT, Context};
use crate::app::Peer;
use crate::error::{Error, Result};
use crate::limits::network_of;
use crate::origin::{FOREIGN, Origins};
use crate::rest::visitor;

/// The gate before the Socket.IO service.
pub struct Gate {
    origins: Arc<Origins>,
    places: Places<IpAddr>,
}

/// What is known of a session from its handshake on. It lies in the parts of the handshake, which the library keeps as long as the session.
pub(super) struct Begun {
    _place: Place<IpAddr>,
    has_connected: AtomicBool,
}

impl Begun {
    /// Notes a CONNECT. False for the first, which was counted as the handshake.
    pub(super) fn connects_again(&self) -> bool {
        self.has_connected.swap(true, Ordering::Relaxed)
    }
}

/// How much is read of who has shown no token, at a time.
pub const STRANGERS_BYTES: usize = 8192;

/// What a stranger has said who said more: a token of that length is no valid one, and its client is to be told so.
const TOO_LONG: &str = "0{\"token\":\"too long\"}";

impl Gate {
    /// A gate that lets these origins in.
    pub fn new(origins: Arc<Origins>) -> Arc<Self> {
        Arc::new(Self { origins, places: Places::default() })
    }
}

/// The middleware.
pub async fn pass(State(context): State<Context>, request: Request, next: Next) -> Response {
    let gate = &context.hub.gate;
    if gate.origins.is_foreign_upgrade(request.headers()) {
        context.metrics.handshake_refused("origin");
        return (StatusCode::FORBIDDEN, FOREIGN).into_response();
    }
    if request.uri().query().is_some_and(|query| query.split('&').any(|pair| pair.starts_with("sid="))) {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let place = match begin(&context, visitor(&parts, &context.proxies).address) {
        Ok(place) => place,
        Err(limited) => return limited.into_response(),
    };
    let mut parts = unpinned(parts);
    parts.extensions.insert(Arc::new(Begun { _place: place, has_connected: AtomicBool::new(false) }));
    parts.extensions.insert(FirstMessages { most: STRANGERS_BYTES, instead: Some(TOO_LONG.into()) });
    next.run(Request::from_parts(parts, body)).await
}

/// Lets an address begin a session. It may have as many that are no socket, not yet or no more, as it may have sockets: those are refused when
/// they say CONNECT, with a sentence.
fn begin(context: &Context, address: IpAddr) -> Result<Place<IpAddr>> {
    context.chat.limit_handshake(address).inspect_err(|_| context.metrics.handshake_refused("rate_limited"))?;
    let network = network_of(address);
    let most = context.settings.limits.sockets_per_address.saturating_add(context.hub.addresses.count(network));
    context.hub.gate.places.take(network, most).ok_or_else(|| {
        context.metrics.handshake_refused("sockets_per_address");
        Error::RateLimited { retry_after: CONNECT_TIMEOUT }
    })
}

/// What is asked of a handshake's headers later, and what makes it a websocket.
const KEPT: [HeaderName; 12] = [
    header::AUTHORIZATION,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::HOST,
    header::ORIGIN,
    header::SEC_WEBSOCKET_EXTENSIONS,
    header::SEC_WEBSOCKET_KEY,
    header::SEC_WEBSOCKET_PROTOCOL,
    header::SEC_WEBSOCKET_VERSION,
    header::UPGRADE,
    header::USER_AGENT,
];
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The library keeps the parts of a handshake for as long as the socket lives, and each of them a reference into the buffer that it was read
/// into, which is 8 KB and more; so do the extensions of the router, which has the URI in one. Copies keep no such reference.
fn unpinned(mut parts: Parts) -> Parts {
    let copy = |value: &HeaderValue| HeaderValue::from_bytes(value.as_bytes()).ok();
    let mut fresh = Request::new(()).into_parts().0;
    for name in KEPT.iter().chain([&FORWARDED_FOR]) {
        for value in parts.headers.get_all(name).iter().filter_map(copy) {
            fresh.headers.append(name, value);
        }
    }
    fresh.uri = parts.uri.to_string().parse().unwrap_or(parts.uri);
    fresh.method = parts.method;
    let (peer, upgrade) = (parts.extensions.remove::<Peer>(), parts.extensions.remove::<OnUpgrade>());
    peer.map(|peer| fresh.extensions.insert(peer));
    upgrade.map(|upgrade| fresh.extensions.insert(upgrade));
    fresh
}

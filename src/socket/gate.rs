//! What stands before the Socket.IO service: foreign origins stay out of websockets, nobody connects too often or opens too many sessions, and a
//! session that was cut off stays cut off. The library can close a namespace but no transport; here the transport's TCP connection is shut, or a
//! poller is told that its session is over.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Json,
    body::{Body, HttpBody, to_bytes},
    extract::{Request, State},
    http::{HeaderName, HeaderValue, Method, StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use hyper::upgrade::OnUpgrade;
use serde_json::json;
use socketioxide_core::Sid;
use tokio::time::Instant;

use super::places::{Place, Places};
use super::{CONNECT_TIMEOUT, Conn, Context};
use crate::app::{Link, Peer};
use crate::clock;
use crate::error::{Error, Result};
use crate::limits::network_of;
use crate::origin::{FOREIGN, Origins};
use crate::rest::visitor;

/// The gate before the Socket.IO service.
pub struct Gate {
    origins: Arc<Origins>,
    sessions: Mutex<HashMap<String, Session>>,
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

enum Session {
    /// Upgraded from polling to a websocket on this connection.
    Upgraded(Link),
    /// Cut off at that moment.
    Cut(Instant),
}

/// For how long a poller may come back to a session that was cut off: the library forgets it after a ping interval and a timeout.
const CUT_FOR: Duration = Duration::from_secs(60);

/// How much is read of who has shown no token, at a time.
pub const STRANGERS_BYTES: usize = 8192;

/// No session id of the library is longer.
const LONGEST_SID: usize = 64;

impl Gate {
    /// A gate that lets these origins in.
    pub fn new(origins: Arc<Origins>) -> Arc<Self> {
        Arc::new(Self { origins, sessions: Mutex::default(), places: Places::default() })
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<String, Session>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends a session: by the TCP connection of the websocket that it is or has become, else by the answer to its poll.
    pub fn cut(&self, sid: Sid, websocket: Option<&Link>) {
        let before = self.sessions().insert(sid.to_string(), Session::Cut(clock::instant()));
        let upgraded = if let Some(Session::Upgraded(link)) = before { Some(link) } else { None };
        if let Some(link) = upgraded.as_ref().or(websocket) {
            link.cut();
        }
    }

    /// The websocket that a session of polls has become.
    pub fn upgraded(&self, sid: Sid) -> Option<Link> {
        match self.sessions().get(&sid.to_string()) {
            Some(Session::Upgraded(link)) => Some(link.clone()),
            _ => None,
        }
    }

    fn is_cut(&self, sid: &str) -> bool {
        matches!(self.sessions().get(sid), Some(Session::Cut(_)))
    }

    /// Forgets sessions that ended by themselves or were cut off long ago.
    pub fn forget_old(&self) {
        self.sessions().retain(|_, session| match session {
            Session::Upgraded(link) => link.is_open(),
            Session::Cut(at) => at.elapsed() < CUT_FOR,
        });
    }
}

/// The middleware.
pub async fn pass(State(context): State<Context>, request: Request, next: Next) -> Response {
    let gate = &context.hub.gate;
    let headers = request.headers();
    let is_upgrade = headers.get(header::UPGRADE).is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(b"websocket"));
    if gate.origins.is_foreign_upgrade(headers) {
        context.metrics.handshake_refused("origin");
        return (StatusCode::FORBIDDEN, FOREIGN).into_response();
    }
    let session = session_of(request.uri().query().unwrap_or_default()).map(str::to_owned);
    let Some(sid) = session else {
        let (parts, body) = request.into_parts();
        let place = match begin(&context, visitor(&parts, &context.proxies).address) {
            Ok(place) => place,
            Err(limited) => return limited.into_response(),
        };
        let mut parts = unpinned(parts);
        parts.extensions.insert(Arc::new(Begun { _place: place, has_connected: AtomicBool::new(false) }));
        return next.run(Request::from_parts(parts, body)).await;
    };
    if gate.is_cut(&sid) {
        return unknown_session();
    }
    let link = request.extensions().get::<Peer>().filter(|_| is_upgrade).map(|peer| peer.link.clone());
    let is_poll = request.method() == Method::GET && !is_upgrade;
    let conn = || context.hub.io.get()?.get_socket(sid.parse().ok()?)?.extensions.get::<Arc<Conn>>();
    let mut request = request;
    if request.method() == Method::POST && conn().is_none_or(|conn| conn.actor.is_none()) {
        let (parts, body) = request.into_parts();
        let body = match to_bytes(body, STRANGERS_BYTES).await {
            Ok(body) => body,
            // A token of that length is no valid one, and its client is to be told so.
            Err(_) if conn().is_none() => axum::body::Bytes::from_static(b"40{\"token\":\"too long\"}"),
            Err(_) => return Error::TooLarge.into_response(),
        };
        request = Request::from_parts(parts, Body::from(body));
    }
    let response = next.run(request).await;
    // It was cut off while the poll waited: the client must see that, and not what else the poll brings.
    if is_poll && gate.is_cut(&sid) {
        return unknown_session();
    }
    if let Some(link) = link.filter(|_| response.status() == StatusCode::SWITCHING_PROTOCOLS) {
        if let Some(conn) = conn() {
            conn.backlog.upgrade(link.clone());
        }
        gate.sessions().entry(sid).or_insert(Session::Upgraded(link));
    } else if is_poll && let (Some(conn), Some(bytes)) = (conn(), response.body().size_hint().exact()) {
        conn.backlog.answer(bytes);
    }
    response
}

fn unknown_session() -> Response {
    (StatusCode::BAD_REQUEST, Json(json!({"code": 1, "message": "Session ID unknown"}))).into_response()
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

fn session_of(query: &str) -> Option<&str> {
    query.split('&').find_map(|pair| pair.strip_prefix("sid=")).filter(|sid| sid.len() <= LONGEST_SID)
}

/// The transport that a query names.
pub(super) fn transport_of(query: &str) -> Option<&str> {
    query.split('&').find_map(|pair| pair.strip_prefix("transport="))
}

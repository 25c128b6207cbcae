//! The Socket.IO transport: who is admitted, what is registered for a socket, what happens when it goes. Events are in `events`.

mod adapter;
mod backlog;
mod conn;
mod events;
mod gate;
mod hub;
mod nudges;
mod order;
mod recovery;
mod tally;

use std::{sync::Arc, time::Duration};

use axum::{Router, http::header, middleware};
use entity::UserId;
use socketioxide::extract::{Extension, SocketRef, TryData};
use socketioxide::handler::{ConnectHandler, FromMessageParts};
use socketioxide::socket::{DisconnectReason, Socket};
use socketioxide::{ParserConfig, SocketIo, TransportType};
use socketioxide_core::Value;
use tokio::sync::mpsc;

use crate::app::Peer;
use crate::auth::Actor;
use crate::chat::{Chat, Fact, Outbox, SocketId};
use crate::clock;
use crate::config::{Guests, Settings};
use crate::error::{Error, Result};
use crate::metrics::Metrics;
use crate::origin::Proxies;
use crate::rest::{Health, Link, visitor};
use crate::vital::Vital;
use crate::wire::{handshake::Handshake, outbound};

use adapter::LineAdapter;
use backlog::Backlog;
pub use conn::Conn;
use conn::{Handshaken, Incoming};
pub use gate::Gate;
pub use hub::{Chores, Hub};
use recovery::Restored;

/// The Socket.IO server, with the one adapter.
pub type Io = SocketIo<LineAdapter>;

/// What every event handler may use.
#[derive(Clone)]
pub struct Context {
    /// The rules.
    pub chat: Arc<Chat>,
    /// The sockets.
    pub hub: Arc<Hub>,
    /// The way to the sockets of all nodes.
    pub outbox: Arc<dyn Outbox>,
    /// The connection to the other nodes; nothing for one that is alone.
    pub linked: Link,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Starts tasks that must not die.
    pub vital: Vital,
    /// Since when the parts work or do not.
    pub health: Arc<Health>,
    /// The settings.
    pub settings: Arc<Settings>,
    /// Whose `X-Forwarded-For` counts.
    pub proxies: Arc<Proxies>,
}

/// How often it is read who is banned: a ban by the command line or another node holds within a second.
const BANS: Duration = Duration::from_millis(500);
/// How long a connection may stay without saying CONNECT.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The routes of the Socket.IO service.
pub fn routes(context: Context, chores: Chores) -> Router {
    let limits = &context.settings.limits;
    let (service, io) = SocketIo::builder()
        .max_payload(limits.event_bytes as u64)
        .ws_max_message_size(limits.event_bytes)
        .ws_max_frame_size(limits.event_bytes)
        .max_buffer_size(limits.outbound_queue)
        // What is read is mostly one short event; every socket has one of these.
        .ws_read_buffer_size(512)
        .with_parser(ParserConfig::common().max_incoming_binaries(0))
        .connect_timeout(CONNECT_TIMEOUT)
        .with_adapter::<LineAdapter>(context.hub.line.clone())
        .build_svc();
    context.hub.io.set(io.clone()).ok();
    let admitting = context.clone();
    let admit = move |socket: SocketRef<LineAdapter>, TryData(auth): TryData<serde_json::Map<String, serde_json::Value>>| {
        let context = admitting.clone();
        async move { admit(context, socket, auth.unwrap_or_default().into()).await }
    };
    let connecting = context.clone();
    let connected = move |Extension(admitted): Extension<Admitted>| {
        let context = connecting.clone();
        async move { connected(&context, admitted).await }
    };
    io.ns("/", connected.with(admit));
    context.vital.spawn("sign-off", sign_off(context.clone(), chores.cut));
    context.vital.spawn("catch-up", order::catch_up(context.clone(), chores.behind));
    context.vital.spawn("watch", watch(context.clone()));
    context.vital.spawn("bans", watch_bans(context.clone()));
    let gate = middleware::from_fn_with_state(context.clone(), gate::pass);
    Router::new().route_service("/socket.io/", service.clone()).route_service("/socket.io", service).layer(gate)
}

/// Why a socket is refused; the client's `connect_error` shows the sentence.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refused(String);

/// A socket that was admitted, on its way to the connect handler.
#[derive(Clone)]
struct Admitted {
    conn: Arc<Conn>,
    restored: Option<Arc<Restored>>,
}

async fn admit(context: Context, socket: SocketRef<LineAdapter>, auth: Handshake) -> Result<(), Refused> {
    let parts = socket.req_parts();
    let recovers = context.settings.recovery.enabled && (auth.recovery || parts.headers.contains_key(header::ORIGIN));
    let link = parts.extensions.get::<Peer>().map(|peer| peer.link.clone());
    let actor = authenticate(&context, &socket, &auth).await.map_err(|Inadmissible { error, reason }| {
        context.metrics.handshake_refused(reason);
        tracing::debug!(reason, "a socket was refused");
        // A page's client that is refused never tries again; one that is cut off does, until the database is back.
        if recovers && matches!(error, Error::Unavailable) {
            context.hub.gate.cut(socket.id, link.as_ref(), socket.transport_type() == TransportType::Websocket);
        }
        Refused(error.to_string())
    })?;
    let (id, from) = (context.hub.next_id(), visitor(parts, &context.proxies));
    // A session that begins with polls may have become a websocket already.
    let is_websocket = parts.headers.contains_key(header::UPGRADE);
    let websocket = context.hub.gate.upgraded(socket.id).or_else(|| link.clone().filter(|_| is_websocket));
    let backlog = Backlog::new(context.settings.limits.outbound_bytes, websocket);
    let handshaken = Handshaken { sid: socket.id, link, backlog };
    let conn = Arc::new(Conn::new(id, handshaken, actor, from, recovers, context.hub.line.clone()));
    // Handlers are registered here: the client may send as soon as it is connected, before the connect handler has run.
    let (events, handling) = (conn.clone(), context.clone());
    socket.on_fallback(move |RawEvent(incoming): RawEvent| {
        if let Err(incoming) = events.push(&handling, incoming) {
            handling.metrics.rate_limited("inbound_queue");
            let busy = Error::RateLimited { retry_after: Duration::from_secs(1) };
            events::refuse_unread(&handling, &events, &incoming, &busy);
        }
        std::future::ready(())
    });
    let (leaving, left) = (conn.clone(), context.clone());
    socket.on_disconnect(move |reason: DisconnectReason| {
        let (conn, context) = (leaving.clone(), left.clone());
        async move { disconnected(&context, &conn, reason).await }
    });
    let restored = match auth.pid.filter(|_| recovers) {
        Some(pid) => match recovery::restore(&context, &conn, &pid, auth.offset.as_deref()).await {
            Ok(restored) => {
                context.metrics.recovery(if restored.is_some() { "found" } else { "not_found" });
                restored.map(Arc::new)
            }
            Err(error) => {
                context.metrics.recovery("failed");
                // A client that is refused does not try again by itself; one that is cut off does, and then finds its session.
                context.hub.cut_for(&conn, "unavailable");
                return Err(Refused(error.to_string()));
            }
        },
        None => None,
    };
    socket.extensions.insert(conn.clone());
    socket.extensions.insert(Admitted { conn, restored });
    Ok(())
}

/// Why a socket is not let in: for the client, and as it is counted.
struct Inadmissible {
    error: Error,
    reason: &'static str,
}

impl From<Error> for Inadmissible {
    fn from(error: Error) -> Self {
        Self { reason: crate::wire::error::code(&error), error }
    }
}

fn too_many(sentence: &'static str, reason: &'static str) -> Inadmissible {
    Inadmissible { error: Error::invalid(sentence), reason }
}

async fn authenticate(
    context: &Context,
    socket: &SocketRef<LineAdapter>,
    auth: &Handshake,
) -> std::result::Result<Option<Actor>, Inadmissible> {
    let from = visitor(socket.req_parts(), &context.proxies);
    if context.hub.count_from(from.address) >= context.settings.limits.sockets_per_address {
        return Err(too_many("Too many connections from this address", "sockets_per_address"));
    }
    let token = auth.token(&socket.req_parts().headers)?;
    let Some(token) = token else {
        return match context.settings.guests {
            Guests::Corroborated => Ok(None),
            Guests::Deny => Err(Error::Unauthorized("Authentication token is required").into()),
        };
    };
    let actor = context.chat.authenticate(token).await?;
    if context.hub.sockets_of(actor.id).len() >= context.settings.limits.sockets_per_user {
        return Err(too_many("Too many connections of this user", "sockets_per_user"));
    }
    Ok(Some(actor))
}

async fn connected(context: &Context, Admitted { conn, restored }: Admitted) {
    if let Some(restored) = restored.as_deref() {
        welcome_back(context, &conn, restored);
    }
    if !context.hub.add(&conn) {
        return;
    }
    context.metrics.opened(conn.kind(), conn.transport(&context.hub));
    if let Some(restored) = restored.as_deref().filter(|_| conn.actor.is_some()) {
        context.hub.follow(&conn, &restored.following, true);
        recovery::replay(context, &conn, restored).await;
        recovery::remember(context, &conn).await;
    }
    match (&conn.actor, restored.as_deref().and_then(|r| r.guest_of)) {
        (Some(actor), _) => {
            let guests = context.chat.vouch_by_socket(actor.id, conn.visitor, conn.id);
            adopt_guests(context, actor.id, guests);
            context.chat.arrive(actor.id, &actor.name, conn.id).await;
        }
        (None, Some(user)) => {
            events::adopt(context, &conn, user).await;
            conn.send(&[outbound::bare_nudge()]).ok();
        }
        (None, None) => {}
    }
    conn.open(context);
    if conn.is_gone() {
        depart(context, &conn);
    }
}

/// The library's CONNECT has just cleared the client's private id: it gets it again before anything else, and hears nothing new before
/// what it missed. A socket that the client has left behind is cut.
fn welcome_back(context: &Context, conn: &Arc<Conn>, restored: &Restored) {
    {
        let mut state = conn.state();
        state.pid = Some(restored.pid.clone());
        state.held = conn.actor.is_some().then(Vec::new);
    }
    if conn.offer().is_err() {
        context.hub.cut(conn);
    }
    if let Some(user) = conn.user().or(restored.guest_of) {
        context.hub.supersede(user, &restored.pid, Some(conn.id));
        context.outbox.share(Fact::Resumed { user, pid: restored.pid.clone() });
    }
}

async fn disconnected(context: &Context, conn: &Arc<Conn>, reason: DisconnectReason) {
    context.hub.gate.forget(conn.sid);
    let pid = conn.state().pid.clone();
    sign_off_one(context, conn, tally::word(reason));
    // A client that closed its socket itself does not come back to it.
    if let Some(pid) = pid.filter(|_| reason == DisconnectReason::ClientNSDisconnect) {
        context.chat.end_session(&pid).await;
    }
}

/// Signs off the sockets that the hub has cut off.
async fn sign_off(context: Context, mut cut: mpsc::UnboundedReceiver<Arc<Conn>>) {
    while let Some(conn) = cut.recv().await {
        sign_off_one(&context, &conn, "cut_off");
    }
}

fn sign_off_one(context: &Context, conn: &Arc<Conn>, reason: &'static str) {
    conn.tally.end(reason);
    if conn.leave() {
        depart(context, conn);
    }
}

/// Takes a socket that is gone out of everything; harmless when done twice. The log says what its life came to.
fn depart(context: &Context, conn: &Arc<Conn>) {
    let (user, transport) = (conn.user(), conn.transport(&context.hub));
    if context.hub.remove(conn) {
        tally::report(&context.metrics, conn, user, transport);
    }
    match &conn.actor {
        Some(_) => context.chat.stop_vouching(conn.visitor, conn.id),
        None => context.chat.withdraw_claim(conn.id, conn.visitor),
    }
    if let Some(user) = user {
        context.chat.depart(user, conn.id);
    }
}

/// Watches living sockets: tokens that expire, sessions that could not be saved or are in use.
async fn watch(context: Context) {
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    for n in 1_u64.. {
        tick.tick().await;
        crate::faults::strike("watch");
        let now = clock::now();
        let conns = context.hub.all();
        for conn in &conns {
            let leeway = chrono::TimeDelta::from_std(context.settings.auth.leeway).unwrap_or_default();
            // A token that ends at the end of time has no leeway left.
            let end = conn.actor.as_ref().and_then(|actor| actor.expires_at).and_then(|end| end.checked_add_signed(leeway));
            if end.is_some_and(|end| end <= now) {
                conn.send(&outbound::failure(&Error::TokenExpired, &Default::default())).ok();
                context.hub.expel(conn, "token_expired");
            }
            if conn.state().is_unsaved {
                recovery::remember(&context, conn).await;
            }
        }
        if n % crate::chat::TOUCH.as_secs() == 0 {
            context.hub.gate.forget_old();
            let pids: Vec<String> = conns.iter().filter_map(|conn| conn.state().pid.clone()).collect();
            context.chat.touch_sessions(&pids).await;
        }
    }
}

/// Turns out whom another process has banned.
async fn watch_bans(context: Context) {
    let mut tick = tokio::time::interval(BANS);
    loop {
        tick.tick().await;
        // While the database is away nobody can be banned.
        for user in context.chat.refresh_bans().await.unwrap_or_default() {
            context.hub.turn_out(user);
        }
    }
}

/// Guest sockets for whom somebody has just vouched count as that user from now on.
pub fn adopt_guests(context: &Context, user: UserId, guests: Vec<SocketId>) {
    for conn in guests.into_iter().filter_map(|socket| context.hub.find(socket)) {
        let context = context.clone();
        tokio::spawn(async move { events::adopt(&context, &conn, user).await });
    }
}

/// An event as it came, unparsed. Extraction cannot fail: every event gets its answer.
struct RawEvent(Incoming);

impl FromMessageParts<LineAdapter> for RawEvent {
    type Error = std::convert::Infallible;

    fn from_message_parts(_: &Arc<Socket<LineAdapter>>, value: &mut Value, ack: &Option<i64>) -> Result<Self, Self::Error> {
        let packet = match value {
            Value::Str(text, _) => text.clone(),
            Value::Bytes(_) => Default::default(),
        };
        Ok(Self(Incoming { packet, ack: *ack }))
    }
}

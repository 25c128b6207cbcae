//! The Socket.IO transport: how it is set up, what happens when a socket goes, and the watches over living ones. How a socket comes stands in
//! `admission`, events are in `events`.

mod adapter;
mod admission;
mod backlog;
mod conn;
mod delivery;
mod events;
mod gate;
mod hub;
mod nudges;
mod order;
mod places;
mod recent;
mod recovery;
mod registry;
mod tally;

use std::{sync::Arc, time::Duration};

use axum::{Router, middleware};
use entity::UserId;
use socketioxide::extract::{Extension, SocketRef, TryData};
use socketioxide::handler::ConnectHandler;
use socketioxide::socket::DisconnectReason;
use socketioxide::{ParserConfig, SocketIo};
use tokio::sync::mpsc;

use crate::chat::{Chat, Outbox, Room, SocketId};
use crate::clock;
use crate::config::Settings;
use crate::error::Error;
use crate::metrics::Metrics;
use crate::origin::Proxies;
use crate::rest::{Health, Link};
use crate::vital::Vital;
use crate::wire::outbound;

use adapter::LineAdapter;
use admission::{Admitted, admit, connected};
pub use conn::Conn;
pub use gate::{Gate, STRANGERS_BYTES};
pub use hub::Hub;

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

/// How long a client may leave what waits for it.
const UNTAKEN: Duration = Duration::from_secs(25);

/// The routes of the Socket.IO service.
pub fn routes(context: Context, behind: mpsc::UnboundedReceiver<Room>) -> Router {
    let limits = &context.settings.limits;
    let (service, io) = SocketIo::builder()
        .max_payload(limits.event_bytes as u64)
        .ws_max_message_size(limits.event_bytes)
        .ws_max_frame_size(limits.event_bytes)
        .max_buffer_size(limits.outbound_queue)
        .with_parser(ParserConfig::common().max_incoming_binaries(0))
        .connect_timeout(CONNECT_TIMEOUT)
        .with_adapter::<LineAdapter>(context.hub.line.clone())
        .build_svc();
    context.hub.io.set(io.clone()).ok();
    let admitting = context.clone();
    let admit = move |socket: SocketRef<LineAdapter>, TryData(auth): TryData<serde_json::Value>| {
        let context = admitting.clone();
        async move { admit(context, socket, auth.ok()).await }
    };
    let connecting = context.clone();
    let connected = move |Extension(admitted): Extension<Admitted>| {
        let context = connecting.clone();
        async move { connected(&context, admitted).await }
    };
    io.ns("/", connected.with(admit));
    context.vital.spawn("catch-up", order::catch_up(context.clone(), behind));
    context.vital.spawn("watch", watch(context.clone()));
    context.vital.spawn("bans", watch_bans(context.clone()));
    let gate = middleware::from_fn_with_state(context.clone(), gate::pass);
    Router::new().route_service("/socket.io/", service.clone()).route_service("/socket.io", service).layer(gate)
}

async fn disconnected(context: &Context, conn: &Arc<Conn>, reason: DisconnectReason) {
    let session = conn.user().zip(conn.saved_pid());
    // A client that closed its socket itself does not come back to it.
    let is_over = reason == DisconnectReason::ClientNSDisconnect;
    if !is_over {
        recovery::save_last(context, conn).await;
    }
    conn.tally.end(tally::word(reason));
    if conn.leave() {
        depart(context, conn);
    }
    if let Some((user, pid)) = session.filter(|_| is_over) {
        context.chat.end_session(user, &pid).await;
    }
}

/// Takes a socket that is gone out of everything; harmless when done twice. The log says what its life came to.
fn depart(context: &Context, conn: &Arc<Conn>) {
    let (user, transport) = (conn.user(), conn.transport_name());
    conn.state().places = None;
    if context.hub.remove(conn) {
        tally::report(context, conn, user, transport);
    }
    match &conn.actor {
        Some(_) => context.chat.stop_vouching(conn.visitor, conn.id),
        None => context.chat.withdraw_claim(conn.id, conn.visitor),
    }
    if let Some(user) = user {
        context.chat.depart(user, conn.id);
    }
}

/// Watches living sockets: tokens that expire, clients that take nothing, sessions that could not be saved or are in use.
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
            if conn.backlog.stands() >= UNTAKEN {
                context.hub.cut_for(conn, "untaken");
            }
            if conn.state().is_unsaved {
                recovery::save(&context, conn).await;
            }
        }
        for (guest, user) in context.chat.lapsed_guests() {
            if let Some(conn) = context.hub.find(guest)
                && context.hub.remove_guest(&conn, user, || context.chat.suspend_claim(guest, user, conn.visitor))
            {
                conn.state().missed_nudge = true;
                context.chat.depart(user, guest);
            }
        }
        for (address, lines) in context.hub.lines.left_out() {
            tracing::info!(%address, lines, "lines of an address were left out of the log");
        }
        if n % crate::chat::TOUCH.as_secs() == 0 {
            let pids: Vec<String> = conns.iter().filter_map(|conn| conn.saved_pid()).collect();
            context.chat.touch_sessions(&pids).await;
            context.chat.look_for_gone(&context.hub.users()).await.ok();
        }
    }
}

/// Turns out whom another process has banned, who was found to exist no more, and whoever has slipped in.
async fn watch_bans(context: Context) {
    let mut tick = tokio::time::interval(BANS);
    loop {
        tick.tick().await;
        // While the database is unavailable nobody can be banned.
        context.chat.refresh_bans().await.ok();
        context.hub.turn_out(|user, since| context.chat.barred(user, since));
    }
}

/// Guest sockets for whom somebody has just vouched count as that user from now on.
pub fn adopt_guests(context: &Context, user: UserId, guests: Vec<SocketId>) {
    for conn in guests.into_iter().filter_map(|socket| context.hub.find(socket)) {
        let context = context.clone();
        tokio::spawn(async move { events::adopt(&context, &conn, user).await });
    }
}

//! Who is let in as a socket, and what happens until its first event runs. How a socket goes stands in the parent.

use std::{net::IpAddr, sync::Arc, time::Duration};

use engineioxide::Transport;
use entity::UserId;
use serde_json::Value as Json;
use socketioxide::extract::SocketRef;
use socketioxide::handler::FromMessageParts;
use socketioxide::socket::{DisconnectReason, Socket};
use socketioxide_core::Value;

use super::adapter::LineAdapter;
use super::backlog::Backlog;
use super::conn::{Conn, Handshaken, Incoming};
use super::gate::{Begun, STRANGERS_BYTES};
use super::places::Place;
use super::recovery::{self, Restored};
use super::{Context, adopt_guests, depart, disconnected, events, tally};
use crate::auth::{Actor, random_hex};
use crate::chat::Fact;
use crate::clock;
use crate::config::Guests;
use crate::error::{Error, Result};
use crate::limits::network_of;
use crate::origin;
use crate::rest::visitor;
use crate::wire::handshake::Handshake;

/// What a guest has said who said more than it may.
const TOO_LONG: &str = "2[\"too-long\"]";

/// Why a socket is refused; the client's `connect_error` shows the sentence.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Refused(String);

/// A socket that was admitted, on its way to the connect handler.
#[derive(Clone)]
pub(super) struct Admitted {
    conn: Arc<Conn>,
    restored: Option<Arc<Restored>>,
}

/// Lets a socket in or refuses it, before it is told CONNECT.
pub(super) async fn admit(context: Context, socket: SocketRef<LineAdapter>, auth: Option<Json>) -> Result<(), Refused> {
    let parts = socket.req_parts();
    let auth = Handshake::read(auth);
    let recovers = context.settings.recovery.enabled && (auth.recovery || origin::is_browser(&parts.headers));
    let transport = parts.extensions.get::<Transport>().cloned().ok_or_else(|| Refused("No transport".to_owned()))?;
    let since = clock::instant();
    let (actor, places) = authenticate(&context, &socket, &auth).await.map_err(|Inadmissible { error, reason }| {
        context.metrics.handshake_refused(reason);
        tracing::debug!(reason, "a socket was refused");
        // A page's client that is refused never tries again; one that is cut off does, until the database is back.
        // Whoever connects again and again on one transport shall not go on.
        if matches!(error, Error::RateLimited { .. }) || recovers && matches!(error, Error::Unavailable) {
            transport.cut();
        }
        Refused(error.to_string())
    })?;
    let (id, from) = (context.hub.next_id(), visitor(parts, &context.proxies));
    let backlog = Backlog::new(context.settings.limits.outbound_bytes, transport.clone(), context.hub.pool.clone());
    match &actor {
        Some(_) => transport.limit_incoming(usize::MAX, None),
        None => transport.limit_incoming(STRANGERS_BYTES, Some(TOO_LONG.into())),
    }
    let handshaken = Handshaken { sid: socket.id, transport, backlog, since };
    let conn = Arc::new(Conn::new(id, handshaken, actor, from, recovers, context.hub.line.clone()));
    conn.state().places = Some(places);
    // Handlers are registered here: the client may send as soon as it is connected, before the connect handler has run.
    let (events, handling) = (conn.clone(), context.clone());
    socket.on_fallback(move |RawEvent(incoming): RawEvent| {
        if events.actor.is_none() && TOO_LONG.strip_prefix('2') == Some(incoming.packet.as_str()) {
            let long = Error::invalid("A socket without a token may send short events only");
            events::refuse_unread(&handling, &events, &incoming, &long);
            events.tally.end("event_too_long");
            events.transport.close();
        } else if let Err(incoming) = events.push(&handling, incoming) {
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
    if recovers {
        recovery::introduce(&conn, restored.as_ref().map_or_else(random_hex::<16>, |restored| restored.pid.clone()));
    }
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

/// Who a socket is, and its places among the sockets of its address and of its user.
type Identity = (Option<Actor>, (Place<IpAddr>, Option<Place<UserId>>));

async fn authenticate(context: &Context, socket: &SocketRef<LineAdapter>, auth: &Handshake) -> std::result::Result<Identity, Inadmissible> {
    let parts = socket.req_parts();
    let address = visitor(parts, &context.proxies).address;
    let (limits, network) = (&context.settings.limits, network_of(address));
    if parts.extensions.get::<Arc<Begun>>().is_some_and(|session| session.connects_again()) {
        context.chat.limit_handshake(address)?;
    }
    let at_address = context.hub.addresses.take(network, limits.sockets_per_address);
    let at_address = at_address.ok_or_else(|| too_many("Too many connections from this address", "sockets_per_address"))?;
    let token = auth.token(&socket.req_parts().headers)?;
    let Some(token) = token else {
        return match context.settings.guests {
            Guests::Corroborated => Ok((None, (at_address, None))),
            Guests::Deny => Err(Error::Unauthorized("Authentication token is required").into()),
        };
    };
    let actor = context.chat.authenticate(token).await?;
    let of_user = context.hub.users.take(actor.id, limits.sockets_per_user);
    let of_user = of_user.ok_or_else(|| too_many("Too many connections of this user", "sockets_per_user"))?;
    Ok((Some(actor), (at_address, Some(of_user))))
}

/// What is done when a socket was told CONNECT.
pub(super) async fn connected(context: &Context, Admitted { conn, restored }: Admitted) {
    if let Some(restored) = restored.as_deref() {
        welcome_back(context, &conn, restored);
    }
    let transport = conn.transport_name();
    context.metrics.opened(conn.kind(), transport);
    let added = context.hub.add(&conn, |user| context.chat.barred(user, conn.since));
    if added != Ok(true) {
        // Its user was barred meanwhile, or it left as soon as it was told CONNECT: when its end was noticed it stood in nothing yet.
        if let Err(barred) = added {
            context.hub.turn_out_one(&conn, barred);
        }
        tally::report(context, &conn, conn.user(), transport);
        return;
    }
    if let Some(restored) = restored.as_deref().filter(|_| conn.actor.is_some()) {
        let entered = context.hub.follow(&conn, &restored.following);
        // Where nothing can be read the replay fails, too, and cuts the socket.
        events::settle(context, &conn, &entered).await.ok();
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
            conn.state().missed_nudge = true;
            let guests = context.chat.vouch_by_session(user, conn.visitor);
            adopt_guests(context, user, guests);
            if context.chat.claim(conn.id, user, conn.visitor) {
                events::adopt(context, &conn, user).await;
            }
        }
        (None, None) => {}
    }
    conn.open(context);
    if conn.is_gone() {
        depart(context, &conn);
    }
}

/// A client that came back hears nothing new before what it missed. A socket that it has left behind is cut.
fn welcome_back(context: &Context, conn: &Arc<Conn>, restored: &Restored) {
    {
        let mut state = conn.state();
        state.is_saved = true;
        state.held = conn.actor.is_some().then(Vec::new);
    }
    if let Some(user) = conn.user().or(restored.guest_of) {
        context.hub.supersede(user, &restored.pid, Some(conn.id));
        context.outbox.share(Fact::Resumed { user, pid: restored.pid.clone() });
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

//! What is asked by those who watch the server, and not by its clients: is it alive, is it ready, and the numbers for Prometheus. What the
//! numbers mean stands in `metrics`, what hinders a database in `store`.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use crate::clock::{self, Timestamp};
use crate::error::Error;
use crate::metrics::{self as text, Metrics};
use crate::socket::Context;
use crate::wire;

/// The state of each part, and since when it is in it, as far as anybody has looked: at least once a second.
#[derive(Default)]
pub struct Health {
    parts: Mutex<BTreeMap<&'static str, (&'static str, Timestamp)>>,
    /// The numbers, when they cost much and were asked for lately.
    numbers: tokio::sync::Mutex<Option<(Instant, String)>>,
}

const OK: &str = "ok";
const AWAY: &str = "away";
/// No batch takes longer while the database answers: it is given 4 s by itself.
const STUCK: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_secs(1);
/// It takes a millisecond to look at a thousand sockets.
const MANY: usize = 100;

impl Health {
    /// Notes the state of a part.
    fn note(&self, part: &'static str, state: &'static str) {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let known = parts.entry(part).or_insert_with(|| (state, clock::now()));
        if known.0 != state {
            *known = (state, clock::now());
        }
    }

    fn parts(&self) -> BTreeMap<&'static str, (&'static str, Timestamp)> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Looks at what can be seen without asking the database, so that a change is dated even if nobody asks.
pub async fn watch(api: Context) {
    let mut tick = tokio::time::interval(LOOK);
    loop {
        tick.tick().await;
        if let Some(found) = api.chat.found_lately() {
            api.health.note("database", found.err().unwrap_or(OK));
        }
        look(&api);
    }
}

fn look(api: &Context) {
    let writer = match api.chat.writer() {
        writer if writer.is_gone() => "gone",
        writer if writer.busy_for().is_some_and(|time| time > STUCK) => "stuck",
        _ => OK,
    };
    api.health.note("writer", writer);
    if let Some(linked) = &api.linked {
        api.health.note("redis", if linked.is_up() { OK } else { AWAY });
    }
}

/// The state of each part as it is now.
async fn parts(api: &Context) -> BTreeMap<&'static str, (&'static str, Timestamp)> {
    api.health.note("database", api.chat.ready().await.err().unwrap_or(OK));
    look(api);
    api.health.parts()
}

/// That somebody is there, as the legacy backend said it.
#[utoipa::path(get, path = "/", tag = "operation", security(()), responses(
    (status = 200, description = "Here", body = Object, example = json!({"message": "tidings messaging server is running"})),
))]
pub async fn root() -> Json<Value> {
    Json(json!({"message": "tidings messaging server is running"}))
}

/// Alive: the process answers.
#[utoipa::path(get, path = "/healthz", tag = "operation", security(()), responses(
    (status = 200, description = "Alive", body = Object, example = json!({"status": "ok"})),
))]
pub async fn healthz() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

/// Ready: the database answers and can be written, and the writer writes. Without Redis a node of several serves its own sockets still.
#[utoipa::path(get, path = "/readyz", tag = "operation", security(()), responses(
    (status = 200, description = "Ready: the state of each part, and since when it is in it; `redis` is there for one node of several",
        body = Object, example = json!({"status": "ok", "database": "ok", "writer": "ok",
            "since": {"database": "2026-01-31T09:30:00.000Z", "writer": "2026-01-31T09:30:00.000Z"}})),
    (status = 503, description = "Not ready, and why", body = Object,
        example = json!({"code": "unavailable", "status": "unavailable", "database": "disk full", "writer": "ok"})),
))]
pub async fn readyz(State(api): State<Context>) -> Response {
    let parts = parts(&api).await;
    let is_ok = |part: &str| parts.get(part).is_none_or(|(state, _)| *state == OK);
    let is_ready = is_ok("database") && is_ok("writer");
    let mut body = if is_ready { Map::new() } else { wire::error::body(&Error::Unavailable) };
    let status = if !is_ready {
        "unavailable"
    } else if is_ok("redis") {
        "ok"
    } else {
        "degraded"
    };
    body.insert("status".into(), json!(status));
    body.extend(parts.iter().map(|(part, (state, _))| ((*part).to_owned(), json!(state))));
    let since: Map<String, Value> = parts.iter().map(|(part, (_, since))| ((*part).to_owned(), json!(wire::iso(*since)))).collect();
    body.insert("since".into(), since.into());
    if is_ready {
        Json(body).into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")], Json(body)).into_response()
    }
}

/// The numbers, as Prometheus reads them; at an address of their own when `metrics.listen` is set.
#[utoipa::path(get, path = "/metrics", tag = "operation", security(()), responses(
    (status = 200, description = "The numbers", body = String, content_type = "application/openmetrics-text"),
))]
pub async fn metrics(State(api): State<Context>) -> Response {
    // All who ask at a time share one look; of many sockets, each of which is looked at, those who ask within a second.
    let mut last = api.health.numbers.lock().await;
    let text = match last.take().filter(|(at, _)| at.elapsed() < LOOK) {
        Some(recent) => last.insert(recent).1.clone(),
        None => {
            let text = look_at_all(&api).await;
            *last = (api.hub.count() >= MANY).then(|| (clock::instant(), text.clone()));
            text
        }
    };
    ([(header::CONTENT_TYPE, text::CONTENT_TYPE)], text).into_response()
}

async fn look_at_all(api: &Context) -> String {
    let numbers = &api.metrics;
    for (part, (state, _)) in parts(api).await {
        numbers.up.get_or_create(&[("part", part)]).set((state == OK).into());
    }
    count_sockets(api);
    numbers.users_online.set(count(api.chat.count_online()));
    let writer = api.chat.writer();
    numbers.queued.get_or_create(&[("queue", "writer")]).set(count(writer.queued()));
    numbers.writer_busy.set(writer.busy_for().unwrap_or_default().as_secs_f64());
    numbers.wal_bytes.set(api.chat.wal_bytes().and_then(|bytes| i64::try_from(bytes).ok()).unwrap_or_default());
    Metrics::total(&numbers.reconnections, ("part", "database"), api.chat.reconnections());
    if let Some(linked) = &api.linked {
        numbers.queued.get_or_create(&[("queue", "nodes")]).set(count(linked.queued()));
        Metrics::total(&numbers.reconnections, ("part", "redis"), linked.reconnections());
    }
    numbers.text()
}

fn count_sockets(api: &Context) {
    let (sockets, numbers) = (api.hub.all(), &api.metrics);
    let mut found =
        BTreeMap::from([("user", "websocket"), ("user", "polling"), ("guest", "websocket"), ("guest", "polling")].map(|key| (key, 0)));
    for conn in &sockets {
        *found.entry((conn.kind(), conn.transport_name())).or_default() += 1;
    }
    for ((kind, transport), number) in found {
        numbers.connections.get_or_create(&[("kind", kind), ("transport", transport)]).set(number);
    }
    numbers.sockets.set(count(sockets.len()));
    let behind: u64 = sockets.iter().map(|conn| conn.backlog.behind()).sum();
    numbers.outbound_bytes.set(i64::try_from(behind).unwrap_or(i64::MAX));
    numbers.queued.get_or_create(&[("queue", "inbound")]).set(count(sockets.iter().map(|conn| conn.waiting()).sum()));
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The connection to the other nodes, for those who watch it.
pub trait Linked: Send + Sync {
    /// Whether the nodes reach each other.
    fn is_up(&self) -> bool;
    /// How much waits to be told to the others.
    fn queued(&self) -> usize;
    /// How often the connection was lost and made anew.
    fn reconnections(&self) -> u64;
}

/// What is known of the other nodes; nothing for one that is alone.
pub type Link = Option<Arc<dyn Linked>>;

//! What is counted and measured while the server runs, and its form for Prometheus (OpenMetrics text). Each metric says here what it means;
//! who counts is decided elsewhere. No label holds anything that a client can choose: event names, routes and reasons come from fixed lists.

mod process;

use std::{
    borrow::Cow,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::{Metric, Registry},
};

use crate::panics;

/// The content type of the text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Values of labels, from fixed lists.
type Labels<const N: usize> = [(&'static str, &'static str); N];
/// Values of labels of a request: the route is one of ours, the status may be the upstream's.
type RouteLabels<const N: usize> = [(&'static str, Cow<'static, str>); N];

/// All metrics of a server. Counting is an addition to a number that was looked up before, but for failures and requests.
pub struct Metrics {
    registry: Registry,
    /// Connected sockets.
    pub sockets: Gauge,
    /// The same, by `kind` (user, guest) and `transport` (websocket, polling).
    pub connections: Family<Labels<2>, Gauge>,
    /// Users who are online on this node.
    pub users_online: Gauge,
    opened: Family<Labels<2>, Counter>,
    ended: Family<Labels<1>, Counter>,
    handshakes_refused: Family<Labels<1>, Counter>,
    recoveries: Family<Labels<1>, Counter>,
    events: Family<Labels<2>, Counter>,
    /// Of the events that succeeded, by number.
    events_done: Vec<Counter>,
    rate_limited: Family<Labels<1>, Counter>,
    commit: Histogram,
    delivery: Histogram,
    batch: Histogram,
    /// How many wait, by `queue`.
    pub queued: Family<Labels<1>, Gauge>,
    /// How many bytes were given to sockets and not yet taken by their connections.
    pub outbound_bytes: Gauge,
    /// For how long the writer has been at its present batch.
    pub writer_busy: Gauge<f64, AtomicU64>,
    /// The size of the write-ahead log of an SQLite file.
    pub wal_bytes: Gauge,
    /// Whether a `part` works: database, writer, redis.
    pub up: Family<Labels<1>, Gauge>,
    /// How often the connections to a `part` were lost and made anew: database, redis.
    pub reconnections: Family<Labels<1>, Counter>,
    frames_refused: Family<Labels<1>, Counter>,
    requests: Family<RouteLabels<3>, Counter>,
    request_time: Family<RouteLabels<2>, Histogram, fn() -> Histogram>,
    /// Rounds of bcrypt that logins have taken.
    pub bcrypt_rounds: Counter,
    panics: Counter,
    process: process::Process,
}

/// The bounds of times, in seconds.
const TIMES: [f64; 16] = [0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
const BATCHES: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];
/// The methods that are told apart; a client may make up others.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
/// The limits, each of which is shown before anything was over it.
const LIMITS: [&str; 12] = [
    "sends",
    "events",
    "writes",
    "searches",
    "conversations",
    "requests",
    "logins",
    "failed_logins",
    "handshakes",
    "guest_events",
    "inbound_queue",
    "writer_queue",
];
/// What is none of a fixed list.
pub const OTHER: &str = "other";

/// A metric that is part of the text from now on.
fn add<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register(name, help, metric.clone());
    metric
}

/// A method as one of those that are told apart.
pub fn method(name: &str) -> &'static str {
    METHODS.into_iter().find(|known| *known == name).unwrap_or(OTHER)
}

fn times() -> Histogram {
    Histogram::new(TIMES)
}

impl Metrics {
    /// Nothing counted yet. `events` are the names of the events that are told apart.
    pub fn new(events: &[&'static str]) -> Self {
        let mut registry = Registry::default();
        let (r, fresh) = (&mut registry, Family::<Labels<2>, Counter>::default);
        let build: Labels<1> = [("version", env!("CARGO_PKG_VERSION"))];
        r.register("tidings_build", "The version that runs", Info::new(build));
        let by_event = add(r, "tidings_events", "Events of clients by name and outcome: ok, or the code of the refusal", fresh());
        let events_done = events
            .iter()
            .filter(|name| **name != OTHER)
            .map(|name| by_event.get_or_create_owned(&[("event", *name), ("outcome", "ok")]))
            .collect();
        let rate_limited = add(r, "tidings_rate_limited", "What was over a rate or found its queue full, by limit", Family::default());
        let refused = add(
            r,
            "tidings_frames_refused",
            "Frames on the channel of the nodes that were dropped, by reason: forged, version",
            Family::default(),
        );
        ["forged", "version"].iter().for_each(|reason| drop(refused.get_or_create_owned(&[("reason", *reason)])));
        LIMITS.iter().for_each(|limit| drop(rate_limited.get_or_create_owned(&[("limit", *limit)])));
        Self {
            sockets: add(r, "tidings_sockets", "Connected sockets", Gauge::default()),
            connections: add(r, "tidings_connections", "Connected sockets by kind and transport", Family::default()),
            users_online: add(r, "tidings_users_online", "Users who are online", Gauge::default()),
            opened: add(r, "tidings_connections_opened", "Sockets that connected, by kind and the transport they came by", fresh()),
            ended: add(r, "tidings_connections_ended", "Sockets that went or were cut off, by reason", Family::default()),
            handshakes_refused: add(r, "tidings_handshakes_refused", "Connections that were not let in, by reason", Family::default()),
            recoveries: add(r, "tidings_recoveries", "Clients that came back for what they missed, by outcome", Family::default()),
            events: by_event,
            events_done,
            rate_limited,
            commit: add(r, "tidings_message_commit_seconds", "From the moment a message is accepted until it is committed", times()),
            delivery: add(r, "tidings_message_delivery_seconds", "From the commit until a message is in its sockets' queues", times()),
            batch: add(r, "tidings_writer_batch_jobs", "Writes that share a transaction", Histogram::new(BATCHES)),
            queued: add(
                r,
                "tidings_queue_items",
                "What waits: for the writer, inbound for its handler, for the other nodes",
                Family::default(),
            ),
            outbound_bytes: add(
                r,
                "tidings_outbound_bytes",
                "Bytes given to sockets and not yet taken by their connections",
                Gauge::default(),
            ),
            writer_busy: add(r, "tidings_writer_busy_seconds", "For how long the writer has been at its present batch", Gauge::default()),
            wal_bytes: add(r, "tidings_sqlite_wal_bytes", "The size of the write-ahead log of an SQLite file", Gauge::default()),
            up: add(r, "tidings_up", "Whether a part works: database, writer, redis", Family::default()),
            reconnections: add(r, "tidings_reconnections", "Connections that were lost and made anew, by part", Family::default()),
            frames_refused: refused,
            requests: add(r, "tidings_http_requests", "Requests by method, route and status", Family::default()),
            request_time: add(
                r,
                "tidings_http_request_duration_seconds",
                "Requests until their answer begins",
                Family::new_with_constructor(times as fn() -> Histogram),
            ),
            bcrypt_rounds: add(r, "tidings_bcrypt_rounds", "Rounds of bcrypt that logins have taken", Counter::default()),
            panics: add(r, "tidings_panics", "Panics of this process, all of them faults of tidings", Counter::default()),
            process: process::Process::new(r),
            registry,
        }
    }

    /// A socket has connected.
    pub fn opened(&self, kind: &'static str, transport: &'static str) {
        self.opened.get_or_create(&[("kind", kind), ("transport", transport)]).inc();
    }

    /// A socket is gone.
    pub fn ended(&self, reason: &'static str) {
        self.ended.get_or_create(&[("reason", reason)]).inc();
    }

    /// A connection was not let in.
    pub fn handshake_refused(&self, reason: &'static str) {
        self.handshakes_refused.get_or_create(&[("reason", reason)]).inc();
    }

    /// A client came back for what it missed.
    pub fn recovery(&self, outcome: &'static str) {
        self.recoveries.get_or_create(&[("outcome", outcome)]).inc();
    }

    /// The event with this number succeeded.
    pub fn event_done(&self, number: usize) {
        if let Some(done) = self.events_done.get(number) {
            done.inc();
        }
    }

    /// A frame on the channel of the nodes was dropped.
    pub fn frame_refused(&self, reason: &'static str) {
        self.frames_refused.get_or_create(&[("reason", reason)]).inc();
    }

    /// An event was refused or failed.
    pub fn event_failed(&self, name: &'static str, code: &'static str) {
        self.events.get_or_create(&[("event", name), ("outcome", code)]).inc();
    }

    /// Something was over a limit.
    pub fn rate_limited(&self, limit: &'static str) {
        self.rate_limited.get_or_create(&[("limit", limit)]).inc();
    }

    /// A batch of so many jobs is committed, and these waited for it.
    pub fn committed(&self, jobs: usize, waited: impl Iterator<Item = Duration>) {
        self.batch.observe(jobs as f64);
        waited.for_each(|time| self.commit.observe(time.as_secs_f64()));
    }

    /// A message is in the queues of its sockets.
    pub fn delivered(&self, since_commit: Duration) {
        self.delivery.observe(since_commit.as_secs_f64());
    }

    /// A request is answered. `route` is one of ours, `status` three digits.
    pub fn request(&self, method: &'static str, route: &str, status: &str, took: Duration) {
        let route = || Cow::Owned(route.to_owned());
        self.request_time.get_or_create(&[("method", method.into()), ("route", route())]).observe(took.as_secs_f64());
        self.requests.get_or_create(&[("method", method.into()), ("route", route()), ("status", Cow::Owned(status.to_owned()))]).inc();
    }

    /// Notes how often something has happened in all, where others count it.
    pub fn total(family: &Family<Labels<1>, Counter>, label: (&'static str, &'static str), total: u64) {
        family.get_or_create(&[label]).inner().store(total, Ordering::Relaxed);
    }

    /// The text, with what the process says of itself.
    pub fn text(&self) -> String {
        self.panics.inner().store(panics::count(), Ordering::Relaxed);
        self.process.look();
        let mut text = String::new();
        // Writing to a string cannot fail.
        encode(&mut text, &self.registry).ok();
        text
    }
}

//! Builds everything from the settings and runs it. Imported by `main` and the tests only, but for the [`Peer`] of a request.

mod connection;
mod open;
mod prompt;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::header::HOST,
    middleware::{Next, from_fn, from_fn_with_state, map_request},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::net::{TcpListener, TcpSocket};
use tower_http::{
    catch_panic::CatchPanicLayer,
    request_id::{PropagateRequestIdLayer, SetRequestIdLayer},
};

pub use crate::rest::openapi;
pub use connection::{Link, Peer};
use open::Most;
use prompt::Prompt;

use crate::auth::random_hex;
use crate::chat::{Chat, Outbox, Room};
use crate::cluster::Cluster;
use crate::config::Settings;
use crate::cors::cors;
use crate::error::Error;
use crate::metrics::Metrics;
use crate::origin::{Origins, Proxies};
use crate::proxy;
use crate::rest;
use crate::socket::{self, Context, Gate, Hub};
use crate::store::{Store, secret_file};
use crate::system;
use crate::vital::Vital;
use crate::wire::names::NAMES;

/// A running server.
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    /// Where it shows its metrics, if not there.
    pub metrics_address: Option<SocketAddr>,
    chat: Arc<Chat>,
    store: Arc<Store>,
    cluster: Option<Arc<Cluster>>,
    listening: Vec<tokio::task::JoinHandle<()>>,
    vital: Vital,
    stop: tokio::sync::watch::Sender<bool>,
}

/// How long a server takes to stop, whatever hangs.
const PATIENCE: Duration = Duration::from_millis(4500);

impl Server {
    /// Opens the database, brings its schema up to date, and listens.
    ///
    /// # Errors
    /// One sentence that says what to do.
    pub async fn start(settings: Settings) -> Result<Self, String> {
        if settings.sqlite_file().is_none() {
            secret(&settings)?;
        }
        let store = Arc::new(Store::open(&settings.database_url, &settings.database, settings.redis_url.is_some()).await?);
        // A secret of an SQLite server is made when its database is there, so that a start that fails leaves none behind.
        let secret = secret(&settings)?;
        let address = settings.address().ok_or("The configured host is not an address.")?;
        let (listener, address) = listen(address)?;
        let watched = settings.metrics.address().map(listen).transpose()?;

        let origins = Arc::new(Origins::parse(settings.origins.iter().map(String::as_str))?);
        let proxies = Arc::new(Proxies::parse(settings.trusted_proxies.iter().map(String::as_str))?);
        let (hub, behind) = Hub::new(&settings, Gate::new(origins.clone()));
        let (outbox, cluster): (Arc<dyn Outbox>, _) = match &settings.redis_url {
            None => (hub.clone(), None),
            Some(url) => {
                let database = store.identity().await.map_err(|e| format!("The id of the database cannot be read: {e}."))?;
                let cluster = Cluster::new(url, &settings.redis_channel, &secret, &database, hub.clone())?;
                (cluster.clone(), Some(cluster))
            }
        };
        let (metrics, vital) = (Arc::new(Metrics::new(&NAMES)), Vital::default());
        let chat = Chat::new(store.clone(), outbox.clone(), metrics.clone(), &vital, &secret, &settings);
        chat.refresh_bans().await.map_err(|e| format!("Who is banned cannot be read: {e}."))?;
        vital.spawn("housekeeping", chat.clone().housekeeping());
        vital.spawn("presence", chat.clone().tell_lists());
        let linked = cluster.clone().map(|cluster| -> Arc<dyn rest::Linked> { cluster });
        let (health, settings) = (Arc::default(), Arc::new(settings));
        // A client that only polls needs more than one, and what is left behind is not closed at once.
        let most = Most::with(system::raise_open_files(), settings.limits.sockets_per_address.saturating_mul(2).saturating_add(1000));
        let context =
            Context { chat: chat.clone(), hub, outbox, linked, metrics, vital: vital.clone(), health, settings, proxies: proxies.clone() };
        vital.spawn("health", rest::watch(context.clone()));
        if let Some(cluster) = &cluster {
            cluster.start(context.clone()).await;
        }
        let app = router(&context, origins, behind);

        let (stop, stopped) = tokio::sync::watch::channel(false);
        let metrics_address = watched.as_ref().map(|(_, address)| *address);
        let serve = |listener, app| vital.spawn("accepting", connection::serve(listener, app, most, proxies.clone(), stopped.clone()));
        let mut listening = vec![serve(listener, app)];
        listening.extend(watched.map(|(listener, _)| serve(listener, metrics_alone(context))));
        Ok(Self { address, metrics_address, chat, store, cluster, listening, vital, stop })
    }

    /// The rules, for those who act without a transport.
    pub fn chat(&self) -> &Arc<Chat> {
        &self.chat
    }

    /// Waits until a task has died without which the server is none, and tells which.
    async fn died(&self) -> &'static str {
        self.vital.died().await
    }

    /// Serves until `told` to stop.
    ///
    /// # Errors
    /// One sentence, when a part of the server has died: whoever supervises it shall start it again.
    pub async fn run(&self, told: impl Future<Output = ()>) -> Result<(), String> {
        tokio::select! {
            () = told => Ok(()),
            task = self.died() => Err(format!("a part of the server has died ({task}); the log says where. Start it again.")),
        }
    }

    /// Stops accepting, closes all connections, so that clients reconnect to another node or to whoever comes next, and stores what was accepted.
    pub async fn stop(self) {
        let stopping = async {
            self.stop.send(true).ok();
            futures_util::future::join_all(self.listening).await;
            self.chat.flush().await;
            if let Some(cluster) = self.cluster {
                cluster.leave().await;
            }
            self.store.close().await;
        };
        tokio::time::timeout(PATIENCE, stopping).await.ok();
    }
}

/// How many connections may wait to be accepted; the system has a limit of its own, too (`net.core.somaxconn`). Those beyond are not refused but
/// forgotten, and try again after a second: when all clients of another node come here at once, that is what they would wait for.
const BACKLOG: u32 = 65_535;

fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), String> {
    let open = |address: SocketAddr| {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if address.is_ipv6() && address.ip().is_unspecified() {
            socket2::SockRef::from(&socket).set_only_v6(false)?;
        }
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let listener = socket.listen(BACKLOG)?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    let opened = open(address).or_else(|e| without_ipv6(address, &e).map_or(Err(e), open));
    opened.map_err(|e: std::io::Error| format!("Cannot listen on {address}: {e}."))
}

/// What `::`, all addresses of IPv6 and IPv4, stands for on a system that has no IPv6, as an error tells.
pub fn without_ipv6(address: SocketAddr, error: &std::io::Error) -> Option<SocketAddr> {
    let is_taken = matches!(error.kind(), std::io::ErrorKind::AddrInUse | std::io::ErrorKind::PermissionDenied);
    let is_all = address.is_ipv6() && address.ip().is_unspecified();
    (is_all && !is_taken).then(|| (std::net::Ipv4Addr::UNSPECIFIED, address.port()).into())
}

/// The metrics on a port of their own.
fn metrics_alone(context: Context) -> Router {
    Router::new().route("/metrics", get(rest::metrics)).fallback(rest::not_found).with_state(context)
}

fn router(context: &Context, origins: Arc<Origins>, behind: tokio::sync::mpsc::UnboundedReceiver<Room>) -> Router {
    let settings = &context.settings;
    let elsewhere = match &settings.legacy_upstream {
        Some(upstream) => proxy::routes(context.clone(), origins.clone(), upstream),
        None => Router::new().fallback(rest::not_found).layer(from_fn(rest::empty_list_below_api)),
    };
    let panicked = |_| Error::internal("a request handler panicked").into_response();
    // What is passed on takes its time: the proxy has a patience of its own.
    let api = rest::routes(context.clone(), settings.accounts, settings.limits.body_bytes)
        .layer(map_request(promptly))
        .merge(elsewhere)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(context.metrics.clone(), rest::observe))
        .layer(PropagateRequestIdLayer::x_request_id())
        .layer(SetRequestIdLayer::x_request_id(rest::NewId))
        .layer(map_request(rest::without_odd_id));
    let sockets = socket::routes(context.clone(), behind).layer(map_request(promptly));
    let app = api.merge(sockets).layer(from_fn(one_host)).layer(from_fn_with_state(origins, cors));
    rest::taking_slashes(app, settings.accounts)
}

async fn promptly(request: Request) -> Request {
    request.map(|body| Body::new(Prompt::new(body)))
}

/// Which of two hosts counts differs from reader to reader (RFC 9112, 3.2): whoever stands behind could take another one than we did.
async fn one_host(request: Request, next: Next) -> Response {
    if request.headers().get_all(HOST).iter().nth(1).is_some() {
        return Error::invalid("A request has one Host").into_response();
    }
    next.run(request).await
}

/// The secret that tokens are signed with: the configured one, or one that an SQLite server makes once and keeps beside its database.
pub fn secret(settings: &Settings) -> Result<String, String> {
    if let Some(secret) = settings.auth.jwt_secret.as_ref().filter(|s| !s.is_empty()) {
        // No shorter one is worth the name; `doctor` asks for more, but one that is in use must go on to count.
        if secret.len() < SHORTEST_SECRET {
            return Err(format!(
                "JWT_SECRET has less than {SHORTEST_SECRET} bytes: anybody can find it. Make one by `openssl rand -hex 32`."
            ));
        }
        return Ok(secret.clone());
    }
    let database = settings.sqlite_file().ok_or("JWT_SECRET is not set. Set it to the secret that your tokens are signed with.")?;
    let file = secret_file(&database);
    match std::fs::read_to_string(&file) {
        Ok(secret) if !secret.trim().is_empty() => return Ok(secret.trim().to_owned()),
        // Others may have it open: a secret is written into a file of our own only.
        Ok(_) => std::fs::remove_file(&file).map_err(|e| format!("The empty secret file {} cannot be replaced: {e}.", file.display()))?,
        Err(_) => {}
    }
    let secret = random_hex::<32>();
    system::create_private(&file, &secret).map_err(|e| format!("The secret file {} cannot be written: {e}.", file.display()))?;
    tracing::info!(file = %file.display(), "made a random secret for tokens; set JWT_SECRET to use your own");
    Ok(secret)
}

const SHORTEST_SECRET: usize = 8;

#[cfg(test)]
mod tests;

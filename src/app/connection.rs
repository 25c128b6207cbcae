//! TCP connections: accepting them, serving HTTP on them, and the handle by which one can be shut from outside. axum's own `serve` has no
//! such handle and no deadline for slow headers.

use std::{
    collections::HashMap,
    io,
    net::{Shutdown, SocketAddr},
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{Router, body::Body, http::Request};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};
use tower::ServiceExt;

use super::prompt::Prompt;

/// Where a request comes from: an extension of every request.
#[derive(Clone)]
pub struct Peer {
    /// The other end of the TCP connection.
    pub address: SocketAddr,
    /// The connection itself.
    pub link: Link,
}

/// A handle to a TCP connection, which does not keep it open.
#[derive(Clone)]
pub struct Link {
    stream: Weak<TcpStream>,
    written: Arc<AtomicU64>,
}

impl Link {
    /// Shuts the connection in both directions: whoever reads or writes on it notices at once.
    pub fn cut(&self) {
        if let Some(stream) = self.stream.upgrade() {
            socket2::SockRef::from(&*stream).shutdown(Shutdown::Both).ok();
        }
    }

    /// Whether the connection is still there.
    pub fn is_open(&self) -> bool {
        self.stream.strong_count() > 0
    }

    /// How many bytes the system has taken of what was to be sent.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }
}

/// Whoever takes an answer must take so many bytes a second, and may rest for a while.
const LEAST_RATE: u64 = 10_000;
const REST: Duration = Duration::from_secs(10);
/// How soon and how often it is looked what was taken.
const FIRST_LOOK: Duration = Duration::from_millis(1);
const LOOK: Duration = Duration::from_secs(1);

impl Link {
    /// Waits until the system has taken `bytes` more than it has by now; whoever takes them too slowly is closed. Waiting uses patience up,
    /// bytes earn it again.
    pub fn taken(&self, bytes: u64) -> impl Future<Output = ()> + use<> {
        let (link, mut seen) = (self.clone(), self.written());
        let all = seen + bytes;
        async move {
            let (mut patience, mut pause) = (REST, FIRST_LOOK);
            while link.is_open() && seen < all {
                tokio::time::sleep(pause).await;
                let written = link.written();
                let earned = Duration::from_millis((written - seen) * 1000 / LEAST_RATE);
                patience = patience.saturating_add(earned).min(REST + pause).saturating_sub(pause);
                if patience.is_zero() {
                    link.cut();
                }
                (seen, pause) = (written, (pause * 2).min(LOOK));
            }
        }
    }
}

/// How long a client may take to send its request headers, and how long a body is waited for.
pub const SLOWEST: Duration = Duration::from_secs(10);
/// How long sent bytes may stay unacknowledged: a client that stops reading is closed.
const UNACKNOWLEDGED: Duration = Duration::from_secs(25);

/// How long a request may go on after the server was told to stop.
const LAST_REQUEST: Duration = Duration::from_secs(1);

/// A server that stops closes its websockets one after the other, over this time at most, so that not all clients come back elsewhere at
/// the same moment; so many of them at a time at least.
const DRAIN: Duration = Duration::from_millis(2500);
const DRAIN_STEP: Duration = Duration::from_millis(10);
const DRAIN_AT_ONCE: usize = 5;

/// All open connections, and whether they have become websockets.
#[derive(Clone, Default)]
struct Open(Arc<Mutex<HashMap<u64, (Link, bool)>>>);

impl Open {
    fn change<T>(&self, change: impl FnOnce(&mut HashMap<u64, (Link, bool)>) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Closes all websockets, not all at once.
    async fn drain(&self) {
        let websockets = |links: &mut HashMap<u64, (Link, bool)>| -> Vec<Link> {
            links.values().filter(|(_, is_websocket)| *is_websocket).map(|(link, _)| link.clone()).collect()
        };
        let links = self.change(websockets);
        let steps = usize::try_from(DRAIN.as_millis() / DRAIN_STEP.as_millis()).unwrap_or(1);
        for some in links.chunks(links.len().div_ceil(steps).max(DRAIN_AT_ONCE)) {
            some.iter().for_each(Link::cut);
            tokio::time::sleep(DRAIN_STEP).await;
        }
    }
}

/// Accepts connections until `stop` says so, then closes all of them.
pub async fn serve(listener: TcpListener, app: Router, mut stop: watch::Receiver<bool>) {
    let (open, mut requests) = (Open::default(), JoinSet::new());
    for number in 0.. {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.changed() => break,
        };
        while requests.try_join_next().is_some() {}
        match accepted {
            Ok((stream, address)) => {
                stream.set_nodelay(true).ok();
                #[cfg(target_os = "linux")]
                socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(UNACKNOWLEDGED)).ok();
                let (stream, written) = (Arc::new(stream), Arc::default());
                let peer = Peer { address, link: Link { stream: Arc::downgrade(&stream), written: Arc::clone(&written) } };
                open.change(|links| links.insert(number, (peer.link.clone(), false)));
                let stream = Stream { stream, written, number, open: open.clone() };
                requests.spawn(serve_one(stream, peer, app.clone(), stop.clone()));
            }
            Err(error) => {
                // Out of file handles, most likely: those who wait will be served when others have left.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    let last_requests = tokio::time::timeout(LAST_REQUEST, async { while requests.join_next().await.is_some() {} });
    tokio::join!(open.drain(), last_requests).1.ok();
    open.change(|links| links.values().for_each(|(link, _)| link.cut()));
}

/// Serves the requests of one connection. When one upgrades it, the stream lives on in the websocket after this.
async fn serve_one(stream: Stream, peer: Peer, app: Router, mut stop: watch::Receiver<bool>) {
    let service = hyper::service::service_fn(move |mut request: Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(peer.clone());
        app.clone().oneshot(request.map(|body| Body::new(Prompt::new(body))))
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(SLOWEST);
    let (number, open) = (stream.number, stream.open.clone());
    let connection = http.serve_connection(TokioIo::new(stream), service).with_upgrades();
    tokio::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => {}
        _ = stop.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await.ok();
        }
    }
    // What is still there is a websocket.
    open.change(|links| {
        if let Some((_, is_websocket)) = links.get_mut(&number) {
            *is_websocket = true;
        }
    });
}

/// A TCP stream that a [`Link`] may point to.
struct Stream {
    stream: Arc<TcpStream>,
    written: Arc<AtomicU64>,
    number: u64,
    open: Open,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.open.change(|links| links.remove(&self.number));
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.stream.poll_read_ready(cx))?;
            match self.stream.try_read(buf.initialize_unfilled()) {
                Ok(n) => {
                    buf.advance(n);
                    return Poll::Ready(Ok(()));
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.write_with(cx, |stream| stream.try_write(buf))
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.write_with(cx, |stream| stream.try_write_vectored(bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(socket2::SockRef::from(&*self.stream).shutdown(Shutdown::Write))
    }
}

impl Stream {
    fn write_with(&self, cx: &mut Context<'_>, write: impl Fn(&TcpStream) -> io::Result<usize>) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_write_ready(cx))?;
            match write(&self.stream) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                done => {
                    let bytes = done.as_ref().map_or(0, |n| *n as u64);
                    self.written.fetch_add(bytes, Ordering::Relaxed);
                    return Poll::Ready(done);
                }
            }
        }
    }
}

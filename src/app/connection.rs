//! TCP connections: accepting them, serving HTTP on them, and the handle by which one can be shut from outside. axum's own `serve` has no
//! such handle and no deadline for slow headers.

use std::{
    convert::Infallible,
    io,
    net::{Shutdown, SocketAddr},
    pin::Pin,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes, HttpBody},
    http::{HeaderName, HeaderValue, Request, StatusCode, Version, header},
};
use hyper::{
    body::{Frame, SizeHint},
    server::conn::http1,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::Instant,
};
use tower::ServiceExt;

use super::open::{Activity, Busy, Most, Open};
use crate::clock;
use crate::limits::network_of;
use crate::origin::Proxies;

/// Where a request comes from: an extension of every request.
#[derive(Clone)]
pub struct Peer {
    /// The other end of the TCP connection.
    pub address: SocketAddr,
    /// The connection itself.
    pub link: Link,
}

/// A handle to a TCP connection, which does not keep it open.
#[derive(Clone, Default)]
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

/// How long a client may take to send the head of its first request, and how long a body is waited for.
pub const SLOWEST: Duration = Duration::from_secs(10);
/// How long a connection is kept for another request: somewhat longer than each answer says, so that one that is sent in the last moment is read.
const KEPT: Duration = Duration::from_secs(80);
const KEEP_ALIVE: (HeaderName, HeaderValue) = (HeaderName::from_static("keep-alive"), HeaderValue::from_static("timeout=75"));
/// How many headers a request may have: proxies add theirs, and hyper by itself refuses more than 100.
const HEADERS: usize = 256;
/// How long sent bytes may stay unacknowledged: a client that stops reading is closed.
const UNACKNOWLEDGED: Duration = Duration::from_secs(25);

/// How long a request may go on after the server was told to stop.
const LAST_REQUEST: Duration = Duration::from_secs(1);

/// So often at most it is said that connections are refused.
const TOLD: Duration = Duration::from_secs(60);

/// Accepts connections until `stop` says so, then closes all of them.
pub async fn serve(listener: TcpListener, app: Router, most: Most, proxies: Arc<Proxies>, mut stop: watch::Receiver<bool>) {
    let (open, mut requests, mut told) = (Open::new(most), JoinSet::new(), None);
    let mut refuse = |why: &dyn std::fmt::Display| {
        if told.is_none_or(|at: Instant| at.elapsed() >= TOLD) {
            told = Some(clock::instant());
            tracing::warn!(%why, most = most.all, "connections are refused");
        }
    };
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
                let link = Link { stream: Arc::downgrade(&stream), written: Arc::clone(&written) };
                // A client by IPv4 of a listener for both is the same client as by IPv4 alone.
                let ip = address.ip().to_canonical();
                let Some(activity) = open.enter(number, link.clone(), network_of(ip), proxies.trust(ip)) else {
                    refuse(&"there are too many, all of them in use");
                    continue;
                };
                let peer = Peer { address: SocketAddr::new(ip, address.port()), link };
                let stream = Stream { stream, written, number, open: open.clone() };
                requests.spawn(serve_one(stream, peer, activity, app.clone(), stop.clone()));
            }
            Err(error) => {
                // Out of files, most likely: those who wait will be served when others have left.
                refuse(&error);
                open.make_room();
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    let last_requests = tokio::time::timeout(LAST_REQUEST, async { while requests.join_next().await.is_some() {} });
    tokio::join!(open.drain(), last_requests).1.ok();
    open.cut();
}

/// Serves the requests of one connection. When one upgrades it, the stream lives on in the websocket after this.
async fn serve_one(stream: Stream, peer: Peer, activity: Activity, app: Router, mut stop: watch::Receiver<bool>) {
    let (asked, stopping) = (activity.clone(), stop.clone());
    let service = hyper::service::service_fn(move |mut request: Request<hyper::body::Incoming>| {
        let (busy, asked, stopping) = (asked.request(), asked.clone(), stopping.clone());
        request.extensions_mut().insert(peer.clone());
        let closes = request.headers().get(header::CONNECTION).is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(b"close"));
        let is_kept = request.version() == Version::HTTP_11 && !closes;
        let answer = app.clone().oneshot(request.map(Body::new));
        async move {
            let mut response = answer.await?;
            if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                asked.upgrade();
            } else if is_kept && !*stopping.borrow() {
                let (name, value) = KEEP_ALIVE;
                response.headers_mut().insert(name, value);
            }
            Ok::<_, Infallible>(response.map(|body| Answer { body, _busy: busy }))
        }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(KEPT).max_headers(HEADERS);
    let connection = http.serve_connection(TokioIo::new(stream), service).with_upgrades();
    let first_request = tokio::time::sleep(SLOWEST);
    tokio::pin!(connection, first_request);
    loop {
        tokio::select! {
            _ = connection.as_mut() => return,
            () = first_request.as_mut(), if !first_request.is_elapsed() => {
                if activity.is_fresh() {
                    return;
                }
            }
            _ = stop.changed() => {
                connection.as_mut().graceful_shutdown();
                connection.await.ok();
                return;
            }
        }
    }
}

/// The body of an answer. Its request is at work until it is through.
struct Answer {
    body: Body,
    _busy: Busy,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
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
        self.open.leave(self.number);
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

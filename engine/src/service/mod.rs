//! The server as a service of tower and of hyper.

mod body;
mod raw;
mod request;

use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use engineioxide_core::Sid;
use http::{Request, Response, StatusCode, request::Parts};
use http_body::Body;
use hyper::service::Service as HyperService;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tower_service::Service as TowerService;

pub use body::{OwnBody, ResponseBody};
pub use request::Error;

use crate::config::EngineIoConfig;
use crate::engine::Engine;
use crate::handler::EngineIoHandler;
use crate::{polling, websocket};
use request::{Asked, is_ours, read};

/// Answers the requests of Engine.IO, and passes all others on to the service that it stands before. Its clones share their sessions.
pub struct EngineIoService<H: EngineIoHandler, S = NotFoundService> {
    inner: S,
    engine: Arc<Engine<H>>,
}

impl<H: EngineIoHandler> EngineIoService<H, NotFoundService> {
    /// A service that stands before nothing, with the default settings.
    pub fn new(handler: Arc<H>) -> Self {
        Self::with_config(handler, EngineIoConfig::default())
    }

    /// A service that stands before nothing.
    pub fn with_config(handler: Arc<H>, config: EngineIoConfig) -> Self {
        Self::with_config_inner(NotFoundService, handler, config)
    }
}

impl<S: Clone, H: EngineIoHandler> EngineIoService<H, S> {
    /// A service that stands before `inner`, with the default settings.
    pub fn with_inner(inner: S, handler: Arc<H>) -> Self {
        Self::with_config_inner(inner, handler, EngineIoConfig::default())
    }

    /// A service that stands before `inner`.
    pub fn with_config_inner(inner: S, handler: Arc<H>, config: EngineIoConfig) -> Self {
        Self { inner, engine: Arc::new(Engine::new(config, handler)) }
    }

    /// A service that makes clones of this one.
    pub fn into_make_service(self) -> MakeEngineIoService<H, S> {
        MakeEngineIoService { service: self }
    }
}

impl<H: EngineIoHandler, S: Clone> Clone for EngineIoService<H, S> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), engine: self.engine.clone() }
    }
}

impl<H: EngineIoHandler, S> std::fmt::Debug for EngineIoService<H, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EngineIoService").field("config", &self.engine.config).finish_non_exhaustive()
    }
}

type Answering = Pin<Box<dyn Future<Output = Response<OwnBody>> + Send>>;

/// Answers a request that is ours, and passes any other one on.
fn route<H, B, F>(engine: &Arc<Engine<H>>, request: Request<B>, inner: impl FnOnce(Request<B>) -> F) -> ResponseFuture<F>
where
    H: EngineIoHandler,
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
{
    let from = if is_ours(request.uri().path(), &engine.config) {
        From::Engine { answer: answer(engine, request) }
    } else {
        From::Inner { future: inner(request) }
    };
    ResponseFuture { from }
}

/// Answers a request that is ours.
fn answer<H, B>(engine: &Arc<Engine<H>>, request: Request<B>) -> Answering
where
    H: EngineIoHandler,
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
{
    let (parts, body) = request.into_parts();
    let engine = engine.clone();
    match read(&parts, &engine.config) {
        Ok(Asked::Open) => Box::pin(ready(polling::open(engine, parts))),
        Ok(Asked::Poll(sid)) => Box::pin(polling::poll(engine, sid)),
        Ok(Asked::Post(sid)) => Box::pin(polling::post(engine, sid, body)),
        Ok(Asked::Websocket(sid)) => Box::pin(ready(open_websocket(engine, sid, parts).unwrap_or_else(Error::response))),
        Err(error) => Box::pin(ready(error.response())),
    }
}

fn open_websocket<H: EngineIoHandler>(engine: Arc<Engine<H>>, sid: Option<Sid>, mut parts: Parts) -> Result<Response<OwnBody>, Error> {
    let session = sid.map(|sid| engine.find(sid).ok_or(Error::UnknownSession)).transpose()?;
    let accepted = websocket::handshake::accept(&parts).ok_or(Error::BadRequest)?;
    let upgrade = parts.extensions.remove::<OnUpgrade>().ok_or(Error::BadRequest)?;
    if session.as_ref().is_some_and(|session| !session.queue.start_probe()) {
        return Err(Error::BadRequest);
    }
    let probing = session.map(websocket::Probing);
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let io = TokioIo::new(upgraded);
        match probing {
            Some(probing) => websocket::upgrade(engine, probing, io, Bytes::new()).await,
            None => websocket::begin(engine, io, Bytes::new(), parts).await,
        }
    });
    Ok(accepted.map(|()| OwnBody::default()))
}

pin_project_lite::pin_project! {
    /// An answer on its way.
    pub struct ResponseFuture<F> {
        #[pin]
        from: From<F>,
    }
}

pin_project_lite::pin_project! {
    #[project = Projected]
    enum From<F> {
        Engine { answer: Answering },
        Inner { #[pin] future: F },
    }
}

impl<F, B, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<ResponseBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().from.project() {
            Projected::Engine { answer } => answer.as_mut().poll(cx).map(|response| Ok(response.map(ResponseBody::own))),
            Projected::Inner { future } => future.poll(cx).map_ok(|response| response.map(ResponseBody::inner)),
        }
    }
}

impl<H, ReqBody, ResBody, S> TowerService<Request<ReqBody>> for EngineIoService<H, S>
where
    H: EngineIoHandler,
    ReqBody: Body + Send + Unpin + std::fmt::Debug + 'static,
    ReqBody::Error: std::fmt::Debug,
    ReqBody::Data: Send,
    ResBody: Body + Send + 'static,
    S: TowerService<Request<ReqBody>, Response = Response<ResBody>>,
{
    type Response = Response<ResponseBody<ResBody>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        route(&self.engine, request, |request| self.inner.call(request))
    }
}

impl<H, ReqBody, ResBody, S> HyperService<Request<ReqBody>> for EngineIoService<H, S>
where
    H: EngineIoHandler,
    ReqBody: Body + Send + Unpin + std::fmt::Debug + 'static,
    ReqBody::Error: std::fmt::Debug,
    ReqBody::Data: Send,
    ResBody: Body + Send + 'static,
    S: HyperService<Request<ReqBody>, Response = Response<ResBody>>,
{
    type Response = Response<ResponseBody<ResBody>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn call(&self, request: Request<ReqBody>) -> Self::Future {
        route(&self.engine, request, |request| self.inner.call(request))
    }
}

/// Makes clones of a service.
pub struct MakeEngineIoService<H: EngineIoHandler, S> {
    service: EngineIoService<H, S>,
}

impl<H: EngineIoHandler, S: Clone, T> TowerService<T> for MakeEngineIoService<H, S> {
    type Response = EngineIoService<H, S>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: T) -> Self::Future {
        ready(Ok(self.service.clone()))
    }
}

/// A service that finds nothing.
#[derive(Debug, Clone)]
pub struct NotFoundService;

fn not_found() -> Ready<Result<Response<ResponseBody<OwnBody>>, Infallible>> {
    let mut response = Response::new(ResponseBody::own(OwnBody::default()));
    *response.status_mut() = StatusCode::NOT_FOUND;
    ready(Ok(response))
}

impl<B> TowerService<Request<B>> for NotFoundService {
    type Response = Response<ResponseBody<OwnBody>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        not_found()
    }
}

impl<B> HyperService<Request<B>> for NotFoundService {
    type Response = Response<ResponseBody<OwnBody>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn call(&self, _: Request<B>) -> Self::Future {
        not_found()
    }
}

//! The service for websockets that were opened elsewhere.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use engineioxide_core::Sid;
use http::{Request, request::Parts};
use hyper::service::Service as HyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tower_service::Service as TowerService;

use super::EngineIoService;
use super::request::{Asked, Error, read};
use crate::engine::Engine;
use crate::handler::EngineIoHandler;
use crate::websocket;

/// Runs a websocket that was opened elsewhere, to its end.
async fn run_websocket<H, St>(engine: Arc<Engine<H>>, io: St, sid: Option<Sid>, parts: Parts) -> Result<(), Error>
where
    H: EngineIoHandler,
    St: AsyncRead + AsyncWrite + Unpin,
{
    match sid {
        None => websocket::begin(engine, io, Bytes::new(), parts).await,
        Some(sid) => {
            let session = engine.find(sid).ok_or(Error::UnknownSession)?;
            if !session.queue.start_probe() {
                return Err(Error::BadRequest);
            }
            websocket::upgrade(engine, websocket::Probing(session), io, Bytes::new()).await;
        }
    }
    Ok(())
}

type Running = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

/// A websocket that was opened elsewhere, with the request that opened it.
impl<St, H, S> TowerService<(St, Request<()>)> for EngineIoService<H, S>
where
    H: EngineIoHandler,
    St: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Response = ();
    type Error = Error;
    type Future = Running;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, opened: (St, Request<()>)) -> Running {
        HyperService::call(self, opened)
    }
}

/// A websocket that was opened elsewhere, with the request that opened it.
impl<St, H, S> HyperService<(St, Request<()>)> for EngineIoService<H, S>
where
    H: EngineIoHandler,
    St: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Response = ();
    type Error = Error;
    type Future = Running;

    fn call(&self, (io, request): (St, Request<()>)) -> Running {
        let (engine, parts) = (self.engine.clone(), request.into_parts().0);
        Box::pin(async move {
            match read(&parts, &engine.config)? {
                Asked::Websocket(sid) => run_websocket(engine, io, sid, parts).await,
                _ => Err(Error::BadRequest),
            }
        })
    }
}

#[doc(hidden)]
#[cfg(feature = "__test_harness")]
impl<H: EngineIoHandler, S> EngineIoService<H, S> {
    /// Runs a websocket without a handshake.
    pub fn ws_init<St>(
        &self,
        conn: St,
        _: engineioxide_core::ProtocolVersion,
        sid: Option<Sid>,
        req_data: Parts,
    ) -> impl Future<Output = Result<(), Error>> + use<H, S, St>
    where
        St: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        run_websocket(self.engine.clone(), conn, sid, req_data)
    }
}

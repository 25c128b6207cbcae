//! The polling transport: each request takes what waits, or brings what the client sends.

use std::{pin::Pin, sync::Arc, task::Context};

use bytes::Buf;
use engineioxide_core::Sid;
use http::{HeaderValue, Response, header, request::Parts};
use http_body::Body;

use crate::engine::{Engine, Outcome, watch_polling};
use crate::handler::EngineIoHandler;
use crate::packets::SEPARATOR;
use crate::queue::{Answer, Ending, Phase, Queue, Refusal};
use crate::service::{Error, OwnBody};
use crate::socket::DisconnectReason;

/// Begins a session.
pub fn open<H: EngineIoHandler>(engine: Arc<Engine<H>>, parts: Parts) -> Response<OwnBody> {
    let (socket, open) = engine.open(parts, Phase::Polling);
    tokio::spawn(watch_polling(engine.clone(), socket.clone()));
    engine.handler.clone().on_connect(socket);
    with_type(OwnBody::of(open), "text/plain; charset=UTF-8")
}

/// Answers with what waits, as soon as something does.
pub async fn poll<H: EngineIoHandler>(engine: Arc<Engine<H>>, sid: Sid) -> Response<OwnBody> {
    let Some(socket) = engine.find(sid) else { return Error::UnknownSession.response() };
    let queue = &socket.queue;
    if let Err(refusal) = queue.start_poll() {
        return refuse(queue, &refusal);
    }
    let most = usize::try_from(engine.config.max_payload).unwrap_or(usize::MAX);
    let waiting = Waiting(Some(queue));
    let answer = std::future::poll_fn(|cx: &mut Context<'_>| queue.poll_answer(cx, most)).await;
    waiting.done();
    match answer {
        Answer::Gone => Error::UnknownSession.response(),
        Answer::Payload(payload, bytes) => {
            let body = if bytes > 0 { OwnBody::with_messages(payload, bytes, queue.clone()) } else { OwnBody::of(payload) };
            with_type(body, "text/plain; charset=UTF-8")
        }
    }
}

/// Receives what the client sends.
pub async fn post<H, B>(engine: Arc<Engine<H>>, sid: Sid, body: B) -> Response<OwnBody>
where
    H: EngineIoHandler,
    B: Body + Unpin,
{
    let Some(socket) = engine.find(sid) else { return Error::UnknownSession.response() };
    let queue = &socket.queue;
    if let Err(refusal) = queue.start_post() {
        return refuse(queue, &refusal);
    }
    let _posting = Posting(queue);
    let most = usize::try_from(engine.config.max_payload).unwrap_or(usize::MAX).min(queue.incoming());
    let waiting = Waiting(Some(queue));
    let body = read(body, most).await;
    waiting.done();
    match body {
        Ok(payload) => {
            for packet in payload.split(char::from(SEPARATOR)) {
                // The application may have closed the session for the one before.
                if queue.closing().is_some() {
                    break;
                }
                if let Outcome::Ends(reason) = engine.packet(&socket, packet) {
                    let is_wrong = reason != DisconnectReason::TransportClose;
                    queue.close(reason, Ending::Quiet);
                    if is_wrong {
                        return Error::BadRequest.response();
                    }
                    break;
                }
            }
        }
        Err(Unreadable::TooLong) => match queue.instead() {
            Some(instead) => engine.handler.on_message(instead, socket.clone()),
            None => return Error::TooLarge.response(),
        },
        Err(Unreadable::Broken) => {
            queue.close(DisconnectReason::TransportError, Ending::Quiet);
            return Error::BadRequest.response();
        }
        Err(Unreadable::NoText) => {
            queue.close(DisconnectReason::PacketParsingError, Ending::Quiet);
            return Error::BadRequest.response();
        }
    }
    with_type(OwnBody::of("ok"), "text/html")
}

fn refuse(queue: &Queue, refusal: &Refusal) -> Response<OwnBody> {
    match refusal {
        Refusal::Unknown => Error::UnknownSession.response(),
        Refusal::Upgraded => Error::BadRequest.response(),
        Refusal::Overlap => {
            queue.close(DisconnectReason::MultipleHttpPollingError, Ending::Flush);
            Error::BadRequest.response()
        }
    }
}

fn with_type(body: OwnBody, kind: &'static str) -> Response<OwnBody> {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// A request that waits: for something to send, or for its body. A client that aborts one has gone away.
struct Waiting<'a>(Option<&'a Queue>);

impl Waiting<'_> {
    fn done(mut self) {
        self.0 = None;
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(queue) = self.0 {
            queue.close(DisconnectReason::TransportError, Ending::Quiet);
        }
    }
}

/// A POST that is at work.
struct Posting<'a>(&'a Queue);

impl Drop for Posting<'_> {
    fn drop(&mut self) {
        self.0.end_post();
    }
}

#[derive(Debug)]
enum Unreadable {
    TooLong,
    Broken,
    NoText,
}

/// Reads a text of `most` bytes.
async fn read<B: Body + Unpin>(mut body: B, most: usize) -> Result<String, Unreadable> {
    if body.size_hint().lower() > most as u64 {
        return Err(Unreadable::TooLong);
    }
    let mut read = Vec::new();
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let Ok(mut data) = frame.map_err(|_| Unreadable::Broken)?.into_data() else { continue };
        if read.len() + data.remaining() > most {
            return Err(Unreadable::TooLong);
        }
        while data.has_remaining() {
            let chunk = data.chunk();
            read.extend_from_slice(chunk);
            let len = chunk.len();
            data.advance(len);
        }
    }
    String::from_utf8(read).map_err(|_| Unreadable::NoText)
}

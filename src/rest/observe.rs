//! What every request leaves behind: an id that it shares with its lines in the log, with its answer and with the upstream; a line; a number.

use std::sync::Arc;

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderName, HeaderValue},
    middleware::Next,
    response::Response,
};
use tower_http::request_id::{MakeRequestId, RequestId};
use tracing::{Instrument, field::Empty};

use crate::auth::random_hex;
use crate::clock;
use crate::error::Error;
use crate::metrics::{Metrics, OTHER, method};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// No longer id is taken from a client.
const LONGEST: usize = 64;

/// Makes ids for requests that bring none.
#[derive(Clone, Copy)]
pub struct NewId;

impl MakeRequestId for NewId {
    fn make_request_id<B>(&mut self, _: &axum::http::Request<B>) -> Option<RequestId> {
        HeaderValue::from_str(&random_hex::<8>()).ok().map(RequestId::new)
    }
}

/// Takes away an id that is long or has odd characters: it goes into the log and to the upstream.
pub async fn without_odd_id(mut request: Request) -> Request {
    let is_plain = |id: &HeaderValue| {
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
        (1..=LONGEST).contains(&id.len()) && id.as_bytes().iter().all(plain)
    };
    let ids = request.headers().get_all(&REQUEST_ID);
    if !ids.iter().all(is_plain) || ids.iter().nth(1).is_some() {
        request.headers_mut().remove(&REQUEST_ID);
    }
    request
}

/// The middleware. Its line says what was asked by the route, never by the path: that may hold anything.
pub async fn observe(State(metrics): State<Arc<Metrics>>, request: Request, next: Next) -> Response {
    let began = clock::instant();
    let method = method(request.method().as_str());
    let matched = request.extensions().get::<MatchedPath>().cloned();
    // Below a nested router a path that nobody serves has a made-up name.
    let route = matched.as_ref().map(MatchedPath::as_str).filter(|route| !route.contains('*')).unwrap_or(OTHER);
    let id = request.headers().get(&REQUEST_ID).and_then(|id| id.to_str().ok()).unwrap_or_default();
    let span = tracing::info_span!("request", id, method, route, user = Empty);
    let response = next.run(request).instrument(span.clone()).await;
    let (status, took) = (response.status(), began.elapsed());
    metrics.request(method, route, status.as_str(), took);
    let microseconds = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    span.in_scope(|| match response.extensions().get::<Error>() {
        Some(Error::Internal(cause)) => tracing::error!(status = status.as_u16(), microseconds, %cause, "a request failed"),
        _ => tracing::debug!(status = status.as_u16(), microseconds, "a request was answered"),
    });
    response
}

//! The way to the legacy backend: whatever is not served here goes there unchanged, so that the frontend keeps its one base URL. The
//! forwarding itself is `axum-reverse-proxy`'s; what is ours stands around it.

use std::time::Duration;

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{ConnectInfo, Request, State},
    http::{HeaderValue, StatusCode, Uri, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::any_service,
};
use axum_reverse_proxy::{HostBehaviour, ProxyError, ProxyPolicy, ReverseProxy};
use serde_json::{Value, json};
use tower::ServiceBuilder;
use tower_http::timeout::{RequestBodyTimeoutLayer, ResponseBodyTimeoutLayer};

use crate::app::Peer;
use crate::socket::Context;
use crate::wire::accounts::role_id;

/// How long the backend may take until its response headers are there.
const HEADERS: Duration = Duration::from_secs(60);
/// How long a body may stand still, on its way in or out.
const IDLE: Duration = Duration::from_secs(60);
/// The longest answer of `/api/auth/me` that is looked into.
const ME_BYTES: usize = 1 << 20;

/// A router that passes everything on to `upstream`, an `http://host:port`.
pub fn routes(context: Context, upstream: &str) -> Router {
    let policy = ProxyPolicy::new().with_host_behaviour(HostBehaviour::Preserve).with_public_scheme("http").with_upstream_timeout(HEADERS);
    let proxy = ReverseProxy::new("/", upstream.trim_end_matches('/')).with_policy(policy);
    let idle = ServiceBuilder::new()
        .map_response(|response: Response<_>| response.map(Body::new))
        .layer(ResponseBodyTimeoutLayer::new(IDLE))
        .layer(RequestBodyTimeoutLayer::new(IDLE))
        .map_request(|request: Request<_>| request.map(Body::new))
        .service(proxy);
    let around = middleware::from_fn_with_state((context.clone(), upstream.to_owned()), around);
    let mut router = Router::new().fallback_service(any_service(idle.clone()));
    if !context.settings.accounts {
        router = router.route("/api/auth/me", any_service(idle).layer(middleware::from_fn(with_role_id)));
    }
    router.layer(around)
}

async fn around(State((context, upstream)): State<(Context, String)>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Peer>().map(|peer| peer.address);
    if let Some(peer) = peer {
        request.extensions_mut().insert(ConnectInfo(peer));
        // Only a known proxy may say for whom it speaks.
        if !context.proxies.trust(peer.ip()) {
            for name in ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"] {
                request.headers_mut().remove(name);
            }
        }
    }
    let mut response = next.run(request).await;
    if response.extensions().get::<ProxyError>().is_some() {
        tracing::warn!(status = response.status().as_u16(), "the legacy backend did not answer");
        let status = if response.status() == StatusCode::GATEWAY_TIMEOUT { response.status() } else { StatusCode::BAD_GATEWAY };
        let sentence = "The backend behind this server does not answer";
        return (status, axum::Json(json!({"error": sentence, "message": sentence, "code": "unavailable"}))).into_response();
    }
    let headers = response.headers_mut();
    // CORS is decided here, once.
    let theirs: Vec<_> = headers.keys().filter(|name| name.as_str().starts_with("access-control-")).cloned().collect();
    theirs.iter().for_each(|name| drop(headers.remove(name)));
    if let Some(here) = headers.get(header::LOCATION).and_then(|to| to.to_str().ok()).and_then(|to| without_authority(to, &upstream)) {
        headers.insert(header::LOCATION, here);
    }
    response
}

/// A redirect to the backend's own address, as one to ours.
fn without_authority(location: &str, upstream: &str) -> Option<HeaderValue> {
    let (to, own) = (location.parse::<Uri>().ok()?, upstream.parse::<Uri>().ok()?);
    if to.authority()? != own.authority()? {
        return None;
    }
    HeaderValue::from_str(to.path_and_query().map_or("/", |path| path.as_str())).ok()
}

/// G2 offers a new chat only to a user with a `role_id`, which the legacy answer may lack.
async fn with_role_id(mut request: Request, next: Next) -> Response {
    request.headers_mut().remove(header::ACCEPT_ENCODING);
    let (mut parts, body) = next.run(request).await.into_parts();
    let is_json = parts.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).is_some_and(|v| v.contains("json"));
    if parts.status != StatusCode::OK || !is_json {
        return Response::from_parts(parts, body);
    }
    let Ok(bytes) = to_bytes(body, ME_BYTES).await else { return StatusCode::BAD_GATEWAY.into_response() };
    let mut answer: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    let user = answer.get_mut("user").and_then(Value::as_object_mut).filter(|user| !user.contains_key("role_id"));
    let Some(user) = user else { return Response::from_parts(parts, Body::from(bytes)) };
    let role = user.get("role").and_then(Value::as_str).map(str::to_owned);
    user.insert("role_id".into(), json!(role_id(role.as_deref())));
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.remove(header::ETAG);
    Response::from_parts(parts, Body::from(answer.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_never_tells_the_address_behind() {
        let here = |to: &str| without_authority(to, "http://10.0.0.5:4000").and_then(|v| v.to_str().ok().map(str::to_owned));
        assert_eq!(here("http://10.0.0.5:4000/login?next=1"), Some("/login?next=1".into()));
        assert_eq!(here("https://pay.example/checkout"), None);
        assert_eq!(here("/login"), None);
    }
}

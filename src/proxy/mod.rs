//! The way to the legacy backend: whatever is not served here goes there unchanged, so that the frontend keeps its one base URL. The
//! forwarding itself is `axum-reverse-proxy`'s; what is ours stands around it.

mod idle;
mod paths;

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::any_service,
};
use axum_reverse_proxy::{HostBehaviour, ProxyError, ProxyPolicy, ReverseProxy};
use serde_json::{Value, json};
use tower::ServiceBuilder;
use tower_http::timeout::{RequestBodyTimeoutLayer, ResponseBodyTimeoutLayer};

use crate::app::Peer;
use crate::error::Error;
use crate::origin::{FOREIGN, Origins};
use crate::rest;
use crate::socket::Context;
use crate::wire::accounts::role_id;
use idle::{Activity, Watched};

/// The longest answer of `/api/auth/me` that is looked into.
const ME_BYTES: usize = 1 << 20;

/// A router that passes everything on to `upstream`, an `http://host:port`.
pub fn routes(context: Context, origins: Arc<Origins>, upstream: &str) -> Router {
    let idle = context.settings.legacy_idle;
    // How long an answer may take is decided around it: the library would count the time that a body takes on its way.
    let policy =
        ProxyPolicy::new().with_host_behaviour(HostBehaviour::Preserve).with_public_scheme("http").with_websocket_connect_timeout(idle);
    let proxy = ReverseProxy::new("/", upstream.trim_end_matches('/')).with_policy(policy);
    let moving = ServiceBuilder::new()
        .map_response(|response: Response<_>| response.map(Body::new))
        .layer(ResponseBodyTimeoutLayer::new(idle))
        .layer(RequestBodyTimeoutLayer::new(idle))
        .map_request(|request: Request<_>| request.map(Body::new))
        .service(proxy);
    let mut router = Router::new().fallback_service(any_service(moving.clone()));
    if !context.settings.accounts {
        router = router.route("/api/auth/me", any_service(moving).layer(middleware::from_fn(with_role_id)));
    }
    router
        .layer(middleware::from_fn_with_state((context.clone(), upstream.to_owned()), exchange))
        .layer(middleware::from_fn_with_state((context, origins), admit))
        .layer(middleware::from_fn(rest::empty_list_below_api))
}

/// What must not be passed on: paths of our own in another spelling, which the old backend might take for its own messaging or logins, and
/// websockets of foreign sites, which CORS does not hold back.
async fn admit(State((context, origins)): State<(Context, Arc<Origins>)>, request: Request, next: Next) -> Response {
    let settings = &context.settings;
    let path = request.uri().path();
    if !path.starts_with('/') || paths::is_own(path, settings.accounts, settings.metrics.listen.is_none()) {
        return rest::not_found().await;
    }
    if origins.is_foreign_upgrade(request.headers()) {
        return Error::Forbidden(FOREIGN).into_response();
    }
    next.run(request).await
}

/// Passes a request on, and its answer back, with the headers of this hop put right.
async fn exchange(State((context, upstream)): State<(Context, String)>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Peer>().map(|peer| peer.address);
    if let Some(peer) = peer {
        let ip = peer.ip().to_canonical();
        request.extensions_mut().insert(ConnectInfo(SocketAddr::new(ip, peer.port())));
        if !context.proxies.trust(ip) {
            remove(request.headers_mut(), speaks_for_others);
        }
    }
    request.headers_mut().remove(header::PROXY_AUTHORIZATION);
    let activity = Activity::begin();
    let request = request.map(|body| Body::new(Watched(body, activity.clone())));
    let Some(mut response) = activity.within(context.settings.legacy_idle, next.run(request)).await else {
        tracing::warn!("the legacy backend took too long");
        return Error::UpstreamTimeout.into_response();
    };
    if let Some(error) = response.extensions().get::<ProxyError>() {
        tracing::warn!(cause = error.message(), "the legacy backend did not answer");
        let is_late = response.status() == StatusCode::GATEWAY_TIMEOUT;
        return if is_late { Error::UpstreamTimeout } else { Error::UpstreamFailed }.into_response();
    }
    let headers = response.headers_mut();
    remove(headers, |name| matches!(name, "proxy-authenticate" | "proxy-authentication-info"));
    if let Some(here) = headers.get(header::LOCATION).and_then(|to| to.to_str().ok()).and_then(|to| without_authority(to, &upstream)) {
        headers.insert(header::LOCATION, here);
    }
    response
}

fn remove(headers: &mut HeaderMap, wrong: impl Fn(&str) -> bool) {
    let names: Vec<HeaderName> = headers.keys().filter(|name| wrong(name.as_str())).cloned().collect();
    names.iter().for_each(|name| drop(headers.remove(name)));
}

/// Whether a header says for whom somebody speaks, or what was asked in truth: only a known proxy may say so.
fn speaks_for_others(name: &str) -> bool {
    // Some readers take an underscore for a hyphen.
    let name = name.replace('_', "-");
    let others = [
        "forwarded",
        "x-real-ip",
        "x-client-ip",
        "x-cluster-client-ip",
        "x-original-forwarded-for",
        "x-original-host",
        "x-original-url",
        "x-rewrite-url",
        "x-envoy-external-address",
        "x-appengine-user-ip",
        "x-azure-clientip",
        "x-azure-socketip",
        "x-host",
        "true-client-ip",
        "cf-connecting-ip",
        "cf-connecting-ipv6",
        "cf-pseudo-ipv4",
        "fastly-client-ip",
        "fly-client-ip",
        "client-ip",
    ];
    name.starts_with("x-forwarded") || others.contains(&name.as_str())
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
    let Ok(bytes) = to_bytes(body, ME_BYTES).await else { return Error::UpstreamFailed.into_response() };
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

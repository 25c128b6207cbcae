//! CORS: which answers a browser shows to which site. One implementation for all that is served here and passed on; which sites there are
//! stands in `origin`.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use crate::origin::Origins;

const METHODS: HeaderValue = HeaderValue::from_static("GET,HEAD,PUT,PATCH,POST,DELETE");
const HEADERS: &str = "authorization,content-type";
const EXPOSED: &str = "x-error,x-error-code,x-has-more,link,retry-after,x-request-id";
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// The middleware. It answers preflights, and allows the headers that they ask for, as the old backend did: a site that measures or guards
/// itself (`sentry-trace`, `x-csrf-token`) sends them everywhere. What an upstream says of CORS is dropped, but for the headers that it exposes.
pub async fn cors(State(origins): State<Arc<Origins>>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let allowed = headers.get(header::ORIGIN).filter(|origin| origins.allow(origin, headers.get(header::HOST))).cloned();
    let is_preflight = request.method() == Method::OPTIONS
        && headers.contains_key(header::ORIGIN)
        && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let (mut response, listed) = if is_preflight {
        (().into_response(), list(HEADERS, headers, header::ACCESS_CONTROL_REQUEST_HEADERS))
    } else {
        let response = next.run(request).await;
        let exposed = list(EXPOSED, response.headers(), header::ACCESS_CONTROL_EXPOSE_HEADERS);
        (response, exposed)
    };
    let headers = response.headers_mut();
    let theirs: Vec<HeaderName> = headers.keys().filter(|name| name.as_str().starts_with("access-control-")).cloned().collect();
    theirs.iter().for_each(|name| drop(headers.remove(name)));
    headers.insert(RESOURCE_POLICY, HeaderValue::from_static("cross-origin"));
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    if is_preflight {
        headers.append(header::VARY, HeaderValue::from_static("access-control-request-headers"));
    }
    if let Some(origin) = allowed {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        if is_preflight {
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        }
        let name = if is_preflight { header::ACCESS_CONTROL_ALLOW_HEADERS } else { header::ACCESS_CONTROL_EXPOSE_HEADERS };
        headers.insert(name, listed);
    }
    response
}

/// Our names, and those that stand in a header beside them.
fn list(ours: &'static str, headers: &HeaderMap, theirs: HeaderName) -> HeaderValue {
    let mut names: Vec<String> = ours.split(',').map(str::to_owned).collect();
    for name in headers.get_all(theirs).iter().filter_map(|names| names.to_str().ok()).flat_map(|names| names.split(',')) {
        let name = name.trim();
        if !name.is_empty() && !names.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            names.push(name.to_owned());
        }
    }
    HeaderValue::from_str(&names.join(",")).unwrap_or(HeaderValue::from_static(ours))
}

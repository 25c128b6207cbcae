//! The REST interface: all routes in one list, and the forms of answers. Handlers extract, call the chat, answer; no rule lives here.

mod accounts;
mod admin;
mod conversations;
mod extract;
mod health;
mod lists;
mod observe;
mod openapi;
mod support;
mod work;

pub use extract::visitor;
pub use health::{Health, Link, Linked, metrics, watch};
pub use observe::{NewId, observe, without_odd_id};
pub use openapi::document as openapi;

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Request},
    http::{HeaderValue, Method, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{any, get, post, put},
};
use serde_json::json;
use tower::ServiceExt;

use crate::error::Error;
use crate::socket::{Context, STRANGERS_BYTES};
use crate::wire;

/// The same, taking a trailing slash at a route of ours, as Express does. All else goes on as it came, also the routes of `accounts` that are not
/// served here.
pub fn taking_slashes(app: Router, accounts: bool) -> Router {
    const ACCOUNTS: [&str; 5] =
        ["/api/auth/register/", "/api/auth/traveller/login/", "/api/auth/agency/login/", "/api/auth/me/", "/api/user/search/"];
    let without_slash = move |mut request: Request| {
        let path = request.uri().path();
        // The page of the documentation is at a path with one.
        let is_route = path.starts_with("/api/messaging/") && !path.starts_with("/api/messaging/docs/");
        if (is_route || accounts && ACCOUNTS.contains(&path))
            && let Some(shorter) = path.strip_suffix('/')
        {
            let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
            // A part of an address is one.
            if let Ok(address) = format!("{shorter}{query}").parse() {
                *request.uri_mut() = address;
            }
        }
        app.clone().oneshot(request)
    };
    Router::new().fallback_service(tower::service_fn(without_slash))
}

/// Every route that is served here. `accounts` are the built-in ones of a stand-alone server.
pub fn routes(api: Context, accounts: bool, body_bytes: usize) -> Router {
    let lists = || middleware::from_fn(empty_list_for_browsers);
    let messaging = Router::new()
        .route("/conversations", get(conversations::list).layer(lists()).post(conversations::open))
        .route("/conversations/{id}/messages", get(conversations::messages).layer(lists()))
        .route("/conversations/{id}/mark-read", post(conversations::mark_read).put(conversations::mark_read))
        .route("/unread-count", get(conversations::unread_count))
        .route("/support/tickets", get(support::list_own).layer(lists()).post(support::create))
        .route("/support/tickets/admin/all", get(support::list_all).layer(lists()))
        .route("/support/admin/tickets", get(support::list_all).layer(lists()))
        .route("/support/tickets/{id}", get(support::details))
        .route("/support/tickets/{id}/respond", post(support::respond))
        .route("/support/tickets/{id}/status", put(support::change).patch(support::change))
        .route("/admin/users/{id}/ban", post(admin::ban))
        .route("/admin/users/{id}/unban", post(admin::unban))
        .fallback(not_found);
    let mut router = Router::new().nest("/api/messaging", messaging).route("/api/messaging/", any(not_found));
    let has_metrics = api.settings.metrics.listen.is_none();
    router = router.merge(openapi::routes(accounts, has_metrics, api.settings.legacy_upstream.is_some()));
    if accounts {
        let short = || DefaultBodyLimit::max(body_bytes.min(STRANGERS_BYTES));
        router = router
            .route("/api/auth/register", post(accounts::register).layer(short()))
            .route("/api/auth/traveller/login", post(accounts::login_traveller).layer(short()))
            .route("/api/auth/agency/login", post(accounts::login_agency).layer(short()))
            .route("/api/auth/me", get(accounts::me))
            .route("/api/user/search", get(conversations::search_users).layer(lists()));
    }
    if has_metrics {
        router = router.route("/metrics", get(health::metrics));
    }
    router
        .route("/", get(health::root))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn(work::hold))
        .layer(DefaultBodyLimit::max(body_bytes))
        .with_state(api)
}

/// The answer to a path that nobody serves.
pub async fn not_found() -> Response {
    Error::NotFound("No such route").into_response()
}

async fn method_not_allowed() -> Response {
    let sentence = "This route does not take that method";
    (StatusCode::METHOD_NOT_ALLOWED, Json(json!({"error": sentence, "message": sentence, "code": "method_not_allowed"}))).into_response()
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let mut response = (wire::error::status(&self), Json(wire::error::body(&self))).into_response();
        if let Some(seconds) = wire::error::retry_after(&self) {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// As [`empty_list_for_browsers`], for what nobody serves here: below `/api` it may have been a list.
pub async fn empty_list_below_api(request: Request, next: Next) -> Response {
    if request.uri().path().starts_with("/api/") { empty_list_for_browsers(request, next).await } else { next.run(request).await }
}

/// The frontends call `.map` on whatever a list route answers: a JSON object leaves the user a white page. A refused browser gets the status
/// with an empty list, and the reason in headers.
async fn empty_list_for_browsers(request: Request, next: Next) -> Response {
    let is_browser = request.headers().contains_key(header::ORIGIN) && request.method() == Method::GET;
    let response = next.run(request).await;
    let Some(error) = response.extensions().get::<Error>().cloned().filter(|_| is_browser) else { return response };
    let (mut parts, _) = response.into_parts();
    let sentence: String = error.to_string().chars().filter(|c| c.is_ascii() && !c.is_control()).collect();
    if let Ok(sentence) = HeaderValue::from_str(&sentence) {
        parts.headers.insert("x-error", sentence);
    }
    parts.headers.insert("x-error-code", HeaderValue::from_static(wire::error::code(&error)));
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, axum::body::Body::from("[]"))
}

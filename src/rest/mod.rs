//! The REST interface: all routes in one list, and the forms of answers. Handlers extract, call the chat, answer; no rule lives here.

mod accounts;
mod admin;
mod conversations;
mod extract;
mod openapi;
mod support;

pub use extract::visitor;
pub use openapi::document as openapi;

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Request, State},
    http::{HeaderValue, Method, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{any, get, post, put},
};
use serde_json::{Value, json};

use crate::error::Error;
use crate::socket::Context;
use crate::wire;

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
    router = router.merge(openapi::routes(accounts, api.settings.legacy_upstream.is_some()));
    if accounts {
        router = router
            .route("/api/auth/register", post(accounts::register))
            .route("/api/auth/traveller/login", post(accounts::login_traveller))
            .route("/api/auth/agency/login", post(accounts::login_agency))
            .route("/api/auth/me", get(accounts::me))
            .route("/api/user/search", get(conversations::search_users).layer(lists()));
    }
    router
        .route("/", get(root))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::max(body_bytes))
        .with_state(api)
}

/// That there is a server.
#[utoipa::path(get, path = "/", tag = "operation", security(()), responses(
    (status = 200, description = "Here", body = Object, example = json!({"message": "tidings messaging server is running"})),
))]
async fn root() -> Json<Value> {
    Json(json!({"message": "tidings messaging server is running"}))
}

/// Alive: the process answers.
#[utoipa::path(get, path = "/healthz", tag = "operation", security(()), responses(
    (status = 200, description = "Alive", body = Object, example = json!({"status": "ok"})),
))]
async fn healthz() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

/// Ready: the database answers too, and can be written. Without Redis a node of several serves its own sockets still.
#[utoipa::path(get, path = "/readyz", tag = "operation", security(()), responses(
    (status = 200, description = "Ready; `redis` is there for one node of several", body = Object,
        example = json!({"status": "ok", "database": "ok"})),
    (status = 503, description = "Not ready, and why", body = Object, example = json!({"code": "unavailable", "database": "disk full"})),
))]
async fn readyz(State(api): State<Context>) -> Response {
    match api.chat.ready().await {
        Ok(()) => {
            let mut body = json!({"status": "ok", "database": "ok"});
            if let Some(linked) = &api.linked {
                let is_linked = *linked.borrow();
                body["redis"] = json!(if is_linked { "ok" } else { "away" });
                body["status"] = json!(if is_linked { "ok" } else { "degraded" });
            }
            Json(body).into_response()
        }
        Err(hindrance) => {
            let mut body = wire::error::body(&Error::Unavailable);
            body.insert("database".into(), json!(hindrance));
            (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")], Json(body)).into_response()
        }
    }
}

/// Gauges, as Prometheus reads them.
#[utoipa::path(get, path = "/metrics", tag = "operation", security(()), responses(
    (status = 200, description = "Gauges", body = String, content_type = "text/plain"),
))]
async fn metrics(State(api): State<Context>) -> Response {
    let (sockets, users) = (api.hub.count(), api.chat.count_online());
    let text = format!(
        "# HELP tidings_sockets Connected sockets.\n# TYPE tidings_sockets gauge\ntidings_sockets {sockets}\n\
         # HELP tidings_users_online Users who are online.\n# TYPE tidings_users_online gauge\ntidings_users_online {users}\n"
    );
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
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
        if let Self::Internal(cause) = &self {
            tracing::error!(%cause, "a request failed");
        }
        let mut response = (wire::error::status(&self), Json(wire::error::body(&self))).into_response();
        if let Some(seconds) = wire::error::retry_after(&self) {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// The frontends call `.map` on whatever a list route answers: a JSON object leaves the user a white page. A refused browser gets the status
/// with an empty list, and the reason in headers.
async fn empty_list_for_browsers(request: Request, next: Next) -> Response {
    let is_browser = request.headers().contains_key(header::ORIGIN) && request.method() == Method::GET;
    let mut response = next.run(request).await;
    let Some(error) = response.extensions_mut().remove::<Error>().filter(|_| is_browser) else { return response };
    let (mut parts, _) = response.into_parts();
    let sentence: String = error.to_string().chars().filter(|c| c.is_ascii() && !c.is_control()).collect();
    if let Ok(sentence) = HeaderValue::from_str(&sentence) {
        parts.headers.insert("x-error", sentence);
    }
    parts.headers.insert("x-error-code", HeaderValue::from_static(wire::error::code(&error)));
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, axum::body::Body::from("[]"))
}

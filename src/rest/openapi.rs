//! The OpenAPI document of the REST interface, and the page that shows it. Operations and shapes stand at the handlers and in `wire`; here is
//! what they have in common: how they refuse, and the token.

use std::{collections::BTreeMap, time::Duration};

use axum::{
    Router,
    http::{HeaderValue, header::CONTENT_SECURITY_POLICY},
};
use serde_json::{Map, Value, json};
use tower_http::set_header::SetResponseHeaderLayer;
use utoipa::OpenApi;
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::{accounts, admin, conversations, health, support};
use crate::error::Error;
use crate::socket::Context;
use crate::wire;

#[derive(OpenApi)]
#[openapi(
    info(description = include_str!("openapi.md"), license(name = "MIT", identifier = "MIT")),
    paths(
        conversations::list, conversations::open, conversations::messages, conversations::mark_read, conversations::unread_count,
        support::list_own, support::create, support::details, support::list_all, support::respond, support::change,
        admin::ban, admin::unban,
        accounts::register, accounts::login_traveller, accounts::login_agency, accounts::me, conversations::search_users,
        health::root, health::healthz, health::readyz, health::metrics,
    ),
    tags(
        (name = "conversations", description = "Direct messages of two users"),
        (name = "support", description = "Tickets of the caller"),
        (name = "admins", description = "For callers whose token has an admin role"),
        (name = "accounts", description = "Who the caller is, and whom there is to talk to"),
        (name = "operation", description = "For those who run the server"),
    ),
    security(("token" = [])),
)]
struct Annotated;

/// The page fetches nothing from elsewhere.
const ONLY_FROM_HERE: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:";

/// Where the document and its page are. A legacy backend may have a `/docs` of its own, so in front of one they keep to our own tree.
pub fn routes(accounts: bool, metrics: bool, before_legacy: bool) -> Router<Context> {
    let place = if before_legacy { "/api/messaging" } else { "" };
    let address = format!("{place}/openapi.json");
    // The library's page has a badge that asks a validator on the web.
    let config = Config::new([address.clone()]).validator_url("none").try_it_out_enabled(true);
    let page = SwaggerUi::new(format!("{place}/docs")).external_url_unchecked(address, document(accounts, metrics)).config(config);
    let policy = SetResponseHeaderLayer::overriding(CONTENT_SECURITY_POLICY, HeaderValue::from_static(ONLY_FROM_HERE));
    Router::from(page).layer(policy)
}

/// The OpenAPI document, with what is served here: perhaps no accounts, and metrics elsewhere.
pub fn document(accounts: bool, metrics: bool) -> Value {
    let mut document = json!(Annotated::openapi());
    document["components"]["securitySchemes"] = json!({"token": {
        "type": "http", "scheme": "bearer", "bearerFormat": "JWT",
        "description": "Signed with HS256. Claims: `id` (or `userId`, or `sub`), `role`, and `exp`.",
    }});
    let refusals = Refusals::new();
    document["components"]["schemas"]["Error"] = refusals.schema();
    let list_all = document["paths"]["/api/messaging/support/tickets/admin/all"].clone();
    document["paths"]["/api/messaging/support/admin/tickets"] = list_all;
    let Some(paths) = document["paths"].as_object_mut() else { return document };
    if !accounts {
        paths.retain(|path, _| !path.starts_with("/api/auth/") && !path.starts_with("/api/user/"));
    }
    if !metrics {
        paths.remove("/metrics");
    }
    for (path, item) in paths {
        for (method, operation) in item.as_object_mut().into_iter().flatten() {
            // An operation may have two methods, or two paths.
            operation["operationId"] = json!(format!("{method}{}", path.replace(['/', '-', '{', '}'], "_")));
            if path.starts_with("/api/") {
                refusals.complete(method, operation);
            }
        }
    }
    document
}

/// How requests are refused: for each status the codes, each with an example.
struct Refusals(BTreeMap<u16, Map<String, Value>>);

impl Refusals {
    fn new() -> Self {
        let mut by_status = BTreeMap::<u16, Map<String, Value>>::new();
        for error in [
            Error::invalid("limit must be a number from 1 to 1000"),
            Error::EmptyMessage,
            Error::MessageTooLong(10_000),
            Error::Unauthorized("Authentication token is required"),
            Error::TokenExpired,
            Error::Forbidden("You are not part of this conversation"),
            Error::NotFound("No such id"),
            Error::Conflict("Email is already registered"),
            Error::TicketClosed,
            Error::TooLarge,
            Error::UnsupportedMediaType,
            Error::RateLimited { retry_after: Duration::from_millis(1200) },
            Error::Unavailable,
            Error::internal(""),
        ] {
            let example = json!({"value": wire::error::body(&error)});
            by_status.entry(wire::error::status(&error).as_u16()).or_default().insert(wire::error::code(&error).into(), example);
        }
        Self(by_status)
    }

    fn schema(&self) -> Value {
        let codes: Vec<&String> = self.0.values().flat_map(Map::keys).collect();
        json!({
            "type": "object",
            "description": "A refusal; `error` and `message` hold the same sentence for people, `code` is for programs.",
            "required": ["error", "message", "code"],
            "properties": {
                "error": {"type": "string"},
                "message": {"type": "string"},
                "code": {"type": "string", "enum": codes},
                "retryAfterMs": {"type": "integer", "minimum": 1, "description": "With `rate_limited`: when to try again"},
            },
        })
    }

    /// Adds to an operation how it refuses, which follows from what it takes.
    fn complete(&self, method: &str, operation: &mut Value) {
        let is_public = operation["security"] == json!([{}]);
        let places: Vec<&str> = operation["parameters"].as_array().into_iter().flatten().filter_map(|p| p["in"].as_str()).collect();
        let (has_id, has_query, has_body) = (places.contains(&"path"), places.contains(&"query"), !operation["requestBody"].is_null());
        let is_list = method == "get" && is_list(&operation["responses"]["200"]["content"]["application/json"]["schema"]);
        let Some(responses) = operation["responses"].as_object_mut() else { return };
        for (status, applies) in [
            (400, has_query || has_body),
            (401, !is_public),
            (403, !is_public),
            (404, has_id),
            (413, has_body),
            (415, has_body),
            (429, true),
            (500, true),
            (503, true),
        ] {
            if applies {
                responses.entry(status.to_string()).or_insert(json!({}));
            }
        }
        for (status, response) in responses {
            let Some(examples) = status.parse().ok().and_then(|status| self.0.get(&status)) else { continue };
            let codes: Vec<String> = examples.keys().map(|code| format!("`{code}`")).collect();
            if response["description"].is_null() {
                response["description"] = json!(codes.join(" or "));
            }
            let error = json!({"$ref": "#/components/schemas/Error"});
            let nothing = json!({"type": "array", "maxItems": 0, "description": "For a request with an `Origin`"});
            let schema = if is_list { json!({"oneOf": [error, nothing]}) } else { error };
            response["content"] = json!({"application/json": {"schema": schema, "examples": examples}});
            let text = |description: &str| json!({"schema": {"type": "string"}, "description": description});
            let mut headers = Map::new();
            if ["429", "503"].contains(&status.as_str()) {
                headers.insert("Retry-After".into(), json!({"schema": {"type": "integer"}, "description": "Seconds", "required": true}));
            }
            if is_list {
                headers.insert("X-Error".into(), text("The sentence, when the body is `[]`"));
                headers.insert("X-Error-Code".into(), text("The code, when the body is `[]`"));
            }
            response["headers"] = json!(headers);
        }
    }
}

/// Whether an answer is an array, and so an empty one when a browser is refused.
fn is_list(schema: &Value) -> bool {
    schema["type"] == "array" || schema["$ref"] == "#/components/schemas/History"
}

//! Holds every answer of the REST interface against the OpenAPI document: path, method, status, headers, content type and schema.

use std::sync::LazyLock;

use reqwest::Method;
use serde_json::{Value, json};

use super::{Answer, schema::Schemas};

/// The document of a server with all its routes.
pub static OPENAPI: LazyLock<Schemas> = LazyLock::new(|| Schemas::new(tidings::app::openapi(true, true)));

/// The documented path that a request's path is one of.
fn documented(path: &str) -> Option<(&'static str, &'static Value)> {
    let fits = |template: &str| {
        let (mut wanted, mut given) = (template.split('/'), path.split('/'));
        wanted.by_ref().zip(given.by_ref()).all(|(wanted, given)| wanted.starts_with('{') || wanted == given)
            && template.split('/').count() == path.split('/').count()
    };
    let paths = OPENAPI.document["paths"].as_object().expect("the document has paths");
    let exact = paths.get_key_value(path);
    exact.or_else(|| paths.iter().find(|(template, _)| fits(template))).map(|(template, item)| (template.as_str(), item))
}

/// Panics when the answer is not as documented.
#[track_caller]
pub fn check(method: &Method, path: &str, answer: &Answer) {
    let Some((template, item)) = documented(path) else {
        let is_ours = path.starts_with("/api/messaging");
        assert!(!is_ours || answer.status == 404, "{method} {path} is not in the OpenAPI document: {answer:?}");
        return;
    };
    // A preflight is the business of CORS, and a head that is too large that of HTTP: it is refused before there is a route.
    if method == Method::OPTIONS || answer.status == 431 {
        return;
    }
    let name = if method == Method::HEAD { "get".to_owned() } else { method.as_str().to_lowercase() };
    let operation = &item[&name];
    if operation.is_null() {
        assert_eq!((answer.status, &answer.body["code"]), (405, &json!("method_not_allowed")), "{method} {template} is not documented");
        return;
    }
    let response = &operation["responses"][answer.status.to_string()];
    assert!(!response.is_null(), "{method} {template} is documented without {}: {answer:?}", answer.status);
    for (header, description) in response["headers"].as_object().into_iter().flatten() {
        let required = description["required"] == true;
        assert!(!required || answer.header(header).is_some(), "{method} {template} came without {header}: {answer:?}");
    }
    let mime = answer.header("content-type").unwrap_or_default().split(';').next().unwrap_or_default();
    let content = &response["content"][mime];
    assert!(!content.is_null(), "{method} {template} is documented without {mime:?}: {answer:?}");
    if method != Method::HEAD && mime == "application/json" {
        let fault = OPENAPI.fault(&content["schema"], &answer.body);
        assert!(fault.is_none(), "{method} {template} {} is not as documented: {}", answer.status, fault.unwrap_or_default());
    }
}

//! The OpenAPI document: it names every route and every code, and is served with its page. That all answers are as it says is checked by
//! `support::rest_document` wherever a test makes a request.

use std::collections::BTreeSet;

use serde_json::json;

use crate::readme;
use crate::support::{TestApp, rest_document::OPENAPI};

#[test]
fn every_route_is_in_the_document_and_no_other() {
    let paths = OPENAPI.document["paths"].as_object().expect("paths");
    let documented: BTreeSet<_> = paths
        .iter()
        .flat_map(|(path, item)| item.as_object().expect("operations").keys().map(move |method| (method.to_uppercase(), path.clone())))
        .collect();
    let routed: BTreeSet<_> = readme::routes().into_iter().map(|(method, path)| (method.to_owned(), path)).collect();
    assert_eq!(documented, routed);
}

#[test]
fn every_code_is_in_the_document_and_no_other() {
    let code = readme::code("src/wire/error.rs");
    let (_, arms) = code.split_once("pub fn code").expect("the codes are there");
    let arms = arms.split("\n}").next().unwrap_or_default();
    let known: BTreeSet<_> = readme::literals(arms).into_iter().map(|(_, code, _)| code).collect();
    let documented = OPENAPI.document["components"]["schemas"]["Error"]["properties"]["code"]["enum"].as_array().expect("codes");
    assert_eq!(documented.iter().filter_map(|code| code.as_str()).collect::<BTreeSet<_>>(), known);
}

#[test]
fn every_operation_says_what_it_does_and_who_may() {
    for (path, item) in OPENAPI.document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            assert!(operation["summary"].as_str().is_some_and(|text| text.len() > 8), "{method} {path} says nothing");
            let is_public = operation["security"] == json!([{}]);
            let refuses_strangers = operation["responses"].get("401").is_some();
            assert!(is_public || refuses_strangers, "{method} {path}");
        }
    }
    assert_eq!(OPENAPI.document["openapi"], "3.1.0");
    assert_eq!(OPENAPI.document["security"], json!([{"token": []}]));
    assert_eq!(OPENAPI.document["components"]["securitySchemes"]["token"]["scheme"], "bearer");
}

#[tokio::test]
async fn document_and_page_are_served_and_in_front_of_a_legacy_backend_leave_it_its_own() {
    let app = TestApp::start().await;
    let request = |path| app.request("GET", path);
    assert_eq!(app.answer(request("/openapi.json")).await.ok(), OPENAPI.document);
    assert_eq!(app.answer(request("/docs")).await.status, 200);

    let app = TestApp::with("accounts = false\nlegacy_upstream = \"http://127.0.0.1:9\"").await;
    let request = |path| app.request("GET", path);
    assert_eq!(app.answer(request("/openapi.json")).await.status, 502);
    assert_eq!(app.answer(request("/docs")).await.status, 502);
    let response = request("/api/messaging/openapi.json").send().await.expect("the server answers");
    let document: serde_json::Value = serde_json::from_str(&response.text().await.expect("text")).expect("JSON");
    assert!(document["paths"]["/api/auth/me"].is_null() && !document["paths"]["/api/messaging/unread-count"].is_null());
    assert_eq!(request("/api/messaging/docs").send().await.expect("the server answers").status(), 200);
}

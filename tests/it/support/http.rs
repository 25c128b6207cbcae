//! The REST client of the tests, which holds every answer against the OpenAPI document.

use reqwest::header::HeaderMap;
use serde_json::Value;

use super::{TestApp, User, rest_document};

/// An answer, whole.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    /// The JSON; text that is none as a string.
    pub body: Value,
}

impl Answer {
    /// A header as text, or nothing.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("a header is text"))
    }

    /// Asserts a refusal in the form that every error has.
    #[track_caller]
    pub fn refused(&self, status: u16, code: &str) {
        assert_eq!((self.status, self.body["code"].as_str()), (status, Some(code)), "{self:?}");
        let sentence = self.body["error"].as_str().unwrap_or_default();
        assert!(!sentence.is_empty() && self.body["message"] == sentence, "an error says its sentence twice: {self:?}");
    }

    /// The body of an answer that must be 200.
    #[track_caller]
    pub fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        self.body
    }

    /// The body as an array.
    #[track_caller]
    pub fn rows(self) -> Vec<Value> {
        match self.ok() {
            Value::Array(rows) => rows,
            other => panic!("{other} is not an array"),
        }
    }
}

impl TestApp {
    /// A request to be completed and given to [`answer`](Self::answer).
    pub fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let method = method.parse().expect("a method");
        self.http.request(method, format!("http://{}{path}", self.address)).timeout(super::DEADLINE)
    }

    /// Sends a request.
    pub async fn answer(&self, request: reqwest::RequestBuilder) -> Answer {
        let request = request.build().expect("a request");
        let (method, path) = (request.method().clone(), request.url().path().to_owned());
        let response = self.http.execute(request).await.expect("the server answers");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.expect("the answer is text");
        let answer = Answer { status, headers, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) };
        // Without built-in accounts their routes are another server's.
        if self.settings.accounts || path.starts_with("/api/messaging") {
            rest_document::check(&method, &path, &answer);
        }
        answer
    }

    /// The value of a sample of `/metrics`.
    pub async fn metric(&self, sample: &str) -> f64 {
        let text = self.answer(self.request("GET", "/metrics")).await.ok();
        let text = text.as_str().expect("it is text");
        let value = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{sample} is not in {text}"))
    }

    /// `GET` as a user.
    pub async fn get(&self, path: &str, user: &User) -> Answer {
        self.answer(self.request("GET", path).bearer_auth(&user.token)).await
    }

    /// `POST` as a user.
    pub async fn post(&self, path: &str, user: &User, body: Value) -> Answer {
        self.answer(self.request("POST", path).bearer_auth(&user.token).json(&body)).await
    }

    /// `PUT` as a user.
    pub async fn put(&self, path: &str, user: &User, body: Value) -> Answer {
        self.answer(self.request("PUT", path).bearer_auth(&user.token).json(&body)).await
    }
}

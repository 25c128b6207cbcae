//! Tokens for the users of a run: HS256 over the secret that the servers are given. Nothing is verified here.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The secret of every server of a run.
pub const SECRET: &str = "the secret of a benchmark, worth nothing elsewhere";

/// A token of a user, good until the year 2100.
pub fn sign(user: i64) -> String {
    let head = URL_SAFE_NO_PAD.encode(br#"{"alg":"HS256","typ":"JWT"}"#);
    let claims = URL_SAFE_NO_PAD.encode(format!(r#"{{"id":{user},"role":"traveller","iat":1700000000,"exp":4102444800}}"#));
    let text = format!("{head}.{claims}");
    #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("any key will do");
    mac.update(text.as_bytes());
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

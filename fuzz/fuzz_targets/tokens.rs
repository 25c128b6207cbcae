//! Who a client says it is: CONNECT packets, `Authorization` headers, tokens that nobody signed and claims that somebody did.

#![no_main]

use std::{sync::LazyLock, time::Duration};

use axum::http::{HeaderMap, HeaderValue, header};
use jsonwebtoken::{Algorithm, EncodingKey, crypto::sign};
use libfuzzer_sys::fuzz_target;
use tidings::{auth::Tokens, origin::bearer, wire::handshake::Handshake};

const SECRET: &str = "a secret";
static TOKENS: LazyLock<Tokens> = LazyLock::new(|| Tokens::new(SECRET, Duration::ZERO, true, &["admin".to_owned()]));

fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let digits = |chunk: &[u8]| {
        let bits = chunk.iter().chain([0, 0].iter()).take(3).fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte));
        (0..=chunk.len()).map(move |n| char::from(DIGITS[bits >> (18 - 6 * n) & 63])).collect::<Vec<_>>()
    };
    bytes.chunks(3).flat_map(digits).collect()
}

/// A token whose signature is right, whatever its header and claims say.
fn signed(header: &[u8], claims: &[u8]) -> String {
    let text = format!("{}.{}", base64url(header), base64url(claims));
    let signature = sign(text.as_bytes(), &EncodingKey::from_secret(SECRET.as_bytes()), Algorithm::HS256).expect("signs");
    format!("{text}.{signature}")
}

/// The first digit says what the rest is.
fuzz_target!(|data: &[u8]| {
    let Some((kind, rest)) = data.split_first() else { return };
    match kind % 4 {
        0 => {
            if let Ok(claims) = TOKENS.verify(&signed(br#"{"alg":"HS256","typ":"JWT"}"#, rest)) {
                assert!(claims.user.0 > 0 && claims.expires_at.is_some());
            }
        }
        1 => {
            let at = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
            TOKENS.verify(&signed(&rest[..at], rest.get(at + 1..).unwrap_or_default())).ok();
        }
        2 => {
            // Nobody guesses a signature.
            assert!(TOKENS.verify(&String::from_utf8_lossy(rest)).is_err());
        }
        _ => {
            let mut headers = HeaderMap::new();
            if let Ok(value) = HeaderValue::from_bytes(rest) {
                headers.insert(header::AUTHORIZATION, value);
            }
            assert!(bearer(&headers).is_none_or(|token| TOKENS.verify(token).is_err()));
            let handshake = Handshake::from(serde_json::from_slice::<serde_json::Map<_, _>>(rest).unwrap_or_default());
            assert!(!matches!(handshake.token(&headers), Ok(Some(token)) if TOKENS.verify(token).is_ok()));
        }
    }
});

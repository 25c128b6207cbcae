//! Who is calling: tokens, and the actor that a good token and the users table make. No transport and no route lives here.

use std::{collections::HashSet, sync::Arc, time::Duration};

use chrono::DateTime;
use entity::UserId;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, errors::ErrorKind};
use serde::{Deserialize, Serialize};

use crate::clock::{self, Timestamp};
use crate::error::{Error, Result};

/// The caller, as the verified token and the database say; never as a payload claims.
#[derive(Clone, Debug)]
pub struct Actor {
    /// The user.
    pub id: UserId,
    /// The username, from the database.
    pub name: Arc<str>,
    /// Whether the token's role is one of the configured admin roles.
    pub is_admin: bool,
    /// When the token ends.
    pub expires_at: Option<Timestamp>,
}

/// What a verified token says.
#[derive(Clone, Debug)]
pub struct Claims {
    /// The user, who may have been removed since.
    pub user: UserId,
    /// Whether the role is one of the configured admin roles.
    pub is_admin: bool,
    /// When the token ends.
    pub expires_at: Option<Timestamp>,
}

/// Signs and verifies tokens: HS256 with one shared secret, and nothing else.
pub struct Tokens {
    encoding: EncodingKey,
    decoding: DecodingKey,
    validation: Validation,
    admin_roles: HashSet<String>,
}

/// The longest token that is looked at.
const MAX_TOKEN_BYTES: usize = 8 * 1024;

impl Tokens {
    /// Tokens under `secret`; `leeway` forgives that much difference between clocks.
    pub fn new(secret: &str, leeway: Duration, require_expiry: bool, admin_roles: &[String]) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = leeway.as_secs();
        // A token ends at `exp`, not a second later.
        validation.reject_tokens_expiring_in_less_than = 1;
        validation.validate_aud = false;
        validation.validate_nbf = true;
        if !require_expiry {
            validation.required_spec_claims.clear();
        }
        Self {
            encoding: EncodingKey::from_secret(secret.as_bytes()),
            decoding: DecodingKey::from_secret(secret.as_bytes()),
            validation,
            admin_roles: admin_roles.iter().cloned().collect(),
        }
    }

    /// The claims of a token that is genuine and not expired.
    pub fn verify(&self, token: &str) -> Result<Claims> {
        const NOT_VALID: Error = Error::Unauthorized("Token is not valid");
        if token.len() > MAX_TOKEN_BYTES {
            return Err(NOT_VALID);
        }
        let decoded = jsonwebtoken::decode::<RawClaims>(token, &self.decoding, &self.validation).map_err(|e| match e.kind() {
            ErrorKind::ExpiredSignature => Error::TokenExpired,
            _ => NOT_VALID,
        })?;
        // Who does not understand what a token calls critical must refuse it (RFC 7515, 4.1.11), and nothing is understood here.
        if decoded.header.crit.is_some() {
            return Err(NOT_VALID);
        }
        let raw = decoded.claims;
        let user = [&raw.id, &raw.user_id, &raw.sub].into_iter().flatten().next().and_then(IdClaim::user).ok_or(NOT_VALID)?;
        let expires_at = match raw.exp {
            Some(exp) => Some(DateTime::from_timestamp(exp as i64, 0).ok_or(NOT_VALID)?),
            None => None,
        };
        Ok(Claims { user, is_admin: raw.role.is_some_and(|r| self.admin_roles.contains(&r)), expires_at })
    }

    /// A token for `user` that lives for `lifetime`.
    pub fn sign(&self, user: UserId, role: Option<&str>, lifetime: Duration) -> Result<String> {
        let iat = clock::now().timestamp();
        let exp = iat.saturating_add(i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX));
        let claims = NewClaims { id: user, role, iat, exp };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.encoding).map_err(Error::internal)
    }
}

/// `N` random bytes that nobody can guess, in hexadecimal.
pub fn random_hex<const N: usize>() -> String {
    let mut bytes = [0; N];
    #[expect(clippy::expect_used, reason = "a system without randomness must not go on")]
    getrandom::fill(&mut bytes).expect("the system gives random bytes");
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The legacy backend writes `id`; other issuers `userId` or the standard's `sub`.
#[derive(Deserialize)]
struct RawClaims {
    id: Option<IdClaim>,
    #[serde(rename = "userId")]
    user_id: Option<IdClaim>,
    sub: Option<IdClaim>,
    role: Option<String>,
    exp: Option<f64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum IdClaim {
    Number(i64),
    Text(String),
}

impl IdClaim {
    fn user(&self) -> Option<UserId> {
        let id = match self {
            Self::Number(n) => *n,
            Self::Text(t) => t.parse().ok()?,
        };
        (id > 0).then_some(UserId(id))
    }
}

#[derive(Serialize)]
struct NewClaims<'a> {
    id: UserId,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'a str>,
    iat: i64,
    exp: i64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn tokens() -> Tokens {
        Tokens::new("a secret", Duration::ZERO, true, &["admin".into()])
    }

    fn signed(alg: Algorithm, secret: &str, claims: Value) -> String {
        jsonwebtoken::encode(&Header::new(alg), &claims, &EncodingKey::from_secret(secret.as_bytes())).expect("signs")
    }

    #[test]
    fn a_token_says_who_and_whether_admin() {
        let exp = clock::now().timestamp() + 60;
        for claims in [json!({"id": 7, "exp": exp}), json!({"userId": "7", "exp": exp}), json!({"sub": "7", "exp": exp, "role": "admin"})] {
            let is_admin = claims.get("role").is_some();
            let got = tokens().verify(&signed(Algorithm::HS256, "a secret", claims)).expect("is valid");
            assert_eq!((got.user, got.is_admin), (UserId(7), is_admin));
        }
    }

    #[test]
    fn what_proves_nothing_is_refused() {
        let exp = clock::now().timestamp() + 60;
        let good = json!({"id": 7, "exp": exp});
        let unsigned = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.eyJpZCI6NywiZXhwIjo5OTk5OTk5OTk5fQ.".to_owned();
        for token in [
            signed(Algorithm::HS256, "another secret", good.clone()),
            signed(Algorithm::HS512, "a secret", good.clone()),
            signed(Algorithm::HS256, "a secret", json!({"id": 7})),
            signed(Algorithm::HS256, "a secret", json!({"id": -7, "exp": exp})),
            signed(Algorithm::HS256, "a secret", json!({"id": {"a": 1}, "exp": exp})),
            signed(Algorithm::HS256, "a secret", json!({"id": 7, "exp": exp, "nbf": exp})),
            unsigned,
            "x".repeat(100_000),
        ] {
            assert!(matches!(tokens().verify(&token), Err(Error::Unauthorized(_))));
        }
        let old = signed(Algorithm::HS256, "a secret", json!({"id": 7, "exp": exp - 120}));
        assert!(matches!(tokens().verify(&old), Err(Error::TokenExpired)));
    }
}

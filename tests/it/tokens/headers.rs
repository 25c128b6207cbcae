//! What the header, the form and the size of a token may try.

use jsonwebtoken::Algorithm;
use serde_json::json;

use super::{HS256, assert_believed, assert_refused, base64url, by_polling, scene, signed, signed_by};
use crate::support::SECRET;

#[tokio::test]
async fn no_header_talks_the_server_out_of_its_algorithm_or_its_secret() {
    let (app, ann, exp) = scene().await;
    let claims = json!({"id": ann.id, "exp": exp, "role": "admin"}).to_string();
    for none in ["none", "None", "NONE", "nOnE", "", "hs256", "HS256 ", "A256GCM", "dir"] {
        let header = json!({"alg": none, "typ": "JWT"}).to_string();
        let good = signed(&header, &claims);
        let unsigned = format!("{}.", good.rsplit_once('.').expect("three parts").0);
        for token in [&good, &unsigned, &unsigned[..unsigned.len() - 1], &format!("{unsigned}AA")] {
            assert_refused(&app, none, token).await;
        }
    }
    for header in [
        "{}",
        "[]",
        "\"HS256\"",
        "null",
        "",
        r#"{"typ":"JWT"}"#,
        r#"{"alg":null}"#,
        r#"{"alg":256}"#,
        r#"{"alg":["HS256"]}"#,
        r#"{"alg":{"HS256":1}}"#,
        r#"{"Alg":"HS256"}"#,
        r#"{"alg":"none","alg":"HS256"}"#,
        r#"{"alg":"HS256","alg":"none"}"#,
        r#"{"alg":"HS256","crit":["b64"],"b64":false}"#,
        r#"{"alg":"HS256","crit":["unheard-of"],"unheard-of":1}"#,
        r#"{"alg":"HS256"}}"#,
    ] {
        assert_refused(&app, header, &signed(header, &claims)).await;
    }
    // The secret under another algorithm, as if it were a public key, and signatures by keys that the header would like to choose.
    for algorithm in ["HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA"] {
        assert_refused(&app, algorithm, &signed(&json!({"alg": algorithm}).to_string(), &claims)).await;
    }
    for (algorithm, name) in [(Algorithm::HS384, "HS384"), (Algorithm::HS512, "HS512"), (Algorithm::HS512, "HS256")] {
        let header = json!({"alg": name}).to_string();
        assert_refused(&app, name, &signed_by(SECRET.as_bytes(), algorithm, &header, claims.as_bytes())).await;
    }
    let own_key = json!({"kty": "oct", "k": base64url(b"mine"), "alg": "HS256"});
    for (key, header) in [
        (&b""[..], json!({"alg": "HS256", "kid": "/dev/null"})),
        (b"", json!({"alg": "HS256", "kid": "../../../../dev/null"})),
        (b"mine", json!({"alg": "HS256", "kid": "x' UNION SELECT 'mine"})),
        (b"mine", json!({"alg": "HS256", "kid": "| echo mine"})),
        (b"mine", json!({"alg": "HS256", "jwk": own_key})),
        (b"mine", json!({"alg": "HS256", "jku": "http://127.0.0.1:1/keys"})),
        (b"mine", json!({"alg": "HS256", "x5u": "http://127.0.0.1:1/chain"})),
        (b"mine", json!({"alg": "HS256", "x5c": [base64url(b"mine")]})),
        (b"the secret of the test", json!({"alg": "HS256"})),
        (b"the secret of the tests\n", json!({"alg": "HS256"})),
        (b"secret", json!({"alg": "HS256"})),
    ] {
        let header = header.to_string();
        assert_refused(&app, &header, &signed_by(key, Algorithm::HS256, &header, claims.as_bytes())).await;
    }
}

#[tokio::test]
async fn a_token_has_one_spelling() {
    let (app, ann, exp) = scene().await;
    let good = signed(HS256, &json!({"id": ann.id, "exp": exp}).to_string());
    assert_believed(&app, &good).await;
    let [header, claims, signature] = good.split('.').collect::<Vec<_>>()[..] else { panic!("{good} has three parts") };
    // The last digit of a signature carries four bits; the two below them are free to choose, and must be zero.
    let (most, last) = signature.split_at(signature.len() - 1);
    const DIGITS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let at = DIGITS.find(last).expect("a digit");
    for spare in 1..4 {
        assert_refused(&app, "another last digit", &format!("{header}.{claims}.{most}{}", &DIGITS[at + spare..=at + spare])).await;
    }
    for (what, token) in [
        ("padding", format!("{header}.{claims}.{signature}=")),
        ("padding everywhere", format!("{header}=.{claims}=.{signature}=")),
        ("the other alphabet", format!("{header}.{claims}.+/{}", &signature[2..])),
        ("two parts", format!("{header}.{claims}")),
        ("one part", header.to_owned()),
        ("four parts", format!("{good}.{signature}")),
        ("five parts", format!("{header}..{claims}.{signature}.{signature}")),
        ("no header", format!(".{claims}.{signature}")),
        ("no claims", format!("{header}..{signature}")),
        ("dots", "..".to_owned()),
        ("a blank inside", format!("{header}.{claims}. {signature}")),
        ("a tab at the end", format!("{good}\t.")),
        ("a line end inside", format!("{header}.{claims}\n.{signature}")),
        ("a NUL at the end", format!("{good}\0")),
        ("another NUL", format!("{header}.{claims}.\0{signature}")),
        ("a letter that looks like another", good.replacen('e', "е", 1)),
        ("twice the word", format!("Bearer Bearer {good}")),
        ("twice the token", format!("{good} {good}")),
        ("two in a list", format!("{good},{good}")),
        ("half a signature", good[..good.len() - 22].to_owned()),
        ("too long, and signed", signed(HS256, &json!({"id": ann.id, "exp": exp, "more": "x".repeat(10_000)}).to_string())),
    ] {
        assert_refused(&app, what, &token).await;
    }
}

#[tokio::test]
async fn a_token_of_a_megabyte_costs_its_sender_the_answer() {
    let (app, ann, exp) = scene().await;
    let claims = |size: usize| json!({"id": ann.id, "exp": exp, "more": "x".repeat(size)}).to_string();
    assert_refused(&app, "nearly a megabyte in a packet", &"x".repeat(3)).await;
    let huge = signed(HS256, &claims(700_000));
    let refusal = app.connect(json!({"token": huge}), &[]).await.err();
    assert_eq!(refusal.as_deref(), Some("Token is not valid"));
    assert_eq!(by_polling(&app, &huge).await.as_deref(), Some("Token is not valid"));
    let header = format!("Bearer {}", signed(HS256, &claims(750_000)));
    for (method, path) in
        [("GET", "/api/auth/me"), ("POST", "/api/messaging/conversations"), ("GET", "/socket.io/?EIO=4&transport=polling")]
    {
        // The server may close the connection before it has read all of it.
        if let Ok(answer) = app.request(method, path).header("authorization", &header).send().await {
            assert_eq!(answer.status(), 431, "{method} {path}");
        }
    }
    app.get("/api/auth/me", &ann).await.ok();
}

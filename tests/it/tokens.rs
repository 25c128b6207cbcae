//! Attacks on tokens: each is tried over REST, in the packet and in the header of a websocket, and by polling. None may make anybody.

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::{Value, json};

use crate::support::{SECRET, TestApp, User};

const HS256: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let digits = |chunk: &[u8]| {
        let bits = chunk.iter().chain(&[0, 0]).take(3).fold(0, |bits, byte| bits << 8 | usize::from(*byte));
        (0..=chunk.len()).map(move |n| char::from(DIGITS[bits >> (18 - 6 * n) & 63])).collect::<Vec<_>>()
    };
    bytes.chunks(3).flat_map(digits).collect()
}

fn signed_by(key: &[u8], algorithm: Algorithm, header: &str, claims: &[u8]) -> String {
    let text = format!("{}.{}", base64url(header.as_bytes()), base64url(claims));
    let signature = crypto::sign(text.as_bytes(), &EncodingKey::from_secret(key), algorithm).expect("signs");
    format!("{text}.{signature}")
}

/// A token whose signature is right, whatever it says.
fn signed(header: &str, claims: &str) -> String {
    signed_by(SECRET.as_bytes(), Algorithm::HS256, header, claims.as_bytes())
}

fn now() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "a client has a clock of its own")]
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// What a token may be tried as, and the sentence it is refused with; nothing when it was believed.
async fn refusals(app: &TestApp, token: &str) -> Vec<(&'static str, Option<String>)> {
    let mut refusals = Vec::new();
    let bearer = format!("Bearer {token}");
    if bearer.is_ascii() && reqwest::header::HeaderValue::from_str(&bearer).is_ok() {
        let answer = app.answer(app.request("GET", "/api/auth/me").header("authorization", &bearer)).await;
        let sentence = answer.body["error"].as_str().map(str::to_owned);
        assert!((answer.status == 401) == sentence.is_some(), "{token:.80}: {answer:?}");
        assert!(answer.status != 401 || ["unauthorized", "token_expired"].contains(&answer.body["code"].as_str().unwrap_or_default()));
        refusals.push(("REST", sentence));
        refusals.push(("the header of a websocket", app.connect(json!({}), &[("authorization", &bearer)]).await.err()));
    }
    refusals.push(("a websocket", app.connect(json!({"token": token}), &[]).await.err()));
    refusals.push(("polling", by_polling(app, token).await));
    refusals
}

/// The sentence with which a polling client is refused.
async fn by_polling(app: &TestApp, token: &str) -> Option<String> {
    let path = "/socket.io/?EIO=4&transport=polling";
    let poll = async |path: &str| match app.answer(app.request("GET", path)).await.body {
        Value::String(packets) => packets,
        ping => ping.to_string(),
    };
    let open: Value = poll(path).await.strip_prefix('0').and_then(|text| serde_json::from_str(text).ok()).expect("opens");
    let path = format!("{path}&sid={}", open["sid"].as_str().expect("a session"));
    app.answer(app.request("POST", &path).body(format!("40{}", json!({"token": token})))).await;
    loop {
        // The library's first ping may come before or with it.
        let packets = poll(&path).await;
        let Some(packet) = packets.split('\u{1e}').find(|packet| *packet != "2") else { continue };
        assert!(packet.starts_with("40") || packet.starts_with("44"), "{token:.80}: {packet}");
        let refusal = packet.strip_prefix("44").map(|text| serde_json::from_str::<Value>(text).expect("JSON"));
        return refusal.map(|refusal| refusal["message"].as_str().unwrap_or_default().to_owned());
    }
}

async fn assert_refused(app: &TestApp, what: &str, token: &str) {
    for (by, refusal) in refusals(app, token).await {
        let sentence = refusal.unwrap_or_else(|| panic!("{what} is believed by {by}: {token:.200}"));
        assert!(
            ["Token is not valid", "Token has expired", "User no longer exists"].contains(&sentence.as_str()),
            "{what} by {by}: {sentence}"
        );
    }
}

async fn assert_believed(app: &TestApp, token: &str) {
    for (by, refusal) in refusals(app, token).await {
        assert_eq!(refusal, None, "{token} by {by}");
    }
}

async fn scene() -> (TestApp, User, u64) {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    (app, ann, now() + 3600)
}

#[tokio::test]
async fn a_token_may_say_more_than_it_must() {
    let (app, ann, exp) = scene().await;
    let (id, past) = (ann.id, now() - 60);
    for header in [r#"{"alg":"HS256"}"#, r#"{"alg":"HS256","typ":"at+jwt","kid":"2026-11"}"#, r#"{"kid":"../../etc/passwd","alg":"HS256"}"#]
    {
        assert_believed(&app, &signed(header, &json!({"id": id, "exp": exp}).to_string())).await;
    }
    for claims in [
        json!({"id": id, "exp": exp as f64 + 0.5, "nbf": past, "iat": exp, "aud": "anybody", "iss": ["x"], "role": "traveller"})
            .to_string(),
        json!({"sub": id.to_string(), "exp": exp, "more": {"deep": [[[]]]}}).to_string(),
        format!("{{\"id\":{id},\"exp\":{exp},\"more\":{}{}}}", "[".repeat(1000), "]".repeat(1000)),
        format!(" {{ \"userId\" : {id} , \"\\u0065xp\" : {exp} }} "),
    ] {
        assert_believed(&app, &signed(HS256, &claims)).await;
    }
}

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

#[tokio::test]
async fn claims_that_are_no_claims_make_nobody() {
    let (app, ann, exp) = scene().await;
    let (id, past) = (ann.id, now() - 3600);
    let mut all: Vec<String> = Vec::new();
    for exp in [
        "null".to_owned(),
        "true".to_owned(),
        "[]".to_owned(),
        "{}".to_owned(),
        "\"\"".to_owned(),
        format!("\"{exp}\""),
        format!("[{exp}]"),
        past.to_string(),
        format!("{past}.9"),
        "0".to_owned(),
        "-0".to_owned(),
        "0.0".to_owned(),
        "1".to_owned(),
        "-1".to_owned(),
        format!("-{exp}"),
        "1e-9".to_owned(),
        "-1e300".to_owned(),
        "1e300".to_owned(),
        "1e999".to_owned(),
        "9223372036854775807".to_owned(),
        "9223372036854775808".to_owned(),
        "18446744073709551615".to_owned(),
        "18446744073709551616".to_owned(),
        "NaN".to_owned(),
        "Infinity".to_owned(),
        format!("0{exp}"),
        format!("+{exp}"),
        format!("0x{exp}"),
        format!("{past},\"exp\":{exp}"),
        format!("{exp},\"exp\":{past}"),
        format!("{exp},\"\\u0065xp\":{past}"),
    ] {
        all.push(format!("{{\"id\":{id},\"exp\":{exp}}}"));
    }
    for nbf in [
        exp.to_string(),
        format!("{exp}.5"),
        "\"0\"".to_owned(),
        "true".to_owned(),
        "-1".to_owned(),
        u64::MAX.to_string(),
        "1e300".to_owned(),
    ] {
        all.push(format!("{{\"id\":{id},\"exp\":{exp},\"nbf\":{nbf}}}"));
    }
    for who in [
        "0".to_owned(),
        format!("-{id}"),
        format!("{id}.5"),
        format!("{id}e0"),
        "9007199254740993".to_owned(),
        "9223372036854775808".to_owned(),
        format!("\" {id}\""),
        format!("\"{id} \""),
        format!("\"{id}\\u0000\""),
        format!("\"{id}; DROP TABLE users\""),
        format!("\"{id} OR 1=1\""),
        "\"١\"".to_owned(),
        "\"0x1\"".to_owned(),
        "\"\"".to_owned(),
        "true".to_owned(),
        format!("[{id}]"),
        format!("{{\"id\":{id}}}"),
        "{\"$gt\":0}".to_owned(),
        format!("999999,\"id\":{id}"),
        format!("{id},\"id\":{id}"),
    ] {
        all.push(format!("{{\"id\":{who},\"exp\":{exp}}}"));
    }
    for role in ["[\"admin\"]", "{\"admin\":true}", "true", "1", "\"traveller\",\"role\":\"admin\"", "\"\\ud800\""] {
        all.push(format!("{{\"id\":{id},\"exp\":{exp},\"role\":{role}}}"));
    }
    let good = json!({"id": id, "exp": exp}).to_string();
    for claims in [
        String::new(),
        "null".to_owned(),
        "[]".to_owned(),
        format!("[{good}]"),
        format!("{id}"),
        format!("\"{id}\""),
        "{}".to_owned(),
        json!({"exp": exp}).to_string(),
        json!({"ID": id, "EXP": exp}).to_string(),
        format!("{good}{good}"),
        format!("{good}\0"),
        format!("\u{feff}{good}"),
        format!("{}{good}", "[".repeat(1000)),
        format!("{{\"__proto__\":{good}}}"),
    ] {
        all.push(claims);
    }
    for claims in &all {
        assert_refused(&app, claims, &signed(HS256, claims)).await;
    }
    let not_text =
        [&b"{\"id\":"[..], id.to_string().as_bytes(), b",\"exp\":", exp.to_string().as_bytes(), b",\"role\":\"\xff\xfe\"}"].concat();
    assert_refused(&app, "no UTF-8", &signed_by(SECRET.as_bytes(), Algorithm::HS256, HS256, &not_text)).await;
}

#[tokio::test]
async fn a_token_until_the_end_of_time_does_not_stop_the_watch_over_others() {
    let app = TestApp::with("[auth]\nleeway = \"1s\"").await;
    let ann = app.user("ann").await;
    let last = chrono::DateTime::<chrono::Utc>::MAX_UTC.timestamp();
    let connect = async |exp: i64| {
        let token = signed(HS256, &json!({"id": ann.id, "exp": exp}).to_string());
        app.connect(json!({"token": token}), &[]).await.expect("connects")
    };
    let lasting = connect(last).await;
    let short = connect(now().cast_signed() + 1).await;
    assert_eq!(short.heard("error").await["code"], "token_expired");
    short.disconnected().await;
    lasting.fence().await;
}

#[tokio::test]
async fn only_the_very_role_makes_an_admin() {
    let (app, ann, exp) = scene().await;
    for role in ["Admin", "ADMIN", "admin ", " admin", "admin\0", "admin,traveller", "аdmin", "administrator", ""] {
        let token =
            signed(HS256, &json!({"id": ann.id, "exp": exp, "role": role, "isAdmin": true, "is_admin": 1, "roles": ["admin"]}).to_string());
        assert_believed(&app, &token).await;
        let user = User { token, ..ann.clone() };
        app.get("/api/messaging/support/tickets/admin/all", &user).await.refused(403, "forbidden");
    }
    let admin = User { token: signed(HS256, &json!({"id": ann.id, "exp": exp, "role": "admin"}).to_string()), ..ann };
    app.get("/api/messaging/support/tickets/admin/all", &admin).await.rows();
}

#[tokio::test]
async fn a_token_counts_only_where_the_contract_looks_for_it() {
    let (app, ann, _) = scene().await;
    let me = "/api/auth/me";
    for request in [
        app.request("GET", &format!("{me}?token={0}&access_token={0}&auth[token]={0}", ann.token)),
        app.request("GET", me).header("cookie", format!("token={0}; jwt={0}; Authorization=Bearer {0}", ann.token)),
        app.request("GET", me).header("x-access-token", &ann.token).header("x-auth-token", &ann.token),
        app.request("GET", me).header("proxy-authorization", format!("Bearer {}", ann.token)),
        app.request("GET", me).header("authorization", &ann.token),
        app.request("GET", me).header("authorization", format!("Token {}", ann.token)),
        app.request("GET", me).header("authorization", format!("Basic {}", ann.token)),
        app.request("GET", me).header("authorization", format!("Bearer:{}", ann.token)),
        app.request("GET", me).header("authorization", format!("Bearer\t{}", ann.token)),
        app.request("GET", me).header("authorization", format!("Bearer token=\"{}\"", ann.token)),
        app.request("GET", me).header("authorization", "Bearer nonsense").header("authorization", format!("Bearer {}", ann.token)),
    ] {
        app.answer(request).await.refused(401, "unauthorized");
    }
    for auth in
        [json!({"jwt": ann.token}), json!({"Token": ann.token}), json!({"auth": {"token": ann.token}}), json!([{"token": ann.token}])]
    {
        let guest = app.connect(auth, &[]).await.expect("a guest");
        guest.refused("join-conversation", 1, "unauthorized").await;
    }
    app.answer(app.request("GET", me).header("authorization", format!("bearer  {} ", ann.token))).await.ok();
}

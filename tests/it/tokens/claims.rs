//! What the claims of a token may try.

use jsonwebtoken::Algorithm;
use serde_json::json;

use super::{HS256, assert_believed, assert_refused, now, scene, signed, signed_by};
use crate::support::{SECRET, TestApp, User};

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

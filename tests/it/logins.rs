//! Logins: how often an account and an address may fail, and what work one makes.

use serde_json::{Value, json};

use crate::support::{Answer, ROOMY, TestApp};

const TRAVELLERS: &str = "/api/auth/traveller/login";
const PASSWORD: &str = "a good password";

/// A login from an address that a known proxy names.
async fn login(app: &TestApp, from: &str, email: &str, password: &str) -> Answer {
    let request = app.request("POST", TRAVELLERS).header("x-forwarded-for", from);
    app.answer(request.json(&json!({"email": email, "password": password}))).await
}

/// A user with this e-mail address, whose password is hashed at this cost.
async fn account(app: &TestApp, email: &str, cost: u32) {
    let hash = bcrypt::hash(PASSWORD, cost).expect("a hash");
    app.database
        .run(&format!("INSERT INTO users (username, email, password, role) VALUES ('ann', '{email}', '{hash}', 'traveller')"))
        .await;
}

async fn limited(limits: &str) -> TestApp {
    TestApp::with(&format!("trusted_proxies = ['127.0.0.1']\n[limits]\n{limits}")).await
}

/// Without what differs by the moment.
fn said(answer: &Answer) -> (u16, Value) {
    (answer.status, answer.body["error"].clone())
}

#[tokio::test]
async fn an_account_may_fail_so_often_from_wherever_and_whether_or_not_it_exists() {
    let app = limited("failed_logins = 4").await;
    account(&app, "ann@test.example", 4).await;
    account(&app, "bob@test.example", 4).await;
    let mut transcripts = Vec::new();
    for (n, name) in ["ann", "nobody"].into_iter().enumerate() {
        let spelled = ["@test.example", "@TEST.example", "@te\u{301}st.example ", "@test.Example"].map(|host| format!("{name}{host}"));
        let mut transcript = Vec::new();
        for (m, email) in spelled.iter().enumerate() {
            transcript.push(said(&login(&app, &format!("10.{n}.0.{m}"), email, "wrong").await));
        }
        assert!(transcript.iter().all(|(status, _)| *status == 401), "{transcript:?}");
        let over = login(&app, &format!("10.{n}.1.1"), &spelled[0], PASSWORD).await;
        over.refused(429, "rate_limited");
        let seconds: u64 = over.header("retry-after").and_then(|v| v.parse().ok()).expect("seconds");
        assert!((1..=225).contains(&seconds), "fifteen minutes by four: {over:?}");
        transcript.push(said(&over));
        transcripts.push(transcript);
    }
    assert_eq!(transcripts[0], transcripts[1]);
    assert_eq!(login(&app, "10.0.0.1", "bob@test.example", PASSWORD).await.status, 200, "another account");
    assert_eq!(app.metric("tidings_rate_limited_total{limit=\"failed_logins\"}").await, 2.0);
}

#[tokio::test]
async fn the_users_of_one_address_do_not_lock_each_other_out_by_logging_in() {
    let app = limited("logins = 3\nfailed_logins = 3").await;
    let emails = ["ann@test.example", "bob@test.example", "carl@test.example"];
    for email in emails {
        account(&app, email, 4).await;
    }
    for _ in 0..5 {
        for email in emails {
            assert_eq!(login(&app, "10.0.0.1", email, PASSWORD).await.status, 200);
        }
    }
    let mut failed = 0;
    while login(&app, "10.0.0.1", &format!("{failed}@test.example"), "wrong").await.status == 401 {
        failed += 1;
    }
    assert!((1..=3).contains(&failed), "{failed} of 3");
    assert_eq!(login(&app, "10.0.0.2", "ann@test.example", PASSWORD).await.status, 200, "another address");
}

#[tokio::test]
async fn strangers_do_not_lock_a_user_out_where_the_user_has_logged_in() {
    let app = limited("failed_logins = 3").await;
    account(&app, "ann@test.example", 4).await;
    let ann = async |from: &str, password: &str| login(&app, from, "ann@test.example", password).await.status;
    assert_eq!(ann("10.0.0.1", PASSWORD).await, 200);
    while ann("10.0.0.2", "wrong").await != 429 {}
    assert_eq!(ann("10.0.0.3", PASSWORD).await, 429);
    assert_eq!(ann("10.0.0.1", "mistyped").await, 401);
    assert_eq!(ann("10.0.0.1", PASSWORD).await, 200);
    while ann("10.0.0.1", "wrong").await != 429 {}
    assert_eq!(ann("10.0.0.1", PASSWORD).await, 429, "there, too, so many may fail");
}

#[tokio::test]
async fn an_address_of_ipv6_is_its_network_of_64_bits() {
    let app = limited("logins = 3").await;
    for n in 1..=3 {
        let from = format!("2001:db8::{n}:1");
        assert_eq!(login(&app, &from, &format!("{n}@test.example"), "wrong").await.status, 401);
    }
    login(&app, "2001:db8::4:1", "4@test.example", "wrong").await.refused(429, "rate_limited");
    assert_eq!(login(&app, "2001:db8:0:1::1", "5@test.example", "wrong").await.status, 401, "another network");
}

#[tokio::test]
async fn what_the_database_hinders_is_no_failed_login() {
    let app = limited("failed_logins = 2").await;
    account(&app, "ann@test.example", 4).await;
    app.database.run("ALTER TABLE users RENAME TO users_elsewhere").await;
    for _ in 0..5 {
        login(&app, "10.0.0.1", "ann@test.example", PASSWORD).await.refused(500, "internal");
    }
    app.database.run("ALTER TABLE users_elsewhere RENAME TO users").await;
    assert_eq!(login(&app, "10.0.0.1", "ann@test.example", PASSWORD).await.status, 200);
}

#[tokio::test]
async fn a_login_takes_the_same_rounds_of_bcrypt_whatever_is_stored() {
    let app = TestApp::with(ROOMY).await;
    account(&app, "ann@test.example", 4).await;
    let hash = |cost: u32| bcrypt::hash(PASSWORD, cost).expect("a hash");
    let rounds = async || app.metric("tidings_bcrypt_rounds_total").await;
    let taken = async |door: &str, email: &str, password: &str| {
        let before = rounds().await;
        let answer = app.answer(app.request("POST", door).json(&json!({"email": email, "password": password}))).await;
        (answer.status, rounds().await - before)
    };
    for (email, password) in
        [("nobody@test.example", PASSWORD), ("", ""), ("ann\0", "x"), ("ann@test.example", "wrong"), ("ann@test.example", "a\0b")]
    {
        assert_eq!(taken(TRAVELLERS, email, password).await, (401, 1024.0), "{email} {password}");
    }
    assert_eq!(taken("/api/auth/agency/login", "ann@test.example", PASSWORD).await, (401, 1024.0), "the other door");
    let stored = [
        ("", false),
        ("-", false),
        ("$2b$31$abcdefghijklmnopqrstuuJjQ4DbhJzCRxQPS1jTyEGvkQqdmTz1e", false),
        (&hash(5), true),
        (&hash(10), true),
    ];
    for (stored, is_right) in stored {
        app.database.run(&format!("UPDATE users SET password = '{stored}'")).await;
        let status = if is_right { 200 } else { 401 };
        assert_eq!(taken(TRAVELLERS, "ann@test.example", PASSWORD).await, (status, 1024.0), "{stored}");
    }
    // Of the rounds of a dearer hash there are as many for everybody from then on.
    app.database.run(&format!("UPDATE users SET password = '{}'", hash(11))).await;
    assert_eq!(taken(TRAVELLERS, "ann@test.example", PASSWORD).await, (200, 2048.0));
    assert_eq!(taken(TRAVELLERS, "nobody@test.example", PASSWORD).await, (401, 2048.0));
}

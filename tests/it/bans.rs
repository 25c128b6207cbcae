//! Bans: all sockets of a user are closed, and no token is taken from then on, whoever bans and wherever the user is connected.

use std::process::Command;

use serde_json::{Value, json};

use crate::nodes::two_nodes;
use crate::support::{ROOMY, RedisServer, TestApp, User};

async fn banned(app: &TestApp, token: &str) -> bool {
    app.connect(json!({"token": token}), &[]).await.is_err_and(|why| why == "This account is banned")
}

#[tokio::test]
async fn who_is_banned_by_an_admin_is_turned_out_and_let_in_again_when_unbanned() {
    let app = TestApp::with(ROOMY).await;
    let (ann, bob, conversation) = app.pair().await;
    let admin = app.admin("root").await;
    let (one, two, b) = (app.socket(&ann).await, app.socket(&ann).await, app.socket(&bob).await);
    app.post(&format!("/api/messaging/admin/users/{}/ban", ann.id), &admin, Value::Null).await.ok();
    for socket in [&one, &two] {
        socket.disconnected().await;
        assert_eq!(socket.heard("error").await["code"], "unauthorized");
    }
    assert!(banned(&app, &ann.token).await);
    app.get("/api/messaging/conversations", &ann).await.refused(401, "unauthorized");
    b.send(conversation, "the others go on").await;
    app.post(&format!("/api/messaging/admin/users/{}/ban", ann.id), &admin, Value::Null).await.ok();
    app.post(&format!("/api/messaging/admin/users/{}/unban", ann.id), &admin, Value::Null).await.ok();
    app.socket(&ann).await.send(conversation, "I am back").await;
    app.post(&format!("/api/messaging/admin/users/{}/ban", admin.id), &admin, Value::Null).await.refused(400, "invalid_payload");
}

/// Bans or unbans by a statement, as another process does.
async fn ban_beside(app: &TestApp, user: &User, on: bool) {
    let statement = match on {
        true => format!("INSERT INTO banned_users (user_id, banned_at) VALUES ({}, '2026-01-01 00:00:00')", user.id),
        false => format!("DELETE FROM banned_users WHERE user_id = {}", user.id),
    };
    app.database.run(&statement).await;
}

#[tokio::test]
async fn a_ban_by_another_process_holds_whatever_else_is_banned_at_that_moment() {
    let app = TestApp::with(ROOMY).await;
    let admin = app.admin("root").await;
    for n in 0..4 {
        let (ann, bob) = (app.user(&format!("ann{n}")).await, app.user(&format!("bob{n}")).await);
        let (a, b) = (app.socket(&ann).await, app.socket(&bob).await);
        ban_beside(&app, &ann, true).await;
        app.post(&format!("/api/messaging/admin/users/{}/ban", bob.id), &admin, Value::Null).await.ok();
        a.disconnected().await;
        b.disconnected().await;
    }
}

#[tokio::test]
async fn one_ban_in_the_place_of_another_is_noticed() {
    let app = TestApp::with(ROOMY).await;
    let (ann, bob) = (app.user("ann").await, app.user("bob").await);
    let b = app.socket(&bob).await;
    ban_beside(&app, &ann, true).await;
    while !banned(&app, &ann.token).await {}
    ban_beside(&app, &ann, false).await;
    ban_beside(&app, &bob, true).await;
    b.disconnected().await;
    while banned(&app, &ann.token).await {}
    assert!(banned(&app, &bob.token).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_that_come_while_their_user_is_banned_do_not_stay() {
    let app = TestApp::with(ROOMY).await;
    let admin = app.admin("root").await;
    for n in 0..4 {
        let ann = app.user(&format!("ann{n}")).await;
        let path = format!("/api/messaging/admin/users/{}/ban", ann.id);
        let coming = futures_util::future::join_all((0..20).map(|_| app.connect(json!({"token": ann.token}), &[])));
        let (sockets, answer) = tokio::join!(coming, app.post(&path, &admin, Value::Null));
        answer.ok();
        for socket in sockets.into_iter().flatten() {
            socket.disconnected().await;
        }
    }
}

/// Removes a user, and waits until the server says so to somebody who connects.
async fn remove(app: &TestApp, user: &User) {
    app.database.run(&format!("DELETE FROM users WHERE id = {}", user.id)).await;
    let refused = app.connect(json!({"token": user.token}), &[]).await;
    assert!(refused.is_err_and(|why| why == "User no longer exists"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_that_come_while_their_user_is_removed_do_not_stay_though_they_say_nothing() {
    let app = TestApp::with(ROOMY).await;
    for n in 0..4 {
        let ann = app.user(&format!("ann{n}")).await;
        let before = app.socket(&ann).await;
        let coming = futures_util::future::join_all((0..20).map(|_| app.connect(json!({"token": ann.token}), &[])));
        let (sockets, ()) = tokio::join!(coming, remove(&app, &ann));
        for socket in sockets.into_iter().flatten().chain([before]) {
            socket.disconnected().await;
        }
    }
}

#[tokio::test]
async fn who_is_found_to_be_gone_by_one_node_is_turned_out_by_the_other() {
    let Some((_redis, one, two)) = two_nodes().await else { return };
    let ann = one.user("ann").await;
    let a = two.socket(&ann).await;
    remove(&one, &ann).await;
    a.disconnected().await;
}

#[tokio::test]
async fn a_ban_closes_guests_too_and_none_counts_as_a_banned_user() {
    let app = TestApp::with(ROOMY).await;
    let (ann, bob, conversation) = app.pair().await;
    let (a, b, admin) = (app.socket(&ann).await, app.socket(&bob).await, app.admin("root").await);
    let claim = json!({"userId": ann.id});
    let guest = app.connect(json!({"recovery": true}), &[]).await.expect("connects");
    guest.done("user-online", claim.clone()).await;
    let pid = crate::recovery::saved(&app, &guest).await;
    app.post(&format!("/api/messaging/admin/users/{}/ban", ann.id), &admin, Value::Null).await.ok();
    for socket in [&a, &guest] {
        socket.disconnected().await;
        assert_eq!(socket.heard("error").await["code"], "unauthorized");
    }
    let late = app.guest(&[]).await;
    late.done("user-online", claim).await;
    let back = app.connect(json!({"recovery": true, "pid": pid}), &[]).await.expect("connects as a guest that is nobody");
    b.rest().await;
    b.send(conversation, "a secret").await;
    assert_eq!((late.rest().await, back.rest().await), (vec![], vec![]));
    assert_eq!(b.rest_of("user-online").await, [] as [Value; 0], "ann is not online by them");
}

#[tokio::test]
async fn a_banned_user_cannot_log_in() {
    let app = TestApp::with(ROOMY).await;
    let account = json!({"username": "ann", "email": "ann@test.example", "password": "a good password"});
    let session = app.answer(app.request("POST", "/api/auth/register").json(&account)).await.body;
    let user = session["userId"].as_i64().expect("an id");
    app.post(&format!("/api/messaging/admin/users/{user}/ban"), &app.admin("root").await, Value::Null).await.ok();
    let login = async |password: &str| {
        let login = json!({"email": "ann@test.example", "password": password});
        app.answer(app.request("POST", "/api/auth/traveller/login").json(&login)).await
    };
    let refused = login("a good password").await;
    refused.refused(403, "forbidden");
    assert_eq!(refused.body["error"], "This account is banned");
    login("a wrong password").await.refused(401, "unauthorized");
}

#[tokio::test]
async fn a_ban_by_the_command_line_holds_in_the_running_server() {
    let app = TestApp::with(ROOMY).await;
    let (ann, _, conversation) = app.pair().await;
    let a = app.socket(&ann).await;
    let tidings = |action: &str, id: i64| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
        command.args(["user", action, &id.to_string()]).env("DATABASE_URL", &app.database.url).env("RUST_LOG", "error");
        command.output().expect("the program runs")
    };
    let output = tidings("ban", ann.id);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    a.disconnected().await;
    assert!(banned(&app, &ann.token).await);
    assert!(tidings("unban", ann.id).status.success());
    while banned(&app, &ann.token).await {}
    app.socket(&ann).await.send(conversation, "I am back").await;
    let unknown = tidings("ban", 999_999);
    assert!(!unknown.status.success() && String::from_utf8_lossy(&unknown.stderr).contains("There is no user 999999"));
}

#[tokio::test]
async fn a_ban_on_one_node_holds_on_the_other() {
    let Some(redis) = RedisServer::start().await else { return };
    let one = TestApp::with(&format!("redis_url = \"{}\"\n{ROOMY}", redis.url())).await;
    let two = one.another().await;
    let (ann, admin) = (one.user("ann").await, one.admin("root").await);
    let a = two.socket(&ann).await;
    one.post(&format!("/api/messaging/admin/users/{}/ban", ann.id), &admin, Value::Null).await.ok();
    a.disconnected().await;
    while !banned(&two, &ann.token).await {}
}

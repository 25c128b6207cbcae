//! Bans: all sockets of a user are closed, and no token is taken from then on, whoever bans and wherever the user is connected.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::{ROOMY, RedisServer, TestApp};

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

//! Sockets without a token: what they may, whom they count as, and that they learn nothing.

use serde_json::{Value, json};

use crate::recovery::{saved, texts};
use crate::support::{Heard, ROOMY, Socket, TestApp, User};

const BROWSER: &[(&str, &str)] = &[("user-agent", "Mozilla/5.0 (the same browser)")];

async fn request(app: &TestApp, user: &User, agent: &str) {
    app.answer(app.request("GET", "/api/messaging/unread-count").bearer_auth(&user.token).header("user-agent", agent)).await.ok();
}

fn bare() -> Heard {
    Heard { name: "conversation-updated".into(), arguments: vec![json!({})] }
}

/// Whether a guest counts as a user: it hears a nudge when the user opens a conversation of its own.
async fn counts(app: &TestApp, guest: &Socket, user: &User) {
    app.conversation(user, &app.user("someone").await).await;
    assert_eq!(guest.heard("conversation-updated").await, json!({}));
}

#[tokio::test]
async fn a_claim_counts_when_the_user_was_seen_from_the_same_browser_before_or_after_it() {
    let app = TestApp::with(ROOMY).await;
    for (when, by_socket) in [("before", false), ("after", false), ("before", true), ("after", true)] {
        let user = app.user(&format!("{when}{by_socket}")).await;
        let mut living = Vec::new();
        let mut see = async || {
            if by_socket {
                living.push(app.connect(json!({"token": user.token}), BROWSER).await.expect("connects"));
            } else {
                request(&app, &user, BROWSER[0].1).await;
            }
        };
        let guest = app.guest(BROWSER).await;
        if when == "before" {
            see().await;
        }
        guest.done("user-online", json!({"userId": user.id, "role": "agency"})).await;
        if when == "after" {
            see().await;
        }
        counts(&app, &guest, &user).await;
    }
}

#[tokio::test]
async fn a_guest_without_a_user_agent_counts_by_its_address_where_none_was_told() {
    let app = TestApp::with(ROOMY).await;
    let (user, bob) = (app.user("ann").await, app.user("bob").await);
    app.conversation(&bob, &user).await;
    let b = app.socket(&bob).await;
    request(&app, &user, "whatever").await;
    let guest = app.guest(&[]).await;
    guest.done("user-online", json!(user.id.to_string())).await;
    assert_eq!(b.rest_of("user-online").await, [] as [Value; 0], "the user has a browser, and the guest is none");
    app.get("/api/messaging/unread-count", &user).await.ok();
    counts(&app, &guest, &user).await;
}

#[tokio::test]
async fn guests_use_up_nothing_of_a_user_and_of_too_many_the_oldest_counts_no_more() {
    let app = TestApp::with(&format!("{ROOMY}sockets_per_user = 2\nguests_per_user = 2\n")).await;
    let user = app.user("ann").await;
    let one = app.socket(&user).await;
    let guests = [app.guest(&[]).await, app.guest(&[]).await, app.guest(&[]).await];
    for guest in &guests {
        guest.done("user-online", user.id).await;
    }
    let two = app.socket(&user).await;
    app.conversation(&user, &app.user("carl").await).await;
    assert_eq!((guests[1].heard("conversation-updated").await, guests[2].heard("conversation-updated").await), (json!({}), json!({})));
    assert_eq!(guests[0].rest().await, [], "the oldest");
    one.fence().await;
    two.fence().await;
}

#[tokio::test]
async fn a_guest_counts_while_somebody_vouches_for_it_and_learns_afterwards_that_it_missed_something() {
    let app = TestApp::with(&format!("[presence]\ngrace = \"1ms\"\nguest_window = \"500ms\"\n{ROOMY}")).await;
    let (ann, bob, conversation) = app.pair().await;
    let b = app.socket(&bob).await;
    request(&app, &ann, BROWSER[0].1).await;
    let guest = app.guest(BROWSER).await;
    guest.done("user-online", ann.id).await;
    assert_eq!(b.heard("user-online").await["userId"], ann.id);
    assert_eq!(b.heard("user-offline").await["userId"], ann.id, "nobody has seen ann for a while");
    b.send(conversation, "a secret").await;
    assert_eq!(guest.rest().await, []);
    request(&app, &ann, BROWSER[0].1).await;
    assert_eq!(b.heard("user-online").await["userId"], ann.id);
    assert_eq!(guest.heard("conversation-updated").await, json!({}));
}

#[tokio::test]
async fn a_claim_that_nobody_vouches_for_changes_nothing_and_is_answered_with_nothing() {
    let app = TestApp::with(ROOMY).await;
    let (ann, bob, conversation) = app.pair().await;
    let b = app.socket(&bob).await;
    b.rest().await;
    request(&app, &ann, "another browser").await;
    request(&app, &bob, BROWSER[0].1).await;
    let guest = app.guest(BROWSER).await;
    for claim in [json!({"userId": ann.id}), json!(ann.id), json!(999_999), json!("x"), Value::Null, json!({"userId": [bob.id]})] {
        guest.emit("user-online", claim);
    }
    assert_eq!(guest.rest().await, []);
    assert_eq!(b.rest().await, [], "ann is not online by it");
    b.send(conversation, "hi").await;
    app.socket(&ann).await.send(conversation, "hi").await;
    b.heard("message-received").await;
    assert_eq!(guest.rest().await, []);
}

#[tokio::test]
async fn a_corroborated_guest_counts_for_presence_and_hears_bare_nudges_and_nothing_else_ever() {
    let app = TestApp::with(&format!("[presence]\ngrace = \"200ms\"\n[nudges]\ninterval = \"1ms\"\nquiet = \"1ms\"\n{ROOMY}")).await;
    let (ann, bob, conversation) = app.pair().await;
    let b = app.socket(&bob).await;
    b.rest().await;
    request(&app, &ann, BROWSER[0].1).await;
    let guest = app.guest(BROWSER).await;
    guest.done("user-online", json!({"userId": ann.id, "role": "traveller"})).await;
    assert_eq!(b.heard("user-online").await["userId"], ann.id, "it makes its user online");
    assert_eq!(b.heard("online-users").await, json!([ann.id]));

    b.send(conversation, "a secret").await;
    b.done("typing", json!({"conversationId": conversation})).await;
    let a = app.socket(&ann).await;
    a.send(conversation, "an answer").await;
    a.done("mark-as-read", json!({"conversationId": conversation})).await;
    let ticket = app.ticket(&ann).await;
    let admin = app.admin("admin").await;
    let status = json!({"status": "resolved", "priority": "high"});
    app.put(&format!("/api/messaging/support/tickets/{ticket}/status"), &admin, status).await.ok();
    app.conversation(&ann, &app.user("carl").await).await;
    a.close().await;
    guest.heard("conversation-updated").await;
    assert!(guest.rest().await.into_iter().all(|event| event == bare()), "no id, no content, no other event");
    assert_eq!(b.rest_of("user-offline").await, [] as [Value; 0], "the guest is a socket of ann's still");

    for (name, payload) in
        [("join-conversation", json!(conversation)), ("send-message", json!({"conversationId": conversation, "message": "x"}))]
    {
        guest.refused(name, payload, "unauthorized").await;
    }
    guest.rest().await;
    b.send(conversation, "still a secret").await;
    assert_eq!(guest.heard("conversation-updated").await, json!({}));
    assert!(guest.rest().await.into_iter().all(|event| event == bare()), "a join that was refused is none");
    guest.close().await;
    assert_eq!(b.heard("user-offline").await["userId"], ann.id);
}

#[tokio::test]
async fn a_guest_counts_as_the_user_whom_it_claimed_last_and_as_no_other() {
    let app = TestApp::with(&format!("[presence]\ngrace = \"1ms\"\n{ROOMY}")).await;
    let (ann, carl, _) = app.pair().await;
    let (bob, c) = (app.user("bob").await, app.socket(&carl).await);
    request(&app, &ann, BROWSER[0].1).await;
    let guest = app.guest(BROWSER).await;
    guest.done("user-online", json!({"userId": ann.id})).await;
    assert_eq!(c.heard("user-online").await["userId"], ann.id);
    guest.done("user-online", json!({"userId": bob.id})).await;
    counts(&app, &guest, &ann).await;
    request(&app, &bob, BROWSER[0].1).await;
    assert_eq!(c.heard("user-offline").await["userId"], ann.id, "a second login on the same page");
    app.conversation(&ann, &app.user("dora").await).await;
    assert_eq!(guest.rest().await, [], "that was ann's");
    counts(&app, &guest, &bob).await;
}

#[tokio::test]
async fn guests_can_be_refused_altogether() {
    let app = TestApp::with("guests = \"deny\"").await;
    for auth in [Value::Null, json!({}), json!({"token": null}), json!({"token": ""})] {
        let refusal = app.connect(auth.clone(), &[]).await.err();
        assert_eq!(refusal.as_deref(), Some("Authentication token is required"), "{auth}");
    }
    app.socket(&app.user("ann").await).await.fence().await;
}

#[tokio::test]
async fn a_corroborated_guest_recovers_to_one_bare_nudge() {
    let app = TestApp::with(ROOMY).await;
    let (ann, bob, conversation) = app.pair().await;
    let b = app.socket(&bob).await;
    let _vouching = app.socket(&ann).await;
    let guest = app.connect(json!({"recovery": true}), &[]).await.expect("connects");
    guest.done("user-online", json!({"userId": ann.id})).await;
    let pid = saved(&app, &guest).await;
    guest.cut();
    b.send(conversation, "one").await;
    b.send(conversation, "two").await;
    let guest = app.connect(json!({"recovery": true, "pid": pid}), &[]).await.expect("comes back");
    assert_eq!(guest.heard("conversation-updated").await, json!({}));
    assert_eq!(guest.rest().await, [], "one, bare, and nothing else");
    let stolen = app.connect(json!({"token": bob.token, "recovery": true, "pid": pid}), &[]).await.expect("connects");
    assert_eq!((texts(&stolen).await, stolen.pid().await != pid), (vec![], true));
}

#[tokio::test]
async fn a_corroborated_guest_counts_again_after_a_restart_of_the_server_and_not_for_ever() {
    let mut app = TestApp::with(&format!("{ROOMY}\n[presence]\nguest_window = '3s'")).await;
    let (ann, bob, conversation) = app.pair().await;
    let vouching = app.socket(&ann).await;
    let guest = app.connect(json!({"recovery": true}), &[]).await.expect("connects");
    guest.done("user-online", json!({"userId": ann.id})).await;
    let pid = saved(&app, &guest).await;
    app.restart().await;
    drop((vouching, guest));
    let guest = app.connect(json!({"recovery": true, "pid": pid}), &[]).await.expect("comes back");
    assert_eq!(guest.heard("conversation-updated").await, json!({}), "it may have missed something");
    let b = app.socket(&bob).await;
    b.send(conversation, "live").await;
    assert_eq!(guest.heard("conversation-updated").await, json!({}), "it counts");
    // Nobody was seen with a token since; a session alone lets nobody count for ever.
    while b.heard("user-status-changed").await != json!({"userId": ann.id, "status": "offline"}) {}
    guest.cut();
    let guest = app.connect(json!({"recovery": true, "pid": pid}), &[]).await.expect("comes back");
    b.send(conversation, "unheard").await;
    assert_eq!(guest.rest().await, []);
}

//! Who is online, and who is told: contacts, and nobody else.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Heard, ROOMY, Socket, TestApp, User, millis};

const NONE: [Value; 0] = [];

fn quick() -> String {
    format!("[presence]\ngrace = \"300ms\"\n{ROOMY}")
}

async fn heard_of_presence(socket: &Socket) -> Vec<Heard> {
    let presence = ["online-users", "user-status-changed", "user-online", "user-offline"];
    socket.rest().await.into_iter().filter(|event| presence.contains(&event.name.as_str())).collect()
}

/// A socket that has heard who is online.
async fn online(app: &TestApp, user: &User, contacts: &[&User]) -> Socket {
    let socket = app.socket(user).await;
    let ids: Vec<i64> = contacts.iter().map(|contact| contact.id).collect();
    assert_eq!(socket.heard("online-users").await, json!(ids));
    socket
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_is_told_once_however_long_it_takes_to_read_whom_to_tell() {
    let app = TestApp::with(&quick()).await;
    let (ann, bob, _) = app.pair().await;
    let b = online(&app, &bob, &[]).await;
    if !app.database.lock_reads().await {
        println!("skipped: who reads SQLite waits for nobody");
        return;
    }
    let a = app.socket(&ann).await;
    // Each second the server reads the contacts that could not be read before; these can.
    tokio::time::sleep(Duration::from_millis(2200)).await;
    app.database.unlock().await;
    assert_eq!(a.heard("online-users").await, json!([bob.id]));
    assert_eq!(b.heard("user-online").await["userId"], ann.id);
    a.close().await;
    b.heard("user-offline").await;
    assert_eq!(b.rest_of("user-online").await, NONE);
}

#[tokio::test]
async fn coming_and_going_is_told_to_contacts_under_every_name() {
    let app = TestApp::with(&quick()).await;
    let (ann, bob, _) = app.pair().await;
    let b = online(&app, &bob, &[]).await;
    let a = online(&app, &ann, &[&bob]).await;
    assert_eq!(b.heard("online-users").await, json!([ann.id]));
    assert_eq!(b.heard("user-status-changed").await, json!({"userId": ann.id, "status": "online"}));
    assert_eq!(b.heard("user-online").await, json!({"userId": ann.id, "username": "ann"}));
    assert_eq!(heard_of_presence(&a).await, [], "one's own coming is no news");
    a.close().await;
    assert_eq!(b.heard("online-users").await, json!([]));
    assert_eq!(b.heard("user-status-changed").await, json!({"userId": ann.id, "status": "offline"}));
    let gone = b.heard("user-offline").await;
    millis(&gone["lastSeen"]);
    assert_eq!(gone, json!({"userId": ann.id, "username": "ann", "lastSeen": gone["lastSeen"]}));
    assert_eq!(heard_of_presence(&b).await, []);
}

#[tokio::test]
async fn a_cut_connection_counts_as_gone_too() {
    let app = TestApp::with(&quick()).await;
    let (ann, bob, _) = app.pair().await;
    let b = app.socket(&bob).await;
    app.socket(&ann).await.cut();
    assert_eq!(b.heard("user-offline").await["userId"], ann.id);
}

#[tokio::test]
async fn presence_reaches_contacts_only() {
    let app = TestApp::with(&quick()).await;
    let (ann, bob, _) = app.pair().await;
    let (stranger, admin) = (app.user("stranger").await, app.admin("admin").await);
    let guest = app.guest(&[("user-agent", "another")]).await;
    let listeners = [online(&app, &stranger, &[]).await, online(&app, &admin, &[]).await, guest];
    let b = online(&app, &bob, &[]).await;
    let a = online(&app, &ann, &[&bob]).await;
    a.close().await;
    b.heard("user-offline").await;
    for socket in &listeners {
        assert_eq!(heard_of_presence(socket).await, []);
    }
}

#[tokio::test]
async fn a_user_is_online_while_one_socket_is_and_through_a_reload() {
    let app = TestApp::with(&quick()).await;
    let (ann, bob, _) = app.pair().await;
    let (carl, dora) = (app.user("carl").await, app.user("dora").await);
    for contact in [&carl, &dora] {
        app.conversation(&bob, contact).await;
    }
    let b = online(&app, &bob, &[]).await;
    let one = online(&app, &ann, &[&bob]).await;
    let two = online(&app, &ann, &[&bob]).await;
    assert_eq!(b.heard("user-online").await["userId"], ann.id);
    b.rest().await;

    // Carl and Dora go after Ann's sockets went: when they are missed, so would she be.
    let (c, d) = (app.socket(&carl).await, app.socket(&dora).await);
    one.close().await;
    c.close().await;
    assert_eq!(b.heard("user-offline").await["userId"], carl.id, "one of two sockets is no departure");
    two.close().await;
    let back = app.socket(&ann).await;
    d.close().await;
    assert_eq!(b.heard("user-offline").await["userId"], dora.id, "a reload is no departure");
    let of_ann = |event: &Heard| event.arguments[0]["userId"] == ann.id;
    assert_eq!(heard_of_presence(&b).await.iter().filter(|event| of_ann(event)).count(), 0, "and no arrival");

    back.close().await;
    assert_eq!(b.heard("user-offline").await["userId"], ann.id, "the last one is");
}

#[tokio::test]
async fn user_online_in_any_form_is_answered_with_the_list_and_says_nothing_new() {
    let app = TestApp::start().await;
    let (ann, bob, _) = app.pair().await;
    let stranger = app.user("stranger").await;
    let (b, s) = (online(&app, &bob, &[]).await, online(&app, &stranger, &[]).await);
    let a = online(&app, &ann, &[&bob]).await;
    b.rest().await;
    let forms =
        [json!(stranger.id), json!("5"), json!({"userId": stranger.id}), json!({"userId": "5", "role": "admin"}), Value::Null, json!([])];
    for form in forms {
        a.done("user-online", form.clone()).await;
        assert_eq!(a.heard("online-users").await, json!([bob.id]), "{form}");
    }
    a.emit_raw("[\"user-online\"]");
    assert_eq!(a.heard("online-users").await, json!([bob.id]), "without an argument");
    for socket in [&b, &s] {
        assert_eq!(heard_of_presence(socket).await, [], "to others it is no news, and nobody is whom they claim to be");
    }
}

#[tokio::test]
async fn a_new_conversation_makes_both_sides_contacts_at_once() {
    let app = TestApp::with(&quick()).await;
    let (ann, bob) = (app.user("ann").await, app.user("bob").await);
    let (a, b) = (online(&app, &ann, &[]).await, online(&app, &bob, &[]).await);
    app.conversation(&ann, &bob).await;
    for (socket, other) in [(&a, &bob), (&b, &ann)] {
        assert_eq!(socket.heard("online-users").await, json!([other.id]));
        assert_eq!(socket.heard("user-status-changed").await, json!({"userId": other.id, "status": "online"}));
        assert_eq!(socket.heard("user-online").await, json!({"userId": other.id, "username": other.name}));
    }
    app.conversation(&bob, &ann).await;
    assert_eq!((heard_of_presence(&a).await, heard_of_presence(&b).await), (vec![], vec![]), "an existing one changes nothing");
    a.close().await;
    assert_eq!(b.heard("user-offline").await["userId"], ann.id);
    assert_eq!(b.rest_of("user-online").await, NONE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_list_comes_at_most_once_a_second_and_then_as_it_is() {
    const CONTACTS: usize = 30;
    let app = TestApp::with(&quick()).await;
    let bob = app.user("bob").await;
    let mut contacts = Vec::new();
    for n in 0..CONTACTS {
        let contact = app.user(&format!("contact{n}")).await;
        app.conversation(&bob, &contact).await;
        contacts.push(contact);
    }
    let b = online(&app, &bob, &[]).await;
    let began = tidings::clock::instant();
    let sockets = futures_util::future::join_all(contacts.iter().map(|contact| app.socket(contact))).await;
    let all = json!(contacts.iter().map(|contact| contact.id).collect::<Vec<_>>());
    let mut lists = 1;
    while b.heard("online-users").await != all {
        lists += 1;
    }
    let most = began.elapsed().as_secs() as usize + 1;
    assert!(lists <= most, "{lists} lists in {most} seconds");
    let told = b.rest().await;
    assert_eq!(told.iter().filter(|event| event.name == "user-online").count(), CONTACTS, "each is told of by itself all the same");
    drop(sockets);
}

#[tokio::test]
async fn with_whom_no_conversation_is_shared_any_more_is_no_contact_for_who_comes_then() {
    let app = TestApp::start().await;
    let (ann, bob, conversation) = app.pair().await;
    let (first, _b) = (app.socket(&ann).await, app.socket(&bob).await);
    first.heard("user-online").await;
    app.database.run(&format!("DELETE FROM conversations WHERE id = {conversation}")).await;
    let second = app.socket(&ann).await;
    assert_eq!(second.heard("online-users").await, json!([]));
}

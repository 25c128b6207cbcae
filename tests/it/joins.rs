//! What a socket follows: joins in all their forms, joins by doing, leaving.

use serde_json::{Value, json};

use crate::support::{Socket, TestApp, User};

/// Ann's conversations with two others, who each hold a socket in theirs.
struct Stage {
    app: TestApp,
    ann: User,
    first: (i64, Socket),
    second: (i64, Socket),
}

impl Stage {
    async fn set() -> Self {
        let app = TestApp::with(crate::support::ROOMY).await;
        let (ann, bob, carl) = (app.user("ann").await, app.user("bob").await, app.user("carl").await);
        let first = (app.conversation(&ann, &bob).await, app.socket(&bob).await);
        let second = (app.conversation(&ann, &carl).await, app.socket(&carl).await);
        Self { app, ann, first, second }
    }

    /// Which of the two conversations a socket of Ann's follows.
    async fn followed_by(&self, socket: &Socket) -> (bool, bool) {
        socket.rest_of("message-received").await;
        let mut follows = [false; 2];
        for (at, (conversation, other)) in [&self.first, &self.second].into_iter().enumerate() {
            other.send(*conversation, "are you there?").await;
            let heard = socket.rest_of("message-received").await;
            assert!(heard.len() <= 1, "once: {heard:?}");
            follows[at] = !heard.is_empty();
        }
        (follows[0], follows[1])
    }
}

#[tokio::test]
async fn a_join_takes_an_id_in_every_form_and_leaves_what_was_open_before() {
    let stage = Stage::set().await;
    let socket = stage.app.socket(&stage.ann).await;
    assert_eq!(stage.followed_by(&socket).await, (false, false), "connecting follows nothing");
    let (first, second) = (stage.first.0, stage.second.0);
    for form in [json!(first), json!(first.to_string()), json!({"conversationId": first}), json!({"conversationId": first.to_string()})] {
        socket.done("join-conversation", form.clone()).await;
        assert_eq!(stage.followed_by(&socket).await, (true, false), "{form}");
        socket.done("join-conversation", second).await;
        assert_eq!(stage.followed_by(&socket).await, (false, true));
    }
    socket.done("join-conversation", json!([first, second.to_string()])).await;
    assert_eq!(stage.followed_by(&socket).await, (true, true), "several on purpose");
    socket.done("join-conversation", first).await;
    assert_eq!(stage.followed_by(&socket).await, (true, false));
    socket.done("join-conversation", first).await;
    assert_eq!(stage.followed_by(&socket).await, (true, false), "what is open already stays, once");
}

#[tokio::test]
async fn leaving_stops_following_what_is_named_and_nothing_else() {
    let stage = Stage::set().await;
    let socket = stage.app.socket(&stage.ann).await;
    let (first, second) = (stage.first.0, stage.second.0);
    for form in [json!(first), json!(first.to_string()), json!({"conversationId": first}), json!([first])] {
        socket.done("join-conversation", json!([first, second])).await;
        socket.done("leave-conversation", form.clone()).await;
        assert_eq!(stage.followed_by(&socket).await, (false, true), "{form}");
    }
    socket.done("leave-conversation", first).await;
    assert_eq!(stage.followed_by(&socket).await, (false, true), "leaving what is not followed changes nothing");
    socket.refused("leave-conversation", "x", "invalid_payload").await;
    socket.refused("leave-conversation", json!([second, 999_999]), "not_found").await;
    assert_eq!(stage.followed_by(&socket).await, (false, true), "a refusal changes nothing");
}

#[tokio::test]
async fn a_refused_join_changes_nothing() {
    let stage = Stage::set().await;
    let foreign = stage.app.conversation(&stage.app.user("dora").await, &stage.app.user("emil").await).await;
    let socket = stage.app.socket(&stage.ann).await;
    let first = stage.first.0;
    socket.done("join-conversation", first).await;
    for (payload, code) in [
        (json!(foreign), "forbidden"),
        (json!([stage.second.0, foreign]), "forbidden"),
        (json!(999_999), "not_found"),
        (json!([stage.second.0, 999_999]), "not_found"),
        (json!("x"), "invalid_payload"),
        (json!([]), "invalid_payload"),
        (json!([stage.second.0, null]), "invalid_payload"),
        (json!({"conversationId": true}), "invalid_payload"),
        (json!(1.5), "invalid_payload"),
        (Value::Null, "invalid_payload"),
    ] {
        socket.refused("join-conversation", payload.clone(), code).await;
        assert_eq!(stage.followed_by(&socket).await, (true, false), "{payload}");
    }
}

#[tokio::test]
async fn typing_and_sending_count_as_a_join_and_what_comes_late_does_not() {
    let stage = Stage::set().await;
    let socket = stage.app.socket(&stage.ann).await;
    let (first, second) = (stage.first.0, stage.second.0);
    socket.done("typing", json!({"conversationId": first})).await;
    assert_eq!(stage.followed_by(&socket).await, (true, false), "typing joins");
    socket.send(second, "hi").await;
    assert_eq!(stage.followed_by(&socket).await, (false, true), "sending joins, and leaves the one before");
    for (name, payload) in [
        ("stop-typing", json!({"conversationId": first})),
        ("stop-typing", json!(first)),
        ("typing", json!({"conversationId": first, "isTyping": false})),
        ("mark-as-read", json!({"conversationId": first})),
    ] {
        socket.done(name, payload.clone()).await;
        assert_eq!(stage.followed_by(&socket).await, (false, true), "{name} {payload} joins nothing");
    }
    socket.refused("send-message", json!({"conversationId": 999_999, "message": "x"}), "not_found").await;
    assert_eq!(stage.followed_by(&socket).await, (false, true), "a refused send joins nothing");
}

#[tokio::test]
async fn who_follows_several_and_types_or_sends_in_one_keeps_the_others() {
    let stage = Stage::set().await;
    let socket = stage.app.socket(&stage.ann).await;
    let (first, second) = (stage.first.0, stage.second.0);
    socket.done("join-conversation", json!([first, second])).await;
    socket.done("typing", json!({"conversationId": first})).await;
    socket.send(second, "hi").await;
    assert_eq!(stage.followed_by(&socket).await, (true, true));
}

#[tokio::test]
async fn each_socket_of_a_user_follows_for_itself() {
    let stage = Stage::set().await;
    let (one, other) = (stage.app.socket(&stage.ann).await, stage.app.socket(&stage.ann).await);
    one.done("join-conversation", stage.first.0).await;
    other.done("join-conversation", stage.second.0).await;
    assert_eq!(stage.followed_by(&one).await, (true, false));
    assert_eq!(stage.followed_by(&other).await, (false, true));
}

#[tokio::test]
async fn a_conversation_and_a_ticket_do_not_displace_each_other_but_a_ticket_the_ticket_before() {
    let stage = Stage::set().await;
    let app = &stage.app;
    let (one, other) = (app.ticket(&stage.ann).await, app.ticket(&stage.ann).await);
    let (socket, admin) = (app.socket(&stage.ann).await, app.socket(&app.admin("admin").await).await);
    let reply = async |ticket: i64| {
        admin.done("send-support-message", json!({"ticketId": ticket, "message": "hello"})).await;
        socket.rest_of("support-message-received").await.len()
    };
    socket.done("join-conversation", stage.first.0).await;
    for form in [json!(one), json!(one.to_string()), json!({"ticketId": one})] {
        socket.done("join-support", form).await;
        assert_eq!((reply(one).await, reply(other).await), (1, 0));
        socket.done("join-support", other).await;
        assert_eq!((reply(one).await, reply(other).await), (0, 1), "the previous one is left");
    }
    socket.done("join-support", json!([one, other])).await;
    assert_eq!((reply(one).await, reply(other).await), (1, 1), "an owner may follow several of one's own");
    assert_eq!(stage.followed_by(&socket).await, (true, false));
    socket.done("join-conversation", stage.second.0).await;
    assert_eq!((reply(one).await, reply(other).await), (1, 1));
    let foreign = app.ticket(&app.user("dora").await).await;
    socket.refused("join-support", json!([one, foreign]), "forbidden").await;
    assert_eq!((reply(one).await, reply(other).await), (1, 1), "a refused join changes nothing");
}

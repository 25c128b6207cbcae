//! Typing: who hears of it, what a join says of it, and when it ends by itself.

use serde_json::{Value, json};

use crate::support::{Heard, ROOMY, Socket, TestApp, User};

struct Stage {
    app: TestApp,
    ann: User,
    bob: User,
    conversation: i64,
    /// Ann's, who types.
    a: Socket,
    /// Bob's, who follows.
    b: Socket,
}

impl Stage {
    async fn set(settings: &str) -> Self {
        let app = TestApp::with(settings).await;
        let (ann, bob, conversation) = app.pair().await;
        let (a, b) = (app.socket(&ann).await, app.socket(&bob).await);
        b.done("join-conversation", conversation).await;
        a.done("join-conversation", conversation).await;
        a.rest().await;
        b.rest().await;
        Self { app, ann, bob, conversation, a, b }
    }

    fn of(&self, is_typing: bool) -> [Heard; 2] {
        let short = if is_typing { "user-typing" } else { "user-stopped-typing" };
        let (user, conversation) = (self.ann.id, self.conversation);
        [
            Heard { name: short.into(), arguments: vec![json!({"userId": user, "conversationId": conversation})] },
            Heard {
                name: "typing".into(),
                arguments: vec![json!({"conversationId": conversation, "userId": user, "senderName": "ann", "isTyping": is_typing})],
            },
        ]
    }
}

async fn heard_of_typing(socket: &Socket) -> Vec<Heard> {
    socket.rest().await.into_iter().filter(|event| event.name.contains("typing")).collect()
}

#[tokio::test]
async fn typing_is_told_to_the_room_under_every_name_and_not_to_the_typist() {
    let stage = Stage::set(ROOMY).await;
    let (mine_too, idle) = (stage.app.socket(&stage.ann).await, stage.app.socket(&stage.bob).await);
    mine_too.done("join-conversation", stage.conversation).await;
    mine_too.rest().await;
    let id = stage.conversation;
    for (name, payload, is_typing) in [
        ("typing", json!({"conversationId": id, "userId": stage.bob.id, "isTyping": true}), true),
        ("typing", json!({"conversationId": id, "isTyping": false}), false),
        ("typing", json!({"conversationId": id.to_string()}), true),
        ("stop-typing", json!({"conversationId": id, "userId": stage.bob.id}), false),
        ("typing", json!(id), true),
        ("stop-typing", json!(id), false),
    ] {
        stage.a.done(name, payload.clone()).await;
        assert_eq!(heard_of_typing(&stage.b).await, stage.of(is_typing), "{name} {payload}: the typist is who the token says");
    }
    for socket in [&stage.a, &mine_too, &idle] {
        assert_eq!(heard_of_typing(socket).await, [], "neither the typist nor who does not follow");
    }
    for nonsense in [json!("x"), Value::Null, json!({}), json!({"conversationId": -1})] {
        stage.a.refused("typing", nonsense.clone(), "invalid_payload").await;
        stage.a.refused("stop-typing", nonsense, "invalid_payload").await;
    }
}

#[tokio::test]
async fn every_join_says_whether_the_other_one_types_there() {
    let stage = Stage::set(ROOMY).await;
    let id = stage.conversation;
    let [typing, stopped] = [true, false].map(|is_typing| stage.of(is_typing)[0].arguments[0].clone());
    for (name, payload) in [
        ("join-conversation", json!(id)),
        ("join-conversation", json!([id])),
        ("typing", json!({"conversationId": id})),
        ("send-message", json!({"conversationId": id, "message": "x"})),
    ] {
        let before = stage.app.socket(&stage.bob).await;
        before.done(name, payload.clone()).await;
        assert_eq!(before.heard("user-stopped-typing").await, stopped, "{name} {payload}: also implicit joins, also that nobody types");
        stage.a.done("typing", json!({"conversationId": id})).await;
        let after = stage.app.socket(&stage.bob).await;
        after.done(name, payload.clone()).await;
        assert_eq!(after.heard("user-typing").await, typing, "{name} {payload}");
        stage.a.done("stop-typing", json!({"conversationId": id})).await;
    }
}

#[tokio::test]
async fn a_late_stop_is_relayed_to_the_room_that_it_names_without_a_join() {
    let stage = Stage::set(ROOMY).await;
    let elsewhere = stage.app.conversation(&stage.ann, &stage.app.user("carl").await).await;
    stage.a.done("typing", json!({"conversationId": stage.conversation})).await;
    assert_eq!(heard_of_typing(&stage.b).await, stage.of(true));
    stage.a.done("join-conversation", elsewhere).await;
    stage.a.done("stop-typing", json!({"conversationId": stage.conversation})).await;
    assert_eq!(heard_of_typing(&stage.b).await, stage.of(false));
    let new_socket = stage.app.socket(&stage.ann).await;
    new_socket.done("stop-typing", json!({"conversationId": stage.conversation, "userId": stage.ann.id})).await;
    assert_eq!(heard_of_typing(&stage.b).await, stage.of(false), "from a socket that was never there, too");
    stage.b.send(stage.conversation, "do you follow?").await;
    for socket in [&stage.a, &new_socket] {
        assert_eq!(socket.rest_of("message-received").await, [] as [Value; 0]);
    }
}

#[tokio::test]
async fn who_falls_silent_or_disconnects_has_stopped() {
    let stage = Stage::set("[presence]\ntyping_timeout = \"200ms\"").await;
    stage.a.done("typing", json!({"conversationId": stage.conversation})).await;
    let [short, long] = stage.of(false);
    assert_eq!(stage.b.heard("user-typing").await, short.arguments[0]);
    assert_eq!(stage.b.heard("user-stopped-typing").await, short.arguments[0], "silence");
    assert_eq!(stage.b.heard("typing").await["isTyping"], true);
    assert_eq!(stage.b.heard("typing").await, long.arguments[0]);

    let stage = Stage::set("").await;
    stage.a.done("typing", json!({"conversationId": stage.conversation})).await;
    stage.a.cut();
    stage.b.heard("user-typing").await;
    assert_eq!(stage.b.heard("user-stopped-typing").await, short.arguments[0], "a cut, long before the ten seconds");
}

#[tokio::test]
async fn typing_over_the_rate_is_dropped_without_a_word() {
    let stage = Stage::set("[limits]\nevents = { per_second = 1, burst = 10 }").await;
    for _ in 0..200 {
        stage.a.emit("typing", json!({"conversationId": stage.conversation}));
    }
    // Sends have a limit of their own, and keep their place behind the typing.
    stage.a.send(stage.conversation, "done").await;
    stage.b.heard("message-received").await;
    let told = stage.b.rest_of("user-typing").await.len();
    assert!((1..=12).contains(&told), "{told} of 200 were told");
    assert!(stage.a.so_far().iter().all(|event| event.name != "error"));
    let ack = stage.a.ask("join-conversation", stage.conversation).await;
    assert_eq!((&ack["code"], ack["retryAfterMs"].is_u64()), (&json!("rate_limited"), true), "others are answered: {ack}");
}

#[tokio::test]
async fn typing_in_a_ticket_is_told_to_its_other_followers() {
    let app = TestApp::with(ROOMY).await;
    let (owner, admin) = (app.user("owner").await, app.admin("admin").await);
    let ticket = app.ticket(&owner).await;
    let (o, a) = (app.socket(&owner).await, app.socket(&admin).await);
    o.done("join-support", ticket).await;
    o.done("typing", json!({"ticketId": ticket})).await;
    a.done("join-support", ticket).await;
    assert_eq!(a.heard("user-typing").await, json!({"userId": owner.id, "ticketId": ticket}), "the join says so");
    o.done("stop-typing", json!({"ticketId": ticket})).await;
    assert_eq!(a.heard("user-stopped-typing").await, json!({"userId": owner.id, "ticketId": ticket}));
    assert_eq!(heard_of_typing(&o).await, []);
}

#[tokio::test]
async fn a_message_ends_its_senders_typing_there() {
    let stage = Stage::set("").await;
    stage.a.done("typing", json!({"conversationId": stage.conversation})).await;
    assert_eq!(heard_of_typing(&stage.b).await, stage.of(true));
    stage.a.send(stage.conversation, "done").await;
    assert_eq!(heard_of_typing(&stage.b).await, stage.of(false), "nobody has to wait for the time-out");
    stage.a.send(stage.conversation, "and more").await;
    assert_eq!(heard_of_typing(&stage.b).await, [], "who did not type has not stopped");
    let late = stage.app.socket(&stage.bob).await;
    late.done("join-conversation", stage.conversation).await;
    assert_eq!(heard_of_typing(&late).await, [stage.of(false)[0].clone()], "who joins now is not told of it");
    let owner = stage.app.user("owner").await;
    let (o, admin) = (stage.app.socket(&owner).await, stage.app.socket(&stage.app.admin("admin").await).await);
    let ticket = stage.app.ticket(&owner).await;
    admin.done("join-support", ticket).await;
    o.done("typing", json!({"ticketId": ticket})).await;
    admin.heard("user-typing").await;
    o.done("send-support-message", json!({"ticketId": ticket, "message": "done"})).await;
    assert_eq!(admin.heard("user-stopped-typing").await, json!({"userId": owner.id, "ticketId": ticket}));
}

#[tokio::test]
async fn a_socket_that_lives_on_is_named_as_its_user_is_called_today() {
    let stage = Stage::set(&format!("[presence]\ngrace = \"1ms\"\n{ROOMY}")).await;
    stage.app.database.run("UPDATE users SET username = 'anna' WHERE username = 'ann'").await;
    let deadline = tidings::clock::instant() + crate::support::DEADLINE;
    let about = json!({"conversationId": stage.conversation});
    loop {
        stage.a.done("typing", about.clone()).await;
        if stage.b.heard("typing").await["senderName"] == "anna" {
            break;
        }
        assert!(tidings::clock::instant() < deadline, "the old name for too long");
    }
    stage.a.cut();
    assert_eq!(stage.b.heard("user-offline").await["username"], "anna");
}

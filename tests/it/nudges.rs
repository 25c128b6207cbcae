//! Nudges: coalesced, held back while their user is busy, and never lost.

use std::time::Duration;

use serde_json::{Value, json};
use tidings::clock::instant;

use crate::support::{ROOMY, Socket, TestApp};

/// Settings of the nudges, without limits.
fn settings(nudges: &str) -> String {
    format!("[nudges]\n{nudges}\n{ROOMY}")
}

async fn updated(socket: &Socket) -> i64 {
    socket.heard("conversation-updated").await["conversationId"].as_i64().expect("an id")
}

#[tokio::test]
async fn many_messages_at_once_are_one_nudge_at_once_and_one_a_second_later() {
    let app = TestApp::with(ROOMY).await;
    let (ann, bob, conversation) = app.pair().await;
    let (a, b) = (app.socket(&ann).await, app.socket(&bob).await);
    b.done("join-conversation", conversation).await;
    let start = instant();
    let acks: Vec<u64> =
        (0..100).map(|n| a.emit_asking("send-message", json!({"conversationId": conversation, "message": n.to_string()}))).collect();
    for ack in acks {
        a.acked(ack).await;
    }
    assert_eq!(updated(&b).await, conversation, "the first at once");
    assert_eq!(updated(&b).await, conversation);
    assert!(start.elapsed() >= Duration::from_secs(1), "the next one a second after");
    let sentinel = app.conversation(&bob, &app.user("dora").await).await;
    let mut late = 0;
    while updated(&b).await != sentinel {
        late += 1;
    }
    assert!(late <= start.elapsed().as_secs(), "{late} more");
    assert_eq!(b.rest_of("message-received").await.len(), 100, "messages themselves are not held back");
}

#[tokio::test]
async fn a_nudge_that_waits_holds_up_no_other_conversation_and_no_other_kind() {
    let app = TestApp::with(&settings("interval = \"1h\"\nquiet = \"1ms\"")).await;
    let (ann, bob, conversation) = app.pair().await;
    let carl = app.user("carl").await;
    let other = app.conversation(&carl, &bob).await;
    let (a, b, c) = (app.socket(&ann).await, app.socket(&bob).await, app.socket(&carl).await);
    let mine = app.socket(&bob).await.send(conversation, "mine").await;
    b.done("join-conversation", conversation).await;
    a.send(conversation, "one").await;
    a.send(conversation, "two").await;
    assert_eq!(updated(&b).await, conversation, "the next one waits for an hour");
    c.send(other, "hi").await;
    assert_eq!(updated(&b).await, other);
    a.done("mark-as-read", mine["id"].clone()).await;
    assert_eq!(b.heard("message-read").await["messageId"], mine["id"]);
    let new = app.conversation(&bob, &app.user("dora").await).await;
    assert_eq!(updated(&b).await, new, "150 ms later, not an hour");
}

#[tokio::test]
async fn a_busy_socket_is_left_in_peace_until_its_user_is_quiet_and_an_idle_one_of_the_same_user_is_not() {
    let app = TestApp::with(&settings("quiet = \"700ms\"\ninterval = \"1ms\"\ndraft = \"1ms\"")).await;
    let (ann, bob, conversation) = app.pair().await;
    let (a, b, idle) = (app.socket(&ann).await, app.socket(&bob).await, app.socket(&bob).await);
    for busy in
        [("typing", json!({"conversationId": conversation})), ("send-message", json!({"conversationId": conversation, "message": "x"}))]
    {
        let start = instant();
        b.done(busy.0, busy.1).await;
        a.send(conversation, "are you busy?").await;
        assert_eq!(updated(&idle).await, conversation, "busy is per socket");
        b.heard("message-received").await;
        assert_eq!(updated(&b).await, conversation, "the last is never lost");
        assert!(start.elapsed() >= Duration::from_millis(700), "held back after {}", busy.0);
        for socket in [&a, &b, &idle] {
            socket.rest().await;
        }
    }
}

#[tokio::test]
async fn a_nudge_is_not_held_back_longer_than_the_most() {
    let app = TestApp::with(&settings("quiet = \"1h\"\nmax_hold = \"300ms\"")).await;
    let (ann, bob, conversation) = app.pair().await;
    let (a, b) = (app.socket(&ann).await, app.socket(&bob).await);
    let start = instant();
    b.send(conversation, "busy").await;
    a.send(conversation, "x").await;
    assert_eq!(updated(&b).await, conversation);
    assert!(start.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn a_draft_is_not_disturbed_until_it_is_sent_or_its_conversation_is_left() {
    let app = TestApp::with(&settings("quiet = \"1ms\"\ninterval = \"1ms\"\nmax_hold = \"1ms\"")).await;
    let (ann, bob, conversation) = app.pair().await;
    let other = app.conversation(&bob, &app.user("carl").await).await;
    let (a, b, idle) = (app.socket(&ann).await, app.socket(&bob).await, app.socket(&bob).await);
    let about = json!({"conversationId": conversation});
    for (name, payload) in [
        ("send-message", json!({"conversationId": conversation, "message": "sent"})),
        ("leave-conversation", about.clone()),
        ("join-conversation", json!(other)),
        ("typing", json!({"conversationId": other})),
    ] {
        b.done("typing", about.clone()).await;
        b.done("stop-typing", about.clone()).await;
        for socket in [&a, &b, &idle] {
            socket.rest().await;
        }
        a.send(conversation, "are you there?").await;
        assert_eq!(updated(&idle).await, conversation, "the other socket has no draft");
        assert_eq!(b.rest_of("conversation-updated").await, [] as [Value; 0], "a pause ends no draft, before {name}");
        b.done("join-conversation", conversation).await;
        b.done("mark-as-read", about.clone()).await;
        assert_eq!(b.rest_of("conversation-updated").await, [] as [Value; 0], "nor does what changes nothing");
        b.done(name, payload).await;
        if name == "typing" {
            b.done("join-conversation", conversation).await;
        }
        assert_eq!(updated(&b).await, conversation, "after {name}");
    }
}

#[tokio::test]
async fn a_draft_that_nobody_goes_on_with_is_given_up_in_the_end() {
    let app = TestApp::with(&settings("quiet = \"1ms\"\nmax_hold = \"1ms\"\ndraft = \"400ms\"")).await;
    let (ann, bob, conversation) = app.pair().await;
    let (a, b) = (app.socket(&ann).await, app.socket(&bob).await);
    let start = instant();
    b.done("typing", json!({"conversationId": conversation})).await;
    a.send(conversation, "x").await;
    assert_eq!(updated(&b).await, conversation);
    assert!(start.elapsed() >= Duration::from_millis(400));
}

#[tokio::test]
async fn opening_a_conversation_nudges_the_caller_after_the_answer_and_the_other_when_it_is_new() {
    let app = TestApp::start().await;
    let (ann, bob) = (app.user("ann").await, app.user("bob").await);
    let (a, b, stranger) = (app.socket(&ann).await, app.socket(&bob).await, app.socket(&app.user("stranger").await).await);
    let start = instant();
    let conversation = app.conversation(&ann, &bob).await;
    assert_eq!(updated(&b).await, conversation, "a new one");
    assert_eq!(updated(&a).await, conversation);
    assert!(start.elapsed() >= Duration::from_millis(150), "G2 shows it twice until it refetches, and must have the answer by then");
    let again = app.conversation(&ann, &bob).await;
    assert_eq!((again, updated(&a).await), (conversation, conversation), "an existing one");
    for socket in [&b, &stranger] {
        assert_eq!(socket.rest_of("conversation-updated").await, [] as [Value; 0]);
    }
}

#[tokio::test]
async fn marks_close_together_are_told_as_one_with_all_their_messages() {
    let app = TestApp::with(&settings("quiet = \"1ms\"\ninterval = \"400ms\"")).await;
    let (ann, bob, conversation) = app.pair().await;
    let (a, sender, b) = (app.socket(&ann).await, app.socket(&bob).await, app.socket(&bob).await);
    b.done("join-conversation", conversation).await;
    let mut ids = Vec::new();
    for text in ["one", "two", "three", "four"] {
        ids.push(sender.send(conversation, text).await["id"].clone());
    }
    // Marked out of order, at once: whatever the intervals, each message is told once.
    let marks: Vec<u64> = [0, 3, 1, 2].into_iter().map(|n: usize| a.emit_asking("mark-as-read", ids[n].clone())).collect();
    for mark in marks {
        assert_eq!(a.acked(mark).await["updated"], 1);
    }
    let first = b.heard("message-read").await;
    assert_eq!((&first["messageId"], &first["messageIds"]), (&ids[0], &json!([ids[0]])), "the first at once");
    let second = b.heard("message-read").await;
    assert_eq!((&second["messageId"], &second["messageIds"]), (&ids[3], &json!(ids[1..])), "the others together, ascending");
    assert_eq!(b.rest_of("message-read").await, [] as [Value; 0]);
}

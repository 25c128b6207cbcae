//! HTTP long-polling: the same server behind another transport, and the way from it to a websocket.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tidings::clock;
use tokio_tungstenite::tungstenite::Message;

use crate::support::{DEADLINE, Poller, ROOMY, TestApp, waiting_request};

#[tokio::test]
async fn a_client_that_only_polls_is_served_like_any_other() {
    let app = TestApp::with(ROOMY).await;
    let (ann, bob, conversation) = app.pair().await;
    let mut poller = Poller::connect(&app, &ann).await;
    assert_eq!(poller.heard("online-users").await, json!([]), "it counts as online");
    let b = app.socket(&bob).await;
    assert_eq!(b.heard("online-users").await, json!([ann.id]));
    let join = format!("421[\"join-conversation\",{conversation}]");
    let send = format!("422[\"send-message\",{{\"conversationId\":{conversation},\"message\":\"👋 by polling\"}}]");
    poller.say([join, send].join("\u{1e}")).await;
    assert_eq!(poller.heard("431").await["ok"], true);
    assert_eq!(poller.heard("message-received").await["message_text"], "👋 by polling");
    b.send(conversation, "👋 back").await;
    assert_eq!(poller.heard("message-received").await["message_text"], "👋 back");
}

#[tokio::test]
async fn a_polling_client_moves_to_a_websocket_and_loses_nothing() {
    let app = TestApp::with(ROOMY).await;
    let (ann, bob, conversation) = app.pair().await;
    let mut poller = Poller::connect(&app, &ann).await;
    poller.say(format!("421[\"join-conversation\",{conversation}]")).await;
    assert_eq!(poller.heard("431").await["ok"], true);
    let mut websocket = poller.upgrade().await;
    websocket.send(Message::text("2probe")).await.expect("sends");
    let b = app.socket(&bob).await;
    b.send(conversation, "during the upgrade").await;
    let mut heard = Vec::new();
    let mut texts = |packet: &str| {
        if let Some(array) = packet.strip_prefix("42").filter(|array| array.starts_with("[\"message-received\"")) {
            heard.push(serde_json::from_str::<Value>(array).expect("JSON")[1]["message_text"].as_str().expect("text").to_owned());
        }
        heard.len()
    };
    assert_eq!(websocket.next().await.expect("a frame").expect("a frame"), Message::text("3probe"));
    // The library ends a poll that waits with a no-op; what came until then comes by it.
    loop {
        let packet = poller.next().await;
        texts(&packet);
        if packet == "6" {
            break;
        }
    }
    websocket.send(Message::text("5")).await.expect("sends");
    b.send(conversation, "after it").await;
    let both = async {
        while let Some(Ok(frame)) = websocket.next().await {
            if frame == Message::text("2") {
                websocket.send(Message::text("3")).await.expect("sends");
            }
            if texts(frame.to_text().unwrap_or_default()) == 2 {
                break;
            }
        }
    };
    tokio::time::timeout(DEADLINE, both).await.expect("both come");
    assert_eq!(heard, ["during the upgrade", "after it"]);
}

#[tokio::test]
async fn a_token_that_proves_nothing_is_refused_on_polling_too() {
    let app = TestApp::start().await;
    let mut poller = Poller::open(&app).await;
    poller.say("40{\"token\":\"nonsense\"}".to_owned()).await;
    assert_eq!(poller.next().await, "44{\"message\":\"Token is not valid\"}");
}

/// A server on which a socket may be 100 kB behind, and a text of which eleven are more than that.
async fn narrow() -> (TestApp, String) {
    let app = TestApp::with(&ROOMY.replace("outbound_bytes = 1000000000", "outbound_bytes = 100000")).await;
    (app, "x".repeat(9_900))
}

#[tokio::test]
async fn a_poller_that_stays_away_is_cut_off_when_too_many_bytes_wait_and_one_that_polls_is_not() {
    let (app, long) = narrow().await;
    let (ann, bob, conversation) = app.pair().await;
    let (mut polls, away, b) = (Poller::connect(&app, &ann).await, Poller::connect(&app, &ann).await, app.socket(&bob).await);
    let join = format!("421[\"join-conversation\",{conversation}]");
    polls.say(join.clone()).await;
    assert_eq!(polls.heard("431").await["ok"], true);
    away.say(join).await;
    for n in 0..40 {
        b.send(conversation, &format!("{n} {long}")).await;
        let heard = polls.heard("message-received").await;
        assert_eq!(heard["message_text"].as_str().and_then(|text| text.split(' ').next()), Some(n.to_string().as_str()));
    }
    assert_eq!(app.answer(away.request("GET")).await.status, 400, "its session is over");
    b.send(conversation, "not concerned").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poller_that_leaves_what_waits_for_it_is_closed_within_thirty_seconds_and_is_offline_then() {
    let app = TestApp::with(ROOMY).await;
    let (ann, bob, conversation) = app.pair().await;
    let (a, mut away, mut polls) = (app.socket(&ann).await, Poller::connect(&app, &bob).await, Poller::connect(&app, &ann).await);
    let join = format!("421[\"join-conversation\",{conversation}]");
    for poller in [&mut away, &mut polls] {
        poller.say(join.clone()).await;
        assert_eq!(poller.heard("431").await["ok"], true);
    }
    let offline = json!({"userId": bob.id, "status": "offline"});
    let leaves = async {
        let sent = clock::instant();
        a.send(conversation, "for both").await;
        while a.heard_within(Duration::from_secs(32), "user-status-changed").await.arguments[0] != offline {}
        // With the two seconds for which a page may reload, and not at the first chance: a phone may be in a tunnel.
        assert!((20..32).contains(&sent.elapsed().as_secs()), "it took {:?}", sent.elapsed());
        assert_eq!(app.answer(away.request("GET")).await.status, 400, "its session is over");
        a.send(conversation, "for those who are left").await;
    };
    let stays = async {
        for text in ["for both", "for those who are left"] {
            assert_eq!(polls.heard("message-received").await["message_text"], text);
        }
    };
    tokio::join!(leaves, stays);
}

#[tokio::test]
async fn a_poller_that_moves_to_a_websocket_is_as_far_behind_as_that_one_is() {
    let (app, long) = narrow().await;
    let (ann, bob, conversation) = app.pair().await;
    let mut poller = Poller::connect(&app, &ann).await;
    poller.say(format!("421[\"join-conversation\",{conversation}]")).await;
    assert_eq!(poller.heard("431").await["ok"], true);
    let mut websocket = poller.upgrade().await;
    websocket.send(Message::text("2probe")).await.expect("sends");
    assert_eq!(websocket.next().await.expect("a frame").expect("a frame"), Message::text("3probe"));
    while poller.next().await != "6" {}
    websocket.send(Message::text("5")).await.expect("sends");
    let b = app.socket(&bob).await;
    for n in 0..40 {
        b.send(conversation, &format!("{n} {long}")).await;
        let heard = async {
            while let Some(Ok(frame)) = websocket.next().await {
                if frame.to_text().unwrap_or_default().contains(&format!("\"message_text\":\"{n} x")) {
                    return;
                }
            }
            panic!("it ends before message {n}");
        };
        tokio::time::timeout(DEADLINE, heard).await.expect("each comes");
    }
}

#[tokio::test]
async fn a_poller_whose_waiting_poll_is_aborted_is_offline_at_once() {
    let app = TestApp::with(ROOMY).await;
    let (ann, bob, conversation) = app.pair().await;
    let a = app.socket(&ann).await;
    a.heard("online-users").await;
    let mut poller = Poller::connect(&app, &bob).await;
    // Nothing more is on its way: the next poll waits.
    assert_eq!(poller.heard("online-users").await, json!([ann.id]));
    poller.say(format!("421[\"join-conversation\",{conversation}]")).await;
    assert_eq!(poller.heard("431").await["ok"], true);
    assert_eq!(poller.so_far(), Vec::<String>::new());
    drop(waiting_request(app.address, &poller.path()).await);
    // Not only when it has answered no ping.
    while a.heard("user-status-changed").await != json!({"userId": bob.id, "status": "offline"}) {}
    assert_eq!(app.answer(poller.request("GET")).await.status, 400, "its session is over");
}

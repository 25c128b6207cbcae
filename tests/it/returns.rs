//! Coming back and recovering under stress: many at once, many times, and beside nonsense.

use futures_util::future::join_all;
use serde_json::json;

use crate::recovery::{back, following, message, texts};
use crate::support::{ROOMY, TestApp};

#[tokio::test]
async fn nonsense_in_the_place_of_a_private_id_harms_nobody() {
    let app = TestApp::with(ROOMY).await;
    let (ann, bob, conversation) = app.pair().await;
    let b = app.socket(&bob).await;
    let (a, pid, offset) = following(&app, &ann, &b, conversation).await;
    a.cut();
    b.send(conversation, "missed").await;
    // They ask at once, so that one statement may be for several.
    let nonsense = ["", "\0", &"\0".repeat(32), "ffffffffffffffffffffffffffffffff", &"é".repeat(16), "' OR 1=1", &"f".repeat(5_000)];
    let strangers = nonsense.map(|pid| back(&app, &bob, pid, None));
    let (strangers, found) = tokio::join!(join_all(strangers), back(&app, &ann, &pid, Some(&offset)));
    assert_eq!(texts(&found).await, ["missed"]);
    for stranger in strangers {
        stranger.fence().await;
    }
    // So much is not read of who has not shown a token yet.
    let endless = json!({"token": bob.token, "recovery": true, "pid": "f".repeat(100_000)});
    assert_eq!(app.connect(endless, &[]).await.err().as_deref(), Some("Token is not valid"));
}

#[tokio::test]
async fn of_many_who_come_back_at_once_each_gets_their_own() {
    let app = TestApp::with(ROOMY).await;
    let mut cut = Vec::new();
    for n in 0..20 {
        let (ann, bob) = (app.user(&format!("ann{n}")).await, app.user(&format!("bob{n}")).await);
        let (conversation, b) = (app.conversation(&ann, &bob).await, app.socket(&bob).await);
        let (a, pid, offset) = following(&app, &ann, &b, conversation).await;
        a.cut();
        b.send(conversation, &format!("missed {n}")).await;
        cut.push((ann, pid, offset));
    }
    let found = join_all(cut.iter().map(|(ann, pid, offset)| back(&app, ann, pid, Some(offset)))).await;
    for (n, socket) in found.iter().enumerate() {
        assert_eq!(texts(socket).await, [format!("missed {n}")]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn through_many_cuts_each_message_comes_once_and_in_order() {
    let app = TestApp::with(ROOMY).await;
    let (ann, bob, conversation) = app.pair().await;
    let b = app.socket(&bob).await;
    let (mut a, pid, mut offset) = following(&app, &ann, &b, conversation).await;
    const MANY: usize = 400;
    let mut heard: Vec<String> = Vec::new();
    for n in 0..MANY {
        b.emit("send-message", json!({"conversationId": conversation, "message": n.to_string()}));
    }
    while heard.len() < MANY {
        for _ in 0..15.min(MANY - heard.len()) {
            let (text, newest) = message(&a).await;
            heard.push(text);
            offset = newest;
        }
        a.cut();
        a = back(&app, &ann, &pid, Some(&offset)).await;
    }
    assert!(heard == (0..MANY).map(|n| n.to_string()).collect::<Vec<_>>(), "{heard:?}");
    assert_eq!(texts(&a).await, [] as [String; 0]);
}

//! The history of a conversation: its order, its pages, and what it holds without being asked for pages.

use serde_json::{Value, json};

use crate::support::{Answer, TestApp, User, millis};

/// A server with a conversation of so many messages, all of the same moment.
async fn with_history(settings: &str, count: i64) -> (TestApp, User, String) {
    let app = TestApp::with(settings).await;
    let (ann, bob, conversation) = app.pair().await;
    app.socket(&bob).await.send(conversation, "1").await;
    app.database.copy_message(1, count - 1).await;
    (app, ann, format!("/api/messaging/conversations/{conversation}/messages"))
}

fn texts(rows: &[Value]) -> Vec<i64> {
    rows.iter().map(|row| row["message_text"].as_str().and_then(|text| text.parse().ok()).expect("a number")).collect()
}

/// The path of the `Link` header, whose relation must be this one.
fn link(answer: &Answer, relation: &str) -> Option<String> {
    let more = answer.header("x-has-more") == Some("true");
    assert_eq!(more, answer.header("link").is_some(), "{answer:?}");
    let (path, rest) = answer.header("link")?.strip_prefix('<')?.split_once('>')?;
    assert_eq!(rest, format!("; rel=\"{relation}\""));
    Some(path.to_owned())
}

#[tokio::test]
async fn a_message_of_the_history_has_the_fields_of_the_event_without_temp_id() {
    let app = TestApp::start().await;
    let (ann, bob, conversation) = app.pair().await;
    let a = app.socket(&ann).await;
    let payload = json!({"conversationId": conversation, "message": "hi", "tempId": "temp-1700000000000"});
    let mut sent = a.done("send-message", payload).await["message"].take();
    let path = format!("/api/messaging/conversations/{conversation}/messages");
    sent.as_object_mut().expect("an object").remove("tempId");
    assert_eq!(app.get(&path, &bob).await.rows(), [sent.clone()]);
    app.socket(&bob).await.done("mark-as-read", json!({"conversationId": conversation})).await;
    let read = app.get(&path, &ann).await.rows().remove(0);
    assert!(read["is_read"] == true && millis(&read["read_at"]) >= millis(&sent["created_at"]), "{read}");
    let envelope = app.get(&format!("{path}?envelope=1"), &ann).await.ok();
    assert_eq!(envelope, json!({"conversationId": conversation, "otherUserName": "bob", "messages": [read], "hasMore": false}));
}

#[tokio::test]
async fn without_a_limit_the_newest_thousand_come_oldest_first_and_a_link_leads_to_the_rest() {
    let (app, ann, path) = with_history("", 2500).await;
    let mut seen = Vec::new();
    let mut next = Some(path.clone());
    for expected in [1501..=2500, 501..=1500, 1..=500] {
        let answer = app.get(&next.expect("a link"), &ann).await;
        next = link(&answer, "prev");
        let page = texts(&answer.rows());
        assert_eq!(page, expected.collect::<Vec<_>>());
        seen.splice(0..0, page);
    }
    assert_eq!((next, seen.len()), (None, 2500));
    let envelope = app.get(&format!("{path}?envelope=1"), &ann).await.ok();
    assert_eq!((&envelope["hasMore"], envelope["messages"].as_array().map(Vec::len)), (&json!(true), Some(1000)));
}

#[tokio::test]
async fn a_history_limit_of_zero_means_all_of_it() {
    let (app, ann, path) = with_history("[messages]\nhistory_limit = 0", 2500).await;
    let answer = app.get(&path, &ann).await;
    assert_eq!(link(&answer, "prev"), None);
    assert_eq!(answer.rows().len(), 2500);
}

#[tokio::test]
async fn before_goes_back_and_after_goes_forward_from_an_id() {
    let (app, ann, path) = with_history("", 10).await;
    for (query, expected, more) in [
        ("limit=3", vec![8, 9, 10], Some("prev")),
        ("limit=10", (1..=10).collect(), None),
        ("limit=1000", (1..=10).collect(), None),
        ("before=8&limit=3", vec![5, 6, 7], Some("prev")),
        ("before=4&limit=3", vec![1, 2, 3], None),
        ("before=1", vec![], None),
        ("before=999999&limit=1", vec![10], Some("prev")),
        ("after=7", vec![8, 9, 10], None),
        ("after=2&limit=3", vec![3, 4, 5], Some("next")),
        ("after=7&limit=3", vec![8, 9, 10], None),
        ("after=10", vec![], None),
        ("after=2&before=6", vec![3, 4, 5], None),
    ] {
        let answer = app.get(&format!("{path}?{query}"), &ann).await;
        assert_eq!(link(&answer, more.unwrap_or_default()).is_some(), more.is_some(), "{query}");
        assert_eq!(texts(&answer.rows()), expected, "{query}");
    }
    let page = app.get(&format!("{path}?limit=3"), &ann).await;
    let earlier = app.get(&link(&page, "prev").expect("a link"), &ann).await;
    assert_eq!(texts(&earlier.rows()), [5, 6, 7], "the link keeps the limit");
}

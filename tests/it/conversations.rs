//! Opening conversations, the inbox, the history: what they answer, in which order, page by page.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{ROOMY, TestApp, User, id, millis};

const ROUTE: &str = "/api/messaging/conversations";

async fn inbox(app: &TestApp, user: &User, query: &str) -> Vec<Value> {
    app.get(&format!("{ROUTE}{query}"), user).await.rows()
}

fn names(rows: &[Value]) -> Vec<&str> {
    rows.iter().filter_map(|row| row["other_user_name"].as_str()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_who_open_the_same_conversation_at_once_get_one() {
    let app = TestApp::with(ROOMY).await;
    let (ann, bob) = (app.user("ann").await, app.user("bob").await);
    let calls = (0..100).map(|n| {
        let (caller, other) = if n % 2 == 0 { (&ann, &bob) } else { (&bob, &ann) };
        app.post(ROUTE, caller, json!({"otherUserId": other.id}))
    });
    let answers = join_all(calls).await;
    assert!(answers.iter().all(|a| matches!(a.status, 200 | 201) && a.body["id"] == answers[0].body["id"]), "{answers:?}");
    assert_eq!(answers.iter().filter(|a| a.status == 201).count(), 1, "one of them made it");
    assert_eq!(app.database.one::<i64>("SELECT COUNT(*) FROM conversations").await, 1);
    let lower_first: bool = app.database.one("SELECT user1_id < user2_id FROM conversations").await;
    assert!(lower_first);
}

#[tokio::test]
async fn a_conversation_is_opened_with_another_existing_user_only() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    for own in [json!(ann.id), json!(ann.id.to_string())] {
        let answer = app.post(ROUTE, &ann, json!({"otherUserId": own})).await;
        answer.refused(400, "invalid_payload");
        assert_eq!(answer.body["error"], "Cannot start conversation with yourself");
    }
    app.post(ROUTE, &ann, json!({"otherUserId": 999_999})).await.refused(404, "not_found");
    for nonsense in [json!({}), json!({"otherUserId": null}), json!({"otherUserId": "x"}), json!({"otherUserId": 0}), json!([1]), json!(7)]
    {
        app.post(ROUTE, &ann, nonsense).await.refused(400, "invalid_payload");
    }
    for nonsense in [json!({"otherUserId": {"a": 1}}), json!({"otherUserId": [2]}), json!({"otherUserId": 1.5}), json!({"otherUserId": -2})]
    {
        app.post(ROUTE, &ann, nonsense).await.refused(400, "invalid_payload");
    }
    let broken = app.request("POST", ROUTE).bearer_auth(&ann.token).header("content-type", "application/json").body("{\"otherUserId\":");
    app.answer(broken).await.refused(400, "invalid_payload");
    let form = app.request("POST", ROUTE).bearer_auth(&ann.token).header("content-type", "text/plain").body("{}");
    app.answer(form).await.refused(415, "unsupported_media_type");
    let huge = json!({"otherUserId": 1, "more": "x".repeat(1 << 20)});
    app.post(ROUTE, &ann, huge).await.refused(413, "too_large");
    assert_eq!(app.database.one::<i64>("SELECT COUNT(*) FROM conversations").await, 0);
}

#[tokio::test]
async fn a_conversation_has_the_same_fields_when_it_is_opened_and_in_the_inbox() {
    let app = TestApp::start().await;
    let (ann, bob) = (app.user("ann").await, app.user_with_role("bob", "agency").await);
    app.database.run("UPDATE users SET avatar = '/uploads/bob.png' WHERE username = 'bob'").await;
    let new = app.post(ROUTE, &ann, json!({"otherUserId": bob.id.to_string()})).await;
    assert_eq!(new.status, 201);
    assert_eq!(
        new.body,
        json!({
            "id": id(&new.body), "user1_id": ann.id, "user2_id": bob.id, "created_at": new.body["created_at"], "other_user_id": bob.id,
            "other_user_name": "bob", "other_user_avatar": "/uploads/bob.png", "other_user_role": "agency", "last_message": null,
            "last_message_at": new.body["created_at"], "unread_count": 0,
        })
    );
    millis(&new.body["created_at"]);
    assert_eq!(inbox(&app, &ann, "").await, std::slice::from_ref(&new.body));
    let said = app.socket(&bob).await.send(id(&new.body), "hi").await;
    let again = app.post(ROUTE, &ann, json!({"otherUserId": bob.id})).await.ok();
    assert_eq!((&again["last_message"], &again["last_message_at"], &again["unread_count"]), (&json!("hi"), &said["created_at"], &json!(1)));
    assert_eq!(inbox(&app, &ann, "").await, [again]);
    assert_eq!(inbox(&app, &bob, "").await[0]["unread_count"], 0, "one's own message is not unread");
    assert_eq!(inbox(&app, &bob, "").await[0]["other_user_avatar"], Value::Null);
}

#[tokio::test]
async fn the_inbox_shows_the_newest_activity_first_and_true_numbers() {
    let app = TestApp::with(ROOMY).await;
    let ann = app.user("ann").await;
    let mut talks = Vec::new();
    for name in ["bob", "carl", "dora"] {
        let other = app.user(name).await;
        talks.push((app.conversation(&ann, &other).await, app.socket(&other).await));
    }
    assert_eq!(names(&inbox(&app, &ann, "").await), ["dora", "carl", "bob"]);
    for n in 0..150 {
        talks[0].1.send(talks[0].0, &n.to_string()).await;
    }
    talks[1].1.send(talks[1].0, "hi").await;
    let rows = inbox(&app, &ann, "").await;
    assert_eq!(names(&rows), ["carl", "bob", "dora"]);
    assert_eq!(rows.iter().map(|r| r["unread_count"].as_i64()).collect::<Vec<_>>(), [Some(1), Some(150), Some(0)]);
    assert_eq!((&rows[1]["last_message"], &rows[2]["last_message"]), (&json!("149"), &Value::Null));
    assert_eq!(app.get("/api/messaging/unread-count", &ann).await.ok(), json!({"unreadCount": 151}));
    app.socket(&ann).await.done("mark-as-read", json!({"conversationId": talks[0].0})).await;
    assert_eq!(app.get("/api/messaging/unread-count", &ann).await.ok(), json!({"unreadCount": 1}));
}

#[tokio::test]
async fn a_search_finds_a_part_of_a_name_and_takes_every_character_as_it_is() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    for name in ["Bobby", "100% Bob", "b_b", "bxb", "ÄRGER", "back\\slash", "excl!"] {
        app.conversation(&ann, &app.user(name).await).await;
    }
    for (search, found) in [
        ("bob", vec!["100% Bob", "Bobby"]),
        ("BOBB", vec!["Bobby"]),
        ("%25", vec!["100% Bob"]),
        ("_", vec!["b_b"]),
        ("b_b", vec!["b_b"]),
        ("%5C", vec!["back\\slash"]),
        ("!", vec!["excl!"]),
        ("'", vec![]),
        ("ann", vec![]),
        ("%00", vec![]),
        ("nobody%27%20OR%201=1--", vec![]),
    ] {
        assert_eq!(names(&inbox(&app, &ann, &format!("?search={search}")).await), found, "{search}");
    }
    assert_eq!(inbox(&app, &ann, "?search=").await.len(), 7);
}

#[tokio::test]
async fn pages_of_the_inbox_hold_each_conversation_once_also_where_moments_are_equal() {
    let app = TestApp::with(ROOMY).await;
    let ann = app.user("ann").await;
    for n in 0..7 {
        app.conversation(&ann, &app.user(&format!("user{n}")).await).await;
    }
    for ties in [false, true] {
        if ties {
            app.database.run("UPDATE conversations SET created_at = (SELECT newest FROM (SELECT MAX(created_at) AS newest FROM conversations) AS all_of_them)").await;
        }
        let all = names(&inbox(&app, &ann, "").await).join(" ");
        assert_eq!(all, "user6 user5 user4 user3 user2 user1 user0");
        let (mut pages, mut query) = (Vec::new(), "?limit=2".to_owned());
        loop {
            let page = inbox(&app, &ann, &query).await;
            let Some(last) = page.last() else { break };
            query = format!("?limit=2&before={}&before_id={}", last["last_message_at"].as_str().expect("a moment"), id(last));
            pages.extend(page);
            assert!(pages.len() <= 7, "each once: {pages:?}");
        }
        assert_eq!(names(&pages).join(" "), all, "with ties: {ties}");
    }
}

#[tokio::test]
async fn nonsense_in_a_query_is_refused_and_a_malformed_id_names_nothing() {
    let app = TestApp::start().await;
    let (ann, _, conversation) = app.pair().await;
    let history = format!("{ROUTE}/{conversation}/messages");
    for query in ["limit=0", "limit=1001", "limit=-1", "limit=x", "limit=", "limit=1.5", "limit=99999999999999999999"] {
        app.get(&format!("{ROUTE}?{query}"), &ann).await.refused(400, "invalid_payload");
        app.get(&format!("{history}?{query}"), &ann).await.refused(400, "invalid_payload");
    }
    for query in
        ["before=yesterday", "before=7", "before=2026-13-01T00:00:00.000Z", "before=2026-11-01T00:00:00.000Z&before_id=x", "before_id=x"]
    {
        app.get(&format!("{ROUTE}?{query}"), &ann).await.refused(400, "invalid_payload");
    }
    for query in ["before=x", "before=0", "before=-1", "after=x", "after=1.5", "before=1e3"] {
        app.get(&format!("{history}?{query}"), &ann).await.refused(400, "invalid_payload");
    }
    for bad in ["abc", "0", "-1", "1.5", "99999999999999999999", "1%00", "%201", "1e1", "null", "undefined"] {
        app.get(&format!("{ROUTE}/{bad}/messages"), &ann).await.refused(404, "not_found");
        app.post(&format!("{ROUTE}/{bad}/mark-read"), &ann, Value::Null).await.refused(404, "not_found");
        app.get(&format!("/api/messaging/support/tickets/{bad}"), &ann).await.refused(404, "not_found");
    }
    app.get("/api/messaging/nonsense", &ann).await.refused(404, "not_found");
    assert_eq!(app.get("/nowhere", &ann).await.status, 404);
}

#[tokio::test]
async fn a_moment_at_either_end_of_time_is_one_like_any_other() {
    let app = TestApp::start().await;
    let (ann, _, _) = app.pair().await;
    for (moment, rows) in
        [("9999-12-31T23:59:59.999Z", 1), ("2016-12-31T23:59:60Z", 0), ("1000-01-01T00:00:00Z", 0), ("0001-01-01T00:00:00Z", 0)]
    {
        for more in ["", "&before_id=1", "&before_id=9007199254740991"] {
            let answer = app.get(&format!("/api/messaging/conversations?before={moment}{more}"), &ann).await;
            assert_eq!((answer.status, answer.body.as_array().map(Vec::len)), (200, Some(rows)), "{moment}{more}: {answer:?}");
        }
    }
    for beyond in ["9999-12-31T23:59:59-23:59", "0000-12-31T23:59:59Z", "0001-01-01T00:00:00%2B23:59", "10000-01-01T00:00:00Z"] {
        app.get(&format!("/api/messaging/conversations?before={beyond}"), &ann).await.refused(400, "invalid_payload");
    }
}

#[tokio::test]
async fn a_user_opens_so_many_new_conversations_in_an_hour_and_finds_the_old_ones_all_the_same() {
    let app = TestApp::with("[limits]\nconversations = 3").await;
    let ann = app.user("ann").await;
    let mut others = Vec::new();
    for n in 0..5 {
        others.push(app.user(&format!("user{n}")).await);
    }
    for (n, other) in others.iter().enumerate() {
        let answer = app.post(ROUTE, &ann, json!({"otherUserId": other.id})).await;
        if n < 3 {
            assert_eq!(answer.status, 201, "{answer:?}");
        } else {
            answer.refused(429, "rate_limited");
            assert!(answer.header("retry-after").is_some_and(|seconds| seconds != "0"), "{answer:?}");
        }
    }
    assert_eq!(app.post(ROUTE, &ann, json!({"otherUserId": others[0].id})).await.status, 200, "one that there is");
    assert_eq!(app.post(ROUTE, &others[4], json!({"otherUserId": ann.id})).await.status, 201, "another user is not concerned");
}

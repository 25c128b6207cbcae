//! Lists: how much of one an answer holds, in rows and in bytes, and how the rest is found.

use serde_json::{Value, json};

use crate::support::{Answer, ROOMY, TestApp, User, id};

const INBOX: &str = "/api/messaging/conversations";
const TICKETS: &str = "/api/messaging/support/tickets";

/// Where older rows are, if there are any.
fn older(answer: &Answer) -> Option<String> {
    assert_eq!(answer.header("x-has-more"), answer.header("link").map(|_| "true"), "{answer:?}");
    let (path, relation) = answer.header("link")?.strip_prefix('<')?.split_once('>')?;
    assert_eq!(relation, "; rel=\"prev\"");
    Some(path.to_owned())
}

/// All pages of a list, each as the server gives it.
async fn pages(app: &TestApp, user: &User, path: &str) -> Vec<Answer> {
    let (mut pages, mut next) = (Vec::new(), Some(path.to_owned()));
    while let Some(path) = next {
        let page = app.get(&path, user).await;
        next = older(&page);
        pages.push(page);
        assert!(pages.len() < 100, "pages without end");
    }
    pages
}

fn ids(rows: &[Value]) -> Vec<i64> {
    rows.iter().map(id).collect()
}

/// So many users, each with a conversation with `user` and an unread message there.
async fn crowd(app: &TestApp, user: &User, count: i64) {
    let first = user.id + 10;
    let row = |n: i64| format!("({}, 'user{n}', 'user{n}@crowd.example', '-', 'traveller')", first + n);
    app.database.bulk("users (id, username, email, password, role)", (0..count).map(row)).await;
    // A moment as the server stores it.
    app.conversation(user, &app.user("somebody").await).await;
    let moment: String = app.database.one("SELECT CAST(created_at AS CHAR(40)) FROM conversations").await;
    app.database.run("DELETE FROM conversations").await;
    let row = |n: i64| format!("({}, {}, {}, '{moment}', '{moment}')", n + 1, user.id, first + n);
    app.database.bulk("conversations (id, user1_id, user2_id, created_at, last_message_at)", (0..count).map(row)).await;
    let row = |n: i64| format!("({}, {}, {}, 'hi', FALSE, '{moment}')", n + 1, first + n, user.id);
    app.database.bulk("messages (conversation_id, sender_id, receiver_id, message_text, is_read, created_at)", (0..count).map(row)).await;
}

#[tokio::test]
async fn without_a_limit_all_conversations_come_and_beyond_the_setting_a_link_leads_to_the_rest() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    crowd(&app, &ann, 1100).await;
    let all = app.get(INBOX, &ann).await;
    assert_eq!(older(&all), None);
    let rows = all.rows();
    assert_eq!(ids(&rows), (1..=1100).rev().collect::<Vec<_>>());
    let badge = app.get("/api/messaging/unread-count", &ann).await.ok()["unreadCount"].as_i64();
    assert_eq!(rows.iter().map(|row| row["unread_count"].as_i64()).sum::<Option<i64>>(), badge, "the badge is the sum of the rows");

    let app = TestApp::with("[messages]\ninbox_limit = 40").await;
    let ann = app.user("ann").await;
    crowd(&app, &ann, 100).await;
    for (path, lengths, expected) in [
        (INBOX.to_owned(), vec![40, 40, 20], (1..=100).rev().collect::<Vec<_>>()),
        (format!("{INBOX}?limit=70"), vec![70, 30], (1..=100).rev().collect()),
        (format!("{INBOX}?limit=100"), vec![100], (1..=100).rev().collect()),
        (format!("{INBOX}?limit=7&search=r%31"), vec![7, 4], (11..=20).rev().chain([2]).collect()),
    ] {
        let pages = pages(&app, &ann, &path).await;
        let rows: Vec<Vec<Value>> = pages.into_iter().map(Answer::rows).collect();
        assert_eq!(rows.iter().map(Vec::len).collect::<Vec<_>>(), lengths, "{path}");
        assert_eq!(ids(&rows.concat()), expected, "{path}");
    }
}

#[tokio::test]
async fn without_a_limit_the_newest_thousand_tickets_come_however_many_owners_there_are() {
    let app = TestApp::start().await;
    let (ann, admin) = (app.user("ann").await, app.admin("admin").await);
    let row = |owner: i64, n: i64| format!("({}, {owner}, 's{n}', 'd')", n);
    let columns = "support_tickets (id, user_id, subject, description)";
    app.database.bulk(columns, (1..=1200).map(|n| row(ann.id, n))).await;
    let own = pages(&app, &ann, TICKETS).await.into_iter().map(Answer::rows).collect::<Vec<_>>();
    assert_eq!(own.iter().map(Vec::len).collect::<Vec<_>>(), [1000, 200]);
    assert_eq!(ids(&own.concat()), (1..=1200).rev().collect::<Vec<_>>());
    assert_eq!(ids(&app.get(&format!("{TICKETS}?limit=2&before=1200"), &ann).await.rows()), [1199, 1198]);

    // More owners than any database takes parameters of one statement.
    app.database.bulk(columns, (1201..=67_000).map(|n| row(n, n))).await;
    for path in [format!("{TICKETS}/admin/all"), format!("{TICKETS}/admin/all?status=open")] {
        let newest = app.get(&path, &admin).await;
        let rest = older(&newest).expect("there are more");
        assert_eq!(ids(&newest.rows()), (66_001..=67_000).rev().collect::<Vec<_>>());
        assert_eq!(ids(&app.get(&rest, &admin).await.rows()), (65_001..=66_000).rev().collect::<Vec<_>>());
    }
    let oldest = app.get(&format!("{TICKETS}/admin/all?before=2"), &admin).await.rows();
    assert_eq!((ids(&oldest), &oldest[0]["user_name"]), (vec![1], &json!("ann")));
}

#[tokio::test]
async fn after_zero_is_from_the_beginning() {
    let app = TestApp::with(ROOMY).await;
    let (ann, bob, conversation) = app.pair().await;
    let b = app.socket(&bob).await;
    let sent = [id(&b.send(conversation, "one").await), id(&b.send(conversation, "two").await)];
    let path = format!("{INBOX}/{conversation}/messages");
    assert_eq!(ids(&app.get(&format!("{path}?after=0"), &ann).await.rows()), sent);
    let first = app.get(&format!("{path}?after=0&limit=1"), &ann).await;
    assert!(first.header("link").is_some_and(|link| link.ends_with("; rel=\"next\"")), "{first:?}");
    assert_eq!(ids(&first.rows()), sent[..1]);
    app.get(&format!("{path}?before=0"), &ann).await.refused(400, "invalid_payload");
}

#[tokio::test]
async fn no_answer_is_longer_than_its_budget_and_page_by_page_nothing_is_missing() {
    const BUDGET: usize = 30_000;
    let app = TestApp::with(&format!("{ROOMY}answer_bytes = {BUDGET}")).await;
    let (ann, admin) = (app.user("ann").await, app.admin("admin").await);
    // Characters that are longer in JSON than in the database.
    let text = "\u{1}\"\\🌍".repeat(500);
    let mut conversations = Vec::new();
    for n in 0..10 {
        let other = app.user(&format!("user{n}")).await;
        let conversation = app.conversation(&ann, &other).await;
        app.socket(&other).await.send(conversation, &text).await;
        conversations.push(conversation);
    }
    let b = app.socket(&ann).await;
    for _ in 0..19 {
        b.send(conversations[0], &text).await;
    }
    let mut tickets = Vec::new();
    for _ in 0..10 {
        let answer = app.post(TICKETS, &ann, json!({"subject": "s", "description": text})).await;
        tickets.push(id(&answer.body));
    }
    for _ in 0..10 {
        b.done("send-support-message", json!({"ticketId": tickets[0], "message": text})).await;
    }
    let history = format!("{INBOX}/{}/messages", conversations[0]);
    let envelope = format!("{history}?envelope=1");
    let details = format!("{TICKETS}/{}", tickets[0]);
    let all = format!("{TICKETS}/admin/all");
    for (path, user, count) in
        [(INBOX, &ann, 10), (&*history, &ann, 20), (&*envelope, &ann, 20), (TICKETS, &ann, 10), (&*all, &admin, 10), (&*details, &ann, 10)]
    {
        let mut found = Vec::new();
        let pages = pages(&app, user, path).await;
        assert!(pages.len() > 2, "{path}: {} pages", pages.len());
        for page in pages {
            let length: usize = page.header("content-length").and_then(|text| text.parse().ok()).expect("a length");
            assert!(length <= BUDGET, "{path}: {length} bytes");
            let body = page.ok();
            let rows = body.as_array().or_else(|| body["messages"].as_array()).expect("rows").clone();
            assert!(!rows.is_empty(), "{path}: a page without rows");
            found.extend(ids(&rows));
        }
        found.sort_unstable();
        found.dedup();
        assert_eq!(found.len(), count, "{path}: each once");
    }
    let oldest = app.get(&format!("{history}?after=0"), &ann).await;
    assert!(
        oldest.header("link").is_some_and(|link| link.contains("after=") && link.ends_with("rel=\"next\"")),
        "{:?}",
        oldest.header("link")
    );
}

#[tokio::test]
async fn a_row_that_is_longer_than_the_budget_comes_alone() {
    let app = TestApp::with(&format!("{ROOMY}answer_bytes = 3000")).await;
    let (ann, bob, conversation) = app.pair().await;
    let b = app.socket(&bob).await;
    for text in ["short".to_owned(), "x".repeat(9000), "short too".to_owned()] {
        b.send(conversation, &text).await;
    }
    let pages = pages(&app, &ann, &format!("{INBOX}/{conversation}/messages")).await;
    assert_eq!(pages.into_iter().map(|page| page.rows().len()).collect::<Vec<_>>(), [1, 1, 1]);
}

#[tokio::test]
async fn a_client_that_missed_more_than_its_queue_holds_gets_all_of_it_in_order() {
    let app = TestApp::with(&ROOMY.replace("outbound_bytes = 1000000000", "outbound_bytes = 100000\nanswer_bytes = 50000")).await;
    let (ann, bob, conversation) = app.pair().await;
    let b = app.socket(&bob).await;
    let other = app.conversation(&ann, &app.user("carl").await).await;
    let a = app.recovering_socket(&ann).await;
    a.done("join-conversation", json!([conversation, other])).await;
    let pid = a.pid().await;
    a.cut();
    for n in 0..60 {
        b.send(conversation, &format!("{n} {}", "x".repeat(9000))).await;
    }
    let a = crate::recovery::back(&app, &ann, &pid, None).await;
    for n in 0..60 {
        let (text, _) = crate::recovery::message(&a).await;
        assert!(text.starts_with(&format!("{n} ")), "{n}: {}", &text[..10]);
    }
    b.send(conversation, "live").await;
    assert_eq!(crate::recovery::message(&a).await.0, "live");
}

//! Messages of support tickets: their form, who hears them, what is refused, and an admin's reply by REST.

use serde_json::{Value, json};

use crate::support::{TestApp, id, millis};
use crate::tickets::{Stage, TICKETS};

#[tokio::test]
async fn a_support_message_is_heard_by_the_followers_and_the_sender_and_says_admin_by_the_token() {
    let stage = Stage::set().await;
    let bystander = stage.app.socket(&stage.app.admin("bystander").await).await;
    let payload =
        json!({"ticketId": stage.ticket.to_string(), "message": " 👋 ", "tempId": "t1", "senderId": stage.owner.id, "isAdmin": false});
    let ack = stage.a.done("send-support-message", payload).await;
    let told = stage.o.heard("support-message-received").await;
    assert_eq!((&ack["message"], stage.a.heard("support-message-received").await), (&told, told.clone()));
    millis(&told["created_at"]);
    assert_eq!(
        told,
        json!({
            "id": id(&told), "ticket_id": stage.ticket, "ticketId": stage.ticket, "sender_id": stage.admin.id, "senderId": stage.admin.id,
            "message_text": " 👋 ", "is_admin": true, "created_at": told["created_at"], "tempId": "t1",
        })
    );
    let payload = json!({"ticketId": stage.ticket, "message": "thanks", "isAdmin": true});
    assert_eq!(stage.o.done("send-support-message", payload).await["message"]["is_admin"], false);
    assert_eq!(stage.a.rest_of("support-message-received").await, [] as [Value; 0], "sending is no join");
    assert_eq!(bystander.rest_of("support-message-received").await, [] as [Value; 0], "an admin hears what it follows");
    let details = stage.app.get(&format!("{TICKETS}/{}", stage.ticket), &stage.owner).await.ok();
    let mut first = told;
    first.as_object_mut().expect("an object").remove("tempId");
    assert_eq!(details["messages"][0], first);
    assert_eq!(details["messages"][1]["message_text"], "thanks");
}

#[tokio::test]
async fn a_bad_support_message_is_refused_with_a_code_and_stores_nothing() {
    let stage = Stage::set().await;
    for (text, code) in [
        (json!(" \n"), "empty_message"),
        (json!("x".repeat(10_001)), "message_too_long"),
        (json!("\0"), "invalid_payload"),
        (json!(7), "invalid_payload"),
        (Value::Null, "invalid_payload"),
    ] {
        stage.o.refused("send-support-message", json!({"ticketId": stage.ticket, "message": text}), code).await;
    }
    stage.o.refused("send-support-message", json!({"message": "where?"}), "invalid_payload").await;
    let respond = format!("{TICKETS}/{}/respond", stage.ticket);
    for (body, code) in [
        (json!({}), "empty_message"),
        (json!({"message_text": "  "}), "empty_message"),
        (json!({"message_text": "x".repeat(10_001)}), "message_too_long"),
        (json!({"message_text": "a\0"}), "invalid_payload"),
        (json!({"message_text": "x", "newStatus": "done"}), "invalid_payload"),
        (json!({"message_text": 5}), "invalid_payload"),
    ] {
        stage.app.post(&respond, &stage.admin, body.clone()).await.refused(400, code);
    }
    assert_eq!(stage.app.database.one::<i64>("SELECT COUNT(*) FROM support_messages").await, 0);
    assert_eq!(stage.status().await, "open");
}

#[tokio::test]
async fn a_repeated_support_message_is_stored_once_per_ticket() {
    let stage = Stage::set().await;
    let other = stage.app.ticket(&stage.owner).await;
    let send = |ticket: i64, text: &str| json!({"ticketId": ticket, "message": text, "tempId": "temp-1700000000000"});
    let first = stage.o.done("send-support-message", send(stage.ticket, "once")).await;
    assert_eq!(stage.o.done("send-support-message", send(stage.ticket, "once")).await, first);
    assert_eq!(stage.o.rest_of("support-message-received").await, [first["message"].clone(), first["message"].clone()], "answered again");
    stage.o.done("send-support-message", send(stage.ticket, "another text")).await;
    stage.o.done("send-support-message", send(other, "once")).await;
    assert_eq!(stage.app.database.one::<i64>("SELECT COUNT(*) FROM support_messages").await, 3);
}

#[tokio::test]
async fn an_admin_responds_and_sets_the_status_in_one_go() {
    let stage = Stage::set().await;
    let respond = format!("{TICKETS}/{}/respond", stage.ticket);
    let answer = stage.app.post(&respond, &stage.admin, json!({"message_text": "done", "newStatus": "Resolved"})).await.ok();
    let told = stage.o.heard("support-message-received").await;
    let expected = json!({
        "success": true, "message": "Response added to ticket", "ticket": {"id": stage.ticket, "status": "resolved"}, "response": told,
    });
    assert_eq!(answer, expected);
    assert_eq!((&told["is_admin"], &told["sender_id"], &told["message_text"]), (&json!(true), &json!(stage.admin.id), &json!("done")));
    for socket in [&stage.o, &stage.a] {
        let statuses: Vec<Value> = socket.rest_of("ticket-updated").await.into_iter().map(|t| t["status"].clone()).collect();
        assert_eq!(statuses, ["resolved"], "announced once, not twice");
    }
    let answer = stage.app.post(&respond, &stage.admin, json!({"message": "the other name", "newStatus": "in progress"})).await.ok();
    assert_eq!(answer["ticket"]["status"], "in_progress");
    let answer = stage.app.post(&respond, &stage.admin, json!({"message": "bye", "newStatus": "CLOSED"})).await.ok();
    assert_eq!(answer["ticket"]["status"], "closed");
}

#[tokio::test]
async fn sends_of_every_kind_count_together() {
    let app = TestApp::with("[limits]\nsends = { per_second = 1, burst = 20 }").await;
    let (admin, ben) = (app.admin("admin").await, app.user("ben").await);
    let (conversation, ticket) = (app.conversation(&admin, &ben).await, app.ticket(&ben).await);
    let a = app.socket(&admin).await;
    let direct = async || a.ask("send-message", json!({"conversationId": conversation, "message": "x"})).await;
    let by_event = async || a.ask("send-support-message", json!({"ticketId": ticket, "message": "x"})).await;
    let by_rest = async || app.post(&format!("{TICKETS}/{ticket}/respond"), &admin, json!({"message": "x"})).await.body;
    // A second may pass between what uses the rate up and what is over it, but not each time.
    let drained = async || while direct().await["code"] != "rate_limited" {};
    let (mut event, mut rest) = (Value::Null, Value::Null);
    for _ in 0..5 {
        drained().await;
        event = by_event().await;
        drained().await;
        rest = by_rest().await;
        if event["code"] == "rate_limited" && rest["code"] == "rate_limited" {
            break;
        }
    }
    assert_eq!((&event["code"], &rest["code"]), (&json!("rate_limited"), &json!("rate_limited")), "after direct messages");
    let mut after = Value::Null;
    for _ in 0..5 {
        while by_event().await["code"] != "rate_limited" {}
        after = direct().await;
        if after["code"] == "rate_limited" {
            break;
        }
    }
    assert_eq!(after["code"], "rate_limited", "after messages of tickets");
}

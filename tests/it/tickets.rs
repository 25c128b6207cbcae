//! Support tickets: the state machine of a status, what is announced to whom, what admins ask for and owners may not.

use serde_json::{Value, json};

use crate::support::{ROOMY, Socket, TestApp, User, id, millis};

pub const TICKETS: &str = "/api/messaging/support/tickets";

/// A ticket with its owner and an admin.
pub struct Stage {
    pub app: TestApp,
    pub owner: User,
    pub admin: User,
    pub ticket: i64,
    /// The owner's socket, which follows the ticket.
    pub o: Socket,
    /// An admin's socket, which follows nothing.
    pub a: Socket,
}

impl Stage {
    pub async fn set() -> Self {
        let app = TestApp::with(ROOMY).await;
        let (owner, admin) = (app.user("owner").await, app.admin("admin").await);
        let ticket = app.ticket(&owner).await;
        let (o, a) = (app.socket(&owner).await, app.socket(&admin).await);
        o.done("join-support", ticket).await;
        Self { app, owner, admin, ticket, o, a }
    }

    pub async fn set_status(&self, status: &str) {
        let path = format!("{TICKETS}/{}/status", self.ticket);
        self.app.put(&path, &self.admin, json!({"status": status})).await.ok();
        self.o.rest().await;
        self.a.rest().await;
    }

    pub async fn status(&self) -> Value {
        self.app.get(&format!("{TICKETS}/{}", self.ticket), &self.owner).await.ok()["status"].clone()
    }

    pub fn message(&self, text: &str) -> Value {
        json!({"ticketId": self.ticket, "message": text})
    }
}

#[tokio::test]
async fn a_status_follows_the_messages_and_each_change_is_announced_once_whichever_way_it_came() {
    let stage = Stage::set().await;
    for (before, who, after) in [
        ("open", "admin by event", "in_progress"),
        ("open", "admin by rest", "in_progress"),
        ("open", "owner", "open"),
        ("in_progress", "admin by event", "in_progress"),
        ("in_progress", "admin by rest", "in_progress"),
        ("in_progress", "owner", "in_progress"),
        ("resolved", "admin by event", "resolved"),
        ("resolved", "admin by rest", "resolved"),
        ("resolved", "owner", "open"),
    ] {
        stage.set_status(before).await;
        let passive = [stage.app.socket(&stage.owner).await, stage.app.socket(&stage.app.admin("another").await).await];
        match who {
            "owner" => drop(stage.o.done("send-support-message", stage.message("hi")).await),
            "admin by event" => drop(stage.a.done("send-support-message", stage.message("hi")).await),
            _ => {
                let path = format!("{TICKETS}/{}/respond", stage.ticket);
                stage.app.post(&path, &stage.admin, json!({"message_text": "hi"})).await.ok();
            }
        }
        assert_eq!(stage.status().await, after, "{before}, then {who}");
        for socket in passive.iter().chain([&stage.o, &stage.a]) {
            let told: Vec<Value> = socket.rest_of("ticket-updated").await;
            assert_eq!(told.len(), usize::from(before != after), "{before}, then {who}: {told:?}");
            for told in told {
                millis(&told["updated_at"]);
                let expected = json!({"ticketId": stage.ticket, "status": after, "priority": "medium", "updated_at": told["updated_at"]});
                assert_eq!(told, expected);
            }
        }
    }
}

#[tokio::test]
async fn a_closed_ticket_takes_no_message_until_an_admin_reopens_it() {
    let stage = Stage::set().await;
    stage.set_status("closed").await;
    for socket in [&stage.o, &stage.a] {
        socket.refused("send-support-message", stage.message("too late"), "ticket_closed").await;
    }
    let respond = format!("{TICKETS}/{}/respond", stage.ticket);
    stage.app.post(&respond, &stage.admin, json!({"message": "too late"})).await.refused(409, "ticket_closed");
    assert_eq!(stage.app.database.one::<i64>("SELECT COUNT(*) FROM support_messages").await, 0);
    assert_eq!((stage.o.rest().await, stage.a.rest().await), (vec![], vec![]));
    stage.set_status("open").await;
    stage.o.done("send-support-message", stage.message("at last")).await;
}

#[tokio::test]
async fn an_admin_sets_status_and_priority_by_hand_and_words_are_taken_in_any_case() {
    let stage = Stage::set().await;
    let path = format!("{TICKETS}/{}/status", stage.ticket);
    for (body, status, priority) in [
        (json!({"status": "In Progress"}), "in_progress", "medium"),
        (json!({"status": "IN_PROGRESS", "priority": "HIGH"}), "in_progress", "high"),
        (json!({"priority": "low"}), "in_progress", "low"),
        (json!({"status": "Resolved"}), "resolved", "low"),
        (json!({"status": "closed", "priority": null}), "closed", "low"),
        (json!({"status": "open", "priority": "Medium"}), "open", "medium"),
    ] {
        let answer = stage.app.put(&path, &stage.admin, body.clone()).await.ok();
        assert_eq!(answer["message"], "Ticket updated successfully");
        assert_eq!((&answer["ticket"]["status"], &answer["ticket"]["priority"]), (&json!(status), &json!(priority)), "{body}");
        for socket in [&stage.o, &stage.a] {
            socket.rest_of("ticket-updated").await.iter().for_each(|t| assert_eq!(t["status"], status));
        }
    }
    for (body, lists) in [
        (json!({"status": "done"}), "open, in_progress, resolved, closed"),
        (json!({"priority": "urgent"}), "low, medium, high"),
        (json!({}), "status or priority"),
    ] {
        let answer = stage.app.put(&path, &stage.admin, body).await;
        answer.refused(400, "invalid_payload");
        assert!(answer.body["error"].as_str().is_some_and(|text| text.contains(lists)), "{answer:?}");
    }
    let patched = stage.app.request("PATCH", &path).bearer_auth(&stage.admin.token).json(&json!({"priority": "high"}));
    assert_eq!(stage.app.answer(patched).await.ok()["ticket"]["priority"], "high");
}

#[tokio::test]
async fn a_new_ticket_is_announced_to_admins_and_has_its_defaults() {
    let stage = Stage::set().await;
    let stranger = stage.app.socket(&stage.app.user("stranger").await).await;
    stranger.rest().await;
    let body = json!({"subject": "No key", "description": " It \"broke\" 🔑 ", "category": "Booking", "userId": 1, "status": "closed"});
    let new = stage.app.post(TICKETS, &stage.owner, body).await;
    assert_eq!(new.status, 201);
    let ticket = new.body;
    assert_eq!(
        ticket,
        json!({
            "id": id(&ticket), "user_id": stage.owner.id, "subject": "No key", "description": " It \"broke\" 🔑 ", "category": "booking",
            "status": "open", "priority": "medium", "created_at": ticket["created_at"], "updated_at": ticket["created_at"],
        })
    );
    millis(&ticket["created_at"]);
    let told = stage.a.heard("ticket-updated").await;
    let expected =
        json!({"ticketId": id(&ticket), "status": "open", "priority": "medium", "updated_at": ticket["updated_at"], "created": true});
    assert_eq!(told, expected);
    assert_eq!(stage.a.rest_of("ticket-updated").await, [] as [Value; 0]);
    assert_eq!(stranger.rest().await, []);
    let second = stage.app.post(TICKETS, &stage.owner, json!({"subject": "s", "description": "d"})).await.body;
    assert_eq!(second["category"], "general");
    let own = stage.app.get(TICKETS, &stage.owner).await.rows();
    assert_eq!((&own[0], &own[1], own.len()), (&second, &ticket, 3), "newest first");
    let details = stage.app.get(&format!("{TICKETS}/{}", id(&ticket)), &stage.admin).await.ok();
    assert_eq!((&details["subject"], &details["messages"]), (&json!("No key"), &json!([])));
}

#[tokio::test]
async fn a_ticket_that_says_too_little_too_much_or_nonsense_is_refused() {
    let stage = Stage::set().await;
    for body in [
        json!({}),
        json!({"subject": "s"}),
        json!({"description": "d"}),
        json!({"subject": " ", "description": "d"}),
        json!({"subject": "s", "description": "\t"}),
        json!({"subject": "x".repeat(256), "description": "d"}),
        json!({"subject": "a\0", "description": "d"}),
        json!({"subject": 1, "description": "d"}),
    ] {
        stage.app.post(TICKETS, &stage.owner, body).await.refused(400, "invalid_payload");
    }
    let answer = stage.app.post(TICKETS, &stage.owner, json!({"subject": "s", "description": "d", "category": "billing"})).await;
    answer.refused(400, "invalid_payload");
    assert!(answer.body["error"].as_str().is_some_and(|t| t.contains("general, booking, destination, complaint")), "{answer:?}");
    let longest = stage.app.post(TICKETS, &stage.owner, json!({"subject": "ü".repeat(255), "description": "d"})).await;
    assert_eq!(longest.status, 201);
    assert_eq!(stage.app.database.one::<i64>("SELECT COUNT(*) FROM support_tickets").await, 2);
}

#[tokio::test]
async fn an_admin_filters_all_tickets_and_sees_adopted_rows_as_they_are() {
    let stage = Stage::set().await;
    let database = &stage.app.database;
    for (status, category, priority) in
        [("'Resolved'", "'Complaint'", "'High'"), ("'In Progress'", "NULL", "'medium'"), ("'escalated'", "'other'", "'urgent'")]
    {
        let values = format!("({}, 's', 'd', {status}, {category}, {priority})", stage.owner.id);
        database
            .insert(&format!("INSERT INTO support_tickets (user_id, subject, description, status, category, priority) VALUES {values}"))
            .await;
    }
    let all = stage.app.get(&format!("{TICKETS}/admin/all"), &stage.admin).await.rows();
    let shown: Vec<_> =
        all.iter().map(|t| [&t["status"], &t["category"], &t["priority"]].map(|v| v.as_str().unwrap_or_default())).collect();
    let expected = [
        ["escalated", "other", "urgent"],
        ["in_progress", "general", "medium"],
        ["resolved", "complaint", "high"],
        ["open", "general", "medium"],
    ];
    assert_eq!(shown, expected, "newest first, known words in their lower-case form");
    assert!(all.iter().all(|t| t["user_name"] == "owner" && t["user_id"] == stage.owner.id));
    for (query, ids) in [
        ("", vec![4, 3, 2, 1]),
        ("?status=open", vec![1]),
        ("?status=RESOLVED", vec![2]),
        ("?status=In%20Progress", vec![3]),
        ("?category=general", vec![3, 1]),
        ("?category=Complaint&status=resolved", vec![2]),
        ("?category=booking", vec![]),
        ("?status=&category=", vec![4, 3, 2, 1]),
        ("?limit=2", vec![4, 3]),
        ("?limit=2&before=3", vec![2, 1]),
        ("?before=1", vec![]),
    ] {
        for route in ["/api/messaging/support/tickets/admin/all", "/api/messaging/support/admin/tickets"] {
            let rows = stage.app.get(&format!("{route}{query}"), &stage.admin).await.rows();
            assert_eq!(rows.iter().map(id).collect::<Vec<_>>(), ids, "{route}{query}");
        }
    }
    for nonsense in ["?status=done", "?category=x", "?limit=0", "?limit=x", "?before=x"] {
        stage.app.get(&format!("{TICKETS}/admin/all{nonsense}"), &stage.admin).await.refused(400, "invalid_payload");
    }
}

//! The rights matrix: every actor at every route and every event. A refused one says why, writes nothing and is heard by nobody.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Heard, ROOMY, Socket, TestApp, User};

const ACTORS: [&str; 6] = ["no token", "removed user", "other user", "owner", "partner", "admin"];

/// `{c}` is a conversation of owner and partner, `{m}` a message in it, `{t}` a ticket of the owner, `{x}` a bystander.
const ROUTES: &[(&str, &str, &str, [u16; 6])] = &[
    ("GET", "/api/messaging/conversations", "", [401, 401, 200, 200, 200, 200]),
    ("GET", "/api/messaging/conversations?search=a&limit=5", "", [401, 401, 200, 200, 200, 200]),
    ("GET", "/api/messaging/conversations/{c}/messages", "", [401, 401, 403, 200, 200, 403]),
    ("GET", "/api/messaging/conversations/{c}/messages?envelope=1", "", [401, 401, 403, 200, 200, 403]),
    ("GET", "/api/messaging/conversations/999999/messages", "", [401, 401, 404, 404, 404, 404]),
    ("POST", "/api/messaging/conversations/{c}/mark-read", "", [401, 401, 403, 200, 200, 403]),
    ("PUT", "/api/messaging/conversations/{c}/mark-read", "", [401, 401, 403, 200, 200, 403]),
    ("POST", "/api/messaging/conversations/999999/mark-read", "", [401, 401, 404, 404, 404, 404]),
    ("GET", "/api/messaging/unread-count", "", [401, 401, 200, 200, 200, 200]),
    ("GET", "/api/messaging/support/tickets", "", [401, 401, 200, 200, 200, 200]),
    ("GET", "/api/messaging/support/tickets/{t}", "", [401, 401, 403, 200, 403, 200]),
    ("GET", "/api/messaging/support/tickets/999999", "", [401, 401, 404, 404, 404, 404]),
    ("GET", "/api/messaging/support/tickets/admin/all", "", [401, 401, 403, 403, 403, 200]),
    ("GET", "/api/messaging/support/admin/tickets", "", [401, 401, 403, 403, 403, 200]),
    ("POST", "/api/messaging/support/tickets/{t}/respond", r#"{"message_text":"x","isAdmin":true}"#, [401, 401, 403, 403, 403, 200]),
    ("POST", "/api/messaging/support/tickets/999999/respond", r#"{"message":"x"}"#, [401, 401, 403, 403, 403, 404]),
    ("PUT", "/api/messaging/support/tickets/{t}/status", r#"{"status":"resolved"}"#, [401, 401, 403, 403, 403, 200]),
    ("PATCH", "/api/messaging/support/tickets/{t}/status", r#"{"priority":"high"}"#, [401, 401, 403, 403, 403, 200]),
    ("PUT", "/api/messaging/support/tickets/999999/status", r#"{"status":"closed"}"#, [401, 401, 403, 403, 403, 404]),
    ("POST", "/api/messaging/admin/users/{x}/ban", "", [401, 401, 403, 403, 403, 200]),
    ("POST", "/api/messaging/admin/users/{x}/unban", "", [401, 401, 403, 403, 403, 200]),
    ("POST", "/api/messaging/admin/users/999999/ban", "", [401, 401, 403, 403, 403, 404]),
    ("GET", "/api/auth/me", "", [401, 401, 200, 200, 200, 200]),
    ("GET", "/api/user/search?query=a", "", [401, 401, 200, 200, 200, 200]),
    ("POST", "/api/messaging/conversations", r#"{"otherUserId":{x}}"#, [401, 401, 201, 201, 201, 201]),
    ("POST", "/api/messaging/conversations", r#"{"otherUserId":999999}"#, [401, 401, 404, 404, 404, 404]),
    ("POST", "/api/messaging/support/tickets", r#"{"subject":"s","description":"d"}"#, [401, 401, 201, 201, 201, 201]),
];

/// What the ack says; nothing stands for success. The removed user has a test of its own.
type Codes = [&'static str; 5];
const OK: &str = "";
const UN: &str = "unauthorized";
const FO: &str = "forbidden";
const NF: &str = "not_found";
const PARTICIPANTS: Codes = [UN, FO, OK, OK, FO];
const OWNER_AND_ADMIN: Codes = [UN, FO, OK, FO, OK];
const NOT_THERE: Codes = [UN, NF, NF, NF, NF];

const EVENTS: &[(&str, &str, Codes)] = &[
    ("join-conversation", "{c}", PARTICIPANTS),
    ("join-conversation", "\"{c}\"", PARTICIPANTS),
    ("join-conversation", r#"{"conversationId":{c},"userId":{x}}"#, PARTICIPANTS),
    ("join-conversation", "[{c},{c}]", PARTICIPANTS),
    ("join-conversation", "999999", NOT_THERE),
    ("send-message", r#"{"conversationId":{c},"message":"x","senderId":{x}}"#, PARTICIPANTS),
    ("send-message", r#"{"conversationId":999999,"message":"x"}"#, NOT_THERE),
    ("typing", r#"{"conversationId":{c},"userId":{x}}"#, PARTICIPANTS),
    ("typing", r#"{"conversationId":{c},"isTyping":false}"#, PARTICIPANTS),
    ("typing", r#"{"conversationId":999999}"#, NOT_THERE),
    ("stop-typing", r#"{"conversationId":{c},"userId":{x}}"#, PARTICIPANTS),
    ("stop-typing", r#"{"conversationId":999999}"#, NOT_THERE),
    ("mark-as-read", "{m}", PARTICIPANTS),
    ("mark-as-read", r#"{"messageId":{m},"conversationId":{c}}"#, PARTICIPANTS),
    ("mark-as-read", r#"{"conversationId":{c}}"#, PARTICIPANTS),
    ("mark-as-read", "999999", NOT_THERE),
    ("mark-as-read", r#"{"conversationId":999999}"#, NOT_THERE),
    ("join-support", "{t}", OWNER_AND_ADMIN),
    ("join-support", r#"{"ticketId":"{t}","isAdmin":true}"#, OWNER_AND_ADMIN),
    ("join-support", "[{t}]", OWNER_AND_ADMIN),
    ("join-support", "999999", NOT_THERE),
    ("send-support-message", r#"{"ticketId":{t},"message":"x","isAdmin":true,"senderId":{x}}"#, OWNER_AND_ADMIN),
    ("send-support-message", r#"{"ticketId":999999,"message":"x"}"#, NOT_THERE),
    ("no-such-event", r#"{"conversationId":{c}}"#, [UN, "invalid_payload", "invalid_payload", "invalid_payload", "invalid_payload"]),
    ("user-online", r#"{"userId":{x},"role":"admin"}"#, [OK; 5]),
    ("leave-conversation", "{c}", PARTICIPANTS),
    ("leave-conversation", r#"{"conversationId":{c}}"#, PARTICIPANTS),
    ("leave-conversation", "999999", NOT_THERE),
];

struct Stage {
    app: TestApp,
    users: Vec<Option<User>>,
    /// One socket of each actor that acts; none of a removed user.
    sockets: Vec<Option<Socket>>,
    /// Sockets that follow all there is, and some that follow nothing.
    listeners: Vec<(&'static str, Socket)>,
    places: [(&'static str, i64); 4],
    cells: usize,
}

impl Stage {
    async fn set() -> Self {
        let app = TestApp::with(ROOMY).await;
        let (owner, partner, conversation) = app.pair().await;
        let (other, admin, bystander) = (app.user("other").await, app.admin("admin").await, app.user("bystander").await);
        let removed = app.user("removed").await;
        app.database.run(&format!("DELETE FROM users WHERE id = {}", removed.id)).await;
        let ticket = app.ticket(&owner).await;
        let message = app.socket(&partner).await.send(conversation, "unread").await["id"].as_i64();
        let places = [("{c}", conversation), ("{t}", ticket), ("{m}", message.expect("an id")), ("{x}", bystander.id)];
        let mut listeners = Vec::new();
        for (name, user) in [("owner", &owner), ("partner", &partner), ("admin", &admin)] {
            let (follower, idle) = (app.socket(user).await, app.socket(user).await);
            if name != "admin" {
                follower.done("join-conversation", conversation).await;
            }
            if name != "partner" {
                follower.done("join-support", ticket).await;
            }
            listeners.extend([(name, follower), (name, idle)]);
        }
        let users = vec![None, Some(removed), Some(other), Some(owner), Some(partner), Some(admin)];
        let mut sockets = vec![Some(app.guest(&[("user-agent", "not seen elsewhere")]).await), None];
        for user in users.iter().flatten().skip(1) {
            sockets.push(Some(app.socket(user).await));
        }
        Self { app, users, sockets, listeners, places, cells: 0 }
    }

    fn fill(&self, template: &str) -> String {
        self.places.iter().fold(template.to_owned(), |text, (name, id)| text.replace(name, &id.to_string()))
    }

    async fn request(&mut self, (method, path, body, statuses): &(&str, &str, &str, [u16; 6]), actor: usize) {
        let mut request = self.app.request(method, &self.fill(path));
        if !body.is_empty() {
            request = request.header("content-type", "application/json").body(self.fill(body));
        }
        if let Some(user) = &self.users[actor] {
            request = request.bearer_auth(&user.token);
        }
        let answer = self.app.answer(request).await;
        let cell = format!("{method} {path} by {}: {answer:?}", ACTORS[actor]);
        assert_eq!(answer.status, statuses[actor], "{cell}");
        let code = match answer.status {
            401 => UN,
            403 => FO,
            404 => NF,
            _ => "",
        };
        assert_eq!(answer.body["code"].as_str().unwrap_or_default(), code, "{cell}");
        self.cells += 1;
    }

    async fn event(&mut self, (name, payload, codes): &(&str, &str, Codes), actor: usize) {
        let Some(socket) = &self.sockets[actor] else { return };
        let code = codes[actor.saturating_sub(1)];
        let payload: Value = serde_json::from_str(&self.fill(payload)).expect("a payload is JSON");
        let ack = socket.ask(name, payload.clone()).await;
        assert_eq!(
            (&ack["ok"], ack["code"].as_str().unwrap_or_default()),
            (&json!(code.is_empty()), code),
            "{name} {payload} by {}: {ack}",
            ACTORS[actor]
        );
        let told: Vec<(String, Value)> = socket.rest().await.into_iter().map(|e| (e.name, e.arguments[0]["code"].clone())).collect();
        if !code.is_empty() {
            let failed = (name == &"send-message").then(|| ("message-failed".to_owned(), json!(code)));
            let expected: Vec<_> = failed.into_iter().chain([("error".to_owned(), json!(code))]).collect();
            assert_eq!(told, expected, "{name} {payload} by {}", ACTORS[actor]);
        }
        self.cells += 1;
    }

    async fn drain(&self) {
        for socket in self.listeners.iter().map(|(_, s)| s).chain(self.sockets.iter().flatten()) {
            socket.rest().await;
        }
    }

    /// Nothing may be written and nothing told. What is told late would come before the news of a conversation of one's own.
    async fn assert_untouched(&self, before: &[String], what: &str) {
        for (name, socket) in &self.listeners {
            assert_eq!(socket.rest().await, [], "{what}: heard by {name}");
        }
        assert_eq!(self.app.database.everything().await, before, "{what}: written");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_actor_may_do_at_every_route_and_event_what_the_matrix_says_and_a_refusal_has_no_effect() {
    let mut stage = Stage::set().await;
    let outsider = stage.app.user("outsider").await;
    let mut sentinels = Vec::new();
    for user in stage.users[3..].iter().flatten() {
        sentinels.push((user.clone(), stage.app.conversation(user, &outsider).await));
    }
    for (name, socket) in &stage.listeners {
        let at = ["owner", "partner", "admin"].iter().position(|n| n == name).expect("a name");
        while socket.heard("conversation-updated").await["conversationId"] != sentinels[at].1 {}
    }
    stage.drain().await;

    let before = stage.app.database.everything().await;
    for route in ROUTES {
        for actor in (0..ACTORS.len()).filter(|actor| route.3[*actor] >= 400) {
            stage.request(route, actor).await;
            stage.assert_untouched(&before, &format!("{} {} by {}", route.0, route.1, ACTORS[actor])).await;
        }
    }
    for event in EVENTS {
        for actor in (0..ACTORS.len()).filter(|actor| *actor != 1 && !event.2[actor.saturating_sub(1)].is_empty()) {
            stage.event(event, actor).await;
            stage.assert_untouched(&before, &format!("{} {} by {}", event.0, event.1, ACTORS[actor])).await;
        }
    }
    for (at, (user, sentinel)) in sentinels.iter().enumerate() {
        stage.app.conversation(user, &outsider).await;
        for (_, socket) in &stage.listeners[2 * at..2 * at + 2] {
            assert_eq!(socket.heard("conversation-updated").await, json!({"conversationId": sentinel}), "nothing was told late");
        }
    }
    stage.assert_untouched(&before, "all refusals together").await;

    for route in ROUTES {
        for actor in (0..ACTORS.len()).filter(|actor| route.3[*actor] < 400) {
            stage.request(route, actor).await;
        }
    }
    for event in EVENTS {
        for actor in (0..ACTORS.len()).filter(|actor| *actor != 1 && event.2[actor.saturating_sub(1)].is_empty()) {
            stage.event(event, actor).await;
        }
    }
    println!("the rights matrix has {} cells", stage.cells);
    assert!(stage.cells >= 150, "the matrix has only {} cells", stage.cells);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_who_is_removed_gets_no_socket_and_living_ones_do_nothing_more() {
    let app = TestApp::with(ROOMY).await;
    let owner = app.user("owner").await;
    let mut actors = Vec::new();
    for (n, (name, payload, _)) in EVENTS.iter().enumerate() {
        let user = app.user(&format!("doomed{n}")).await;
        let (conversation, ticket) = (app.conversation(&user, &owner).await, app.ticket(&user).await);
        let message = app.socket(&owner).await.send(conversation, "unread").await["id"].to_string();
        let filled = payload.replace("{c}", &conversation.to_string()).replace("{t}", &ticket.to_string());
        let filled = filled.replace("{m}", &message).replace("{x}", &owner.id.to_string());
        let payload: Value = serde_json::from_str(&filled).expect("a payload is JSON");
        actors.push((*name, payload, conversation, app.socket(&user).await, user));
    }
    let (listener, idle) = (app.socket(&owner).await, app.socket(&owner).await);
    let all: Vec<i64> = actors.iter().map(|actor| actor.2).collect();
    listener.done("join-conversation", all).await;
    app.database.run("DELETE FROM users WHERE username LIKE 'doomed%'").await;
    // The server remembers for one second that a user existed.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let (before, _, _) = (app.database.everything().await, listener.rest().await, idle.rest().await);
    for (name, payload, _, socket, user) in &actors {
        socket.emit(name, payload.clone());
        assert_eq!(socket.heard("error").await["code"], "unauthorized", "{name} {payload}");
        socket.disconnected().await;
        let again = app.connect(json!({"token": user.token}), &[]).await;
        assert!(again.is_err_and(|why| why == "User no longer exists"), "{name}");
    }
    assert_eq!(app.database.everything().await, before, "nothing is written");
    let presence = ["online-users", "user-status-changed", "user-offline"];
    for socket in [&listener, &idle] {
        let heard: Vec<Heard> = socket.rest().await.into_iter().filter(|e| !presence.contains(&e.name.as_str())).collect();
        assert_eq!(heard, [], "nothing is told");
    }
}

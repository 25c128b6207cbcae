//! A database that the legacy backend made: it is adopted as it is, with its rows, and the legacy backend can go on using it.

use serde_json::{Value, json};

use crate::support::{DEADLINE, ROOMY, TestApp, User, id, token};

/// The legacy tables with rows as they are in production: pairs in either order, moments in whole seconds, flags that are null.
const LEGACY: &[&str] = &[
    "CREATE TABLE users (id INTEGER PRIMARY KEY AUTOINCREMENT, username varchar(100) NOT NULL, avatar varchar(255), firstName varchar(100), \
     lastName varchar(100), dateOfBirth date, email varchar(150) NOT NULL UNIQUE, password varchar(255) NOT NULL, \
     isProfileCompleted tinyint(1) DEFAULT 0, created_at timestamp DEFAULT CURRENT_TIMESTAMP, phone varchar(20), website varchar(255), \
     address varchar(255), logo varchar(255), description text, verified tinyint(1) DEFAULT 0, \
     updated_at timestamp DEFAULT CURRENT_TIMESTAMP, role varchar(20))",
    "CREATE TABLE conversations (id INTEGER PRIMARY KEY AUTOINCREMENT, user1_id int NOT NULL, user2_id int NOT NULL, \
     created_at datetime DEFAULT CURRENT_TIMESTAMP, last_message_at datetime DEFAULT CURRENT_TIMESTAMP, trip_id int NOT NULL, \
     user_low int GENERATED ALWAYS AS (min(user1_id, user2_id)) STORED, user_high int GENERATED ALWAYS AS (max(user1_id, user2_id)) STORED, \
     UNIQUE (user1_id, user2_id), UNIQUE (user1_id, user2_id, trip_id))",
    "CREATE TABLE messages (id INTEGER PRIMARY KEY AUTOINCREMENT, conversation_id int NOT NULL REFERENCES conversations(id) ON DELETE CASCADE, \
     sender_id int NOT NULL, receiver_id int NOT NULL, message_text longtext NOT NULL, is_read tinyint(1) DEFAULT 0, read_at datetime, \
     created_at datetime DEFAULT CURRENT_TIMESTAMP)",
    "CREATE TABLE support_tickets (id INTEGER PRIMARY KEY AUTOINCREMENT, user_id int NOT NULL, subject varchar(255) NOT NULL, \
     description longtext NOT NULL, category varchar(50), status varchar(50) DEFAULT 'open', priority varchar(50) DEFAULT 'medium', \
     created_at datetime DEFAULT CURRENT_TIMESTAMP, updated_at datetime DEFAULT CURRENT_TIMESTAMP)",
    "CREATE TABLE support_messages (id INTEGER PRIMARY KEY AUTOINCREMENT, ticket_id int NOT NULL REFERENCES support_tickets(id) ON DELETE CASCADE, \
     sender_id int NOT NULL, message_text longtext NOT NULL, is_admin tinyint(1) DEFAULT 0, created_at datetime DEFAULT CURRENT_TIMESTAMP)",
    "INSERT INTO users (id, username, email, password, role, verified, created_at) VALUES \
     (1, 'ann', 'ann@test.example', '-', 'traveller', 0, '2025-01-02 03:04:05'), \
     (2, 'bob', 'bob@test.example', '-', 'agency', 1, '2025-01-02 03:04:05'), (3, 'carl', 'carl@test.example', '-', NULL, 0, '2025-01-02 03:04:05')",
    "INSERT INTO conversations (id, user1_id, user2_id, created_at, last_message_at, trip_id) VALUES (7, 2, 1, '2025-01-02 03:04:05', NULL, 12)",
    "INSERT INTO messages (conversation_id, sender_id, receiver_id, message_text, is_read, created_at) VALUES \
     (7, 2, 1, 'first', 1, '2025-01-02 03:04:05'), (7, 2, 1, 'second', 0, '2025-01-02 03:04:05'), (7, 2, 1, 'third', NULL, '2025-01-02 03:04:05')",
    "INSERT INTO support_tickets (user_id, subject, description, category, status, priority) VALUES (1, 's', 'd', NULL, 'In Progress', 'HIGH')",
];

const ROWS: &str = "SELECT user1_id || ' ' || user2_id || ' ' || created_at || ' ' || trip_id || ' ' || user_low FROM conversations WHERE id = 7 \
    UNION ALL SELECT sender_id || message_text || ifnull(is_read, 'null') || created_at FROM messages WHERE id < 4 \
    UNION ALL SELECT status || priority || ifnull(category, 'null') FROM support_tickets UNION ALL SELECT username || email FROM users";

fn user(id: i64, name: &str) -> User {
    User { id, name: name.into(), token: token(id, Some("traveller"), std::time::Duration::from_secs(600)) }
}

#[tokio::test]
async fn a_legacy_database_is_read_as_it_is_and_nothing_in_it_is_rewritten() {
    let mut app = TestApp::adopting(LEGACY, ROOMY).await;
    let ann = user(1, "ann");
    let before: Vec<String> = app.database.all(ROWS).await;
    let inbox = app.get("/api/messaging/conversations", &ann).await.rows();
    assert_eq!((inbox.len(), id(&inbox[0]), &inbox[0]["unread_count"]), (1, 7, &json!(2)), "a null flag is unread");
    assert_eq!((&inbox[0]["user1_id"], &inbox[0]["other_user_name"]), (&json!(2), &json!("bob")));
    assert_eq!((&inbox[0]["last_message"], &inbox[0]["last_message_at"]), (&json!("third"), &json!("2025-01-02T03:04:05.000Z")));
    let history = app.get("/api/messaging/conversations/7/messages", &ann).await.rows();
    let shown: Vec<_> = history.iter().map(|m| (m["message_text"].as_str().unwrap_or_default(), m["is_read"].as_bool())).collect();
    assert_eq!(shown, [("first", Some(true)), ("second", Some(false)), ("third", Some(false))], "of one second, by id");
    let tickets = app.get("/api/messaging/support/tickets", &ann).await.rows();
    let expected = [json!("in_progress"), json!("high"), json!("general")];
    assert_eq!(["status", "priority", "category"].map(|name| tickets[0][name].clone()), expected);
    app.restart().await;
    assert_eq!(app.database.all::<String>(ROWS).await, before);
}

#[tokio::test]
async fn a_pair_in_the_other_order_is_found_and_a_new_pair_satisfies_the_legacy_columns() {
    let app = TestApp::adopting(LEGACY, ROOMY).await;
    let (ann, bob, carl) = (user(1, "ann"), user(2, "bob"), user(3, "carl"));
    for (one, other) in [(&ann, &bob), (&bob, &ann)] {
        assert_eq!(app.conversation(one, other).await, 7);
    }
    let new = app.post("/api/messaging/conversations", &carl, json!({"otherUserId": ann.id})).await;
    assert_eq!(new.status, 201, "{new:?}");
    let row: String = app.database.one("SELECT user1_id || ' ' || user2_id || ' ' || trip_id FROM conversations WHERE id <> 7").await;
    assert_eq!(row, "1 3 0");
}

#[tokio::test]
async fn tidings_and_the_legacy_backend_write_side_by_side() {
    let app = TestApp::adopting(LEGACY, ROOMY).await;
    let (a, b) = (app.socket(&user(1, "ann")).await, app.socket(&user(2, "bob")).await);
    b.done("join-conversation", 7).await;
    a.send(7, "from tidings").await;
    assert_eq!(b.heard("message-received").await["message_text"], "from tidings");
    app.database.run("INSERT INTO messages (conversation_id, sender_id, receiver_id, message_text) VALUES (7, 2, 1, 'from legacy')").await;
    b.send(7, "again").await;
    let history = app.get("/api/messaging/conversations/7/messages?after=3", &user(1, "ann")).await.rows();
    assert_eq!(history.iter().map(|m| &m["message_text"]).collect::<Vec<_>>(), ["from tidings", "from legacy", "again"]);
    assert_eq!(a.done("mark-as-read", json!({"conversationId": 7})).await["updated"], 4);
    assert_eq!(app.database.one::<i64>("SELECT COUNT(*) FROM messages WHERE receiver_id = 1 AND is_read = 1").await, 5);
    assert_eq!(a.rest_of("message-failed").await, [] as [Value; 0]);
}

#[tokio::test]
async fn an_agency_that_no_admin_has_let_in_has_no_token_and_none_that_counts() {
    let app = TestApp::adopting(LEGACY, ROOMY).await;
    let account = json!({"username": "carla", "email": "carla@test.example", "password": "a good password", "role": "agency"});
    let new = app.answer(app.request("POST", "/api/auth/register").json(&account)).await;
    assert_eq!((new.status, new.body.get("token")), (201, None), "{new:?}");
    let id = new.body["userId"].as_i64().expect("an id");
    let carla = User { id, name: "carla".into(), token: token(id, Some("agency"), std::time::Duration::from_secs(600)) };
    let login = async || {
        let body = json!({"email": "carla@test.example", "password": "a good password"});
        app.answer(app.request("POST", "/api/auth/agency/login").json(&body)).await
    };
    for (verified, sentence) in [(0, "Pending admin approval"), (-1, "Your account was rejected")] {
        app.database.run(&format!("UPDATE users SET verified = {verified} WHERE id = {id}")).await;
        for answer in [login().await, app.get("/api/messaging/conversations", &carla).await, app.get("/api/auth/me", &carla).await] {
            answer.refused(403, "forbidden");
            assert_eq!(answer.body["error"], sentence);
        }
        let refusal = app.connect(json!({"token": carla.token}), &[]).await.err();
        assert!(refusal.as_deref().is_some_and(|why| why.contains(sentence)), "{refusal:?}");
    }
    app.database.run(&format!("UPDATE users SET verified = 2 WHERE id = {id}")).await;
    assert!(login().await.ok()["token"].is_string());
    assert_eq!(app.get("/api/auth/me", &carla).await.ok()["user"]["verified"], 2, "the number of the row");
    let socket = app.socket(&carla).await;
    socket.fence().await;
    app.database.run(&format!("UPDATE users SET verified = -1 WHERE id = {id}")).await;
    let refused = async { while socket.ask("user-online", id).await["code"] != "forbidden" {} };
    tokio::time::timeout(DEADLINE, refused).await.expect("a living socket acts no longer");
}

#[tokio::test]
async fn who_registers_in_a_legacy_database_obeys_its_rules() {
    let app = TestApp::adopting(LEGACY, ROOMY).await;
    let register = async |change: (&str, Value)| {
        let mut account = json!({"username": "carla", "email": "carla@test.example", "password": "secret", "role": "traveller"});
        account[change.0] = change.1;
        app.answer(app.request("POST", "/api/auth/register").json(&account)).await
    };
    for (field, value) in [("username", json!("ab")), ("password", json!("12345")), ("role", json!(""))] {
        register((field, value)).await.refused(400, "invalid_payload");
    }
    let taken = register(("email", json!("Ann@test.example"))).await;
    taken.refused(400, "invalid_payload");
    assert_eq!(taken.body["error"], "Email already exists");
    assert!(register(("role", json!("traveller"))).await.body["token"].is_string());
}

const REGISTER: &str = "/api/auth/register";

fn agency(profile: Value) -> Value {
    let mut account = json!({"username": "azores", "email": "azores@test.example", "password": "secret", "role": "agency"});
    account.as_object_mut().expect("an object").extend(profile.as_object().expect("an object").clone());
    account
}

#[tokio::test]
async fn what_an_agency_says_of_itself_is_kept_in_the_columns_that_there_are() {
    let without_a_column = [LEGACY, &["ALTER TABLE users DROP COLUMN address"]].concat();
    let app = TestApp::adopting(&without_a_column, ROOMY).await;
    let register = async |profile| app.answer(app.request("POST", REGISTER).json(&agency(profile))).await;
    for (field, wrong) in [
        ("phone", json!("1".repeat(51))),
        ("website", json!("w".repeat(256))),
        ("description", json!("a\0b")),
        ("phone", json!(351)),
        ("description", json!(["walks"])),
        ("address", json!({})),
    ] {
        register(json!({field: wrong})).await.refused(400, "invalid_payload");
    }
    assert_eq!(app.database.one::<i64>("SELECT COUNT(*) FROM users").await, 3, "what is refused leaves nothing");
    let profile = json!({"phone": "+351 21 000 0000", "website": " ", "address": "Rua do Mar 7", "description": "Walks\nand whales 🐋", "logo": "/x.png"});
    assert_eq!(register(profile).await.status, 201);
    let row = "SELECT phone || '|' || description || '|' || (website IS NULL) || (logo IS NULL) FROM users WHERE username = 'azores'";
    assert_eq!(app.database.one::<String>(row).await, "+351 21 000 0000|Walks\nand whales 🐋|11");
    let alone = TestApp::with(ROOMY).await;
    let account = agency(json!({"phone": "1", "website": null, "address": "a", "description": "d"}));
    assert_eq!(alone.answer(alone.request("POST", REGISTER).json(&account)).await.status, 201, "without the columns");
}

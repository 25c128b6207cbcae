//! The built-in accounts: registering, logging in, who one is, whom one finds, and how often one may try.

use serde_json::{Value, json};

use crate::support::{Answer, DEADLINE, Database, ROOMY, TestApp, User, program, refusal};

const REGISTER: &str = "/api/auth/register";
const TRAVELLERS: &str = "/api/auth/traveller/login";
const AGENCIES: &str = "/api/auth/agency/login";

async fn post(app: &TestApp, path: &str, body: Value) -> Answer {
    app.answer(app.request("POST", path).json(&body)).await
}

fn account(email: &str) -> Value {
    json!({"username": "ann", "email": email, "password": "a good password", "role": "traveller"})
}

fn login(email: &str, password: &str) -> Value {
    json!({"email": email, "password": password})
}

fn user_of(answer: &Value) -> User {
    let text = |name: &str| answer[name].as_str().expect("a text").to_owned();
    User { id: answer["userId"].as_i64().expect("an id"), name: text("username"), token: text("token") }
}

#[tokio::test]
async fn who_registers_can_log_in_and_is_whom_the_token_says() {
    let app = TestApp::with(ROOMY).await;
    let new = post(&app, REGISTER, account("Ann@Test.example")).await;
    assert_eq!((new.status, &new.body["role"], &new.body["role_id"]), (201, &json!("traveller"), &json!(1)), "{new:?}");
    let user = user_of(&new.body);
    let me = json!({"user": {
        "id": user.id, "username": "ann", "email": "ann@test.example", "firstName": null, "lastName": null, "dateOfBirth": null,
        "isProfileCompleted": 1, "role": "traveller", "role_id": 1, "verified": 0, "avatar": null,
    }});
    assert_eq!(app.get("/api/auth/me", &user).await.ok(), me);
    let again = post(&app, TRAVELLERS, login(" ANN@test.example ", "a good password")).await.ok();
    assert_eq!((&again["userId"], &again["role"]), (&json!(user.id), &json!("traveller")));
    assert_eq!(app.get("/api/auth/me", &user_of(&again)).await.ok(), me);
    let hash: String = app.database.one("SELECT password FROM users").await;
    assert!(hash.starts_with("$2") && hash.len() == 60, "a bcrypt hash, as the legacy table holds them: {hash}");
    app.database.run("UPDATE users SET password = '$2a' || substr(password, 4)").await;
    post(&app, TRAVELLERS, login("ann@test.example", "a good password")).await.ok();
    app.socket(&user).await.fence().await;
}

#[tokio::test]
async fn every_failed_login_is_answered_in_the_same_words() {
    let app = TestApp::with(ROOMY).await;
    assert_eq!(post(&app, REGISTER, account("ann@test.example")).await.status, 201);
    let mut agency = account("agency@test.example");
    agency["role"] = json!("Agency");
    assert_eq!(post(&app, REGISTER, agency).await.body["role_id"], 2);
    for (door, body) in [
        (TRAVELLERS, login("ann@test.example", "another password")),
        (TRAVELLERS, login("nobody@test.example", "a good password")),
        (TRAVELLERS, login("agency@test.example", "a good password")),
        (AGENCIES, login("ann@test.example", "a good password")),
        (TRAVELLERS, login("", "")),
        (TRAVELLERS, json!({})),
        (TRAVELLERS, login("ann@test.example\0", "a good password")),
        (TRAVELLERS, login("ann@test.example", "a good password\0")),
        (TRAVELLERS, login("' OR 1=1 --", "x")),
    ] {
        let answer = post(&app, door, body.clone()).await;
        answer.refused(401, "unauthorized");
        assert_eq!(answer.body["error"], "Invalid email or password", "{body}");
    }
    let in_by_its_door = post(&app, AGENCIES, login("agency@test.example", "a good password")).await.ok();
    assert_eq!(in_by_its_door["role"], "agency", "unverified, on a stand-alone server");
    post(&app, TRAVELLERS, json!({"email": 5})).await.refused(400, "invalid_payload");
}

#[tokio::test]
async fn what_cannot_be_registered_is_refused() {
    let app = TestApp::with(ROOMY).await;
    let mut first = account("ann@test.example");
    first.as_object_mut().expect("an object").remove("role");
    assert_eq!(post(&app, REGISTER, first).await.body["role"], "traveller", "the default");
    post(&app, REGISTER, account("ANN@test.example")).await.refused(409, "conflict");
    assert_eq!(post(&app, REGISTER, account("other@test.example")).await.status, 201, "usernames need not be unique");
    for (field, value) in [
        ("role", json!("admin")),
        ("role", json!("Administrator")),
        ("username", json!("")),
        ("username", json!("x".repeat(101))),
        ("username", json!("a\0b")),
        ("username", json!("ann\u{202e}nimda")),
        ("username", json!("ann\nadmin")),
        ("username", json!("ann\u{7}")),
        ("email", json!("")),
        ("email", json!("no address")),
        ("email", json!(format!("{}@test.example", "x".repeat(150)))),
        ("password", json!("")),
        ("password", json!("ü".repeat(37))),
        ("password", json!(12345)),
    ] {
        let mut body = account("new@test.example");
        body[field] = value;
        post(&app, REGISTER, body).await.refused(400, "invalid_payload");
    }
    assert_eq!(app.database.one::<i64>("SELECT COUNT(*) FROM users").await, 2);
}

#[tokio::test]
async fn an_address_may_try_twenty_times_and_is_told_when_to_come_back() {
    let app = TestApp::with("[limits]\nlogins = 20").await;
    // Refused for its role before anything is hashed; a try all the same.
    let mut body = account("ann@test.example");
    body["role"] = json!("admin");
    for n in 0..20 {
        assert_eq!(post(&app, REGISTER, body.clone()).await.status, 400, "{n}");
    }
    for door in [REGISTER, TRAVELLERS, AGENCIES] {
        let answer = post(&app, door, account("ann@test.example")).await;
        answer.refused(429, "rate_limited");
        let seconds: u64 = answer.header("retry-after").and_then(|v| v.parse().ok()).expect("seconds");
        assert!((1..=45).contains(&seconds), "fifteen minutes by twenty: {answer:?}");
        assert!(answer.body["retryAfterMs"].as_u64() > Some(0));
    }
    assert_eq!(app.database.one::<i64>("SELECT COUNT(*) FROM users").await, 0);
}

#[tokio::test]
async fn writing_requests_and_searches_are_limited_per_user() {
    let rates = "[limits]\nwrites = { per_second = 1, burst = 3 }\nsearches = { per_second = 1, burst = 3 }";
    let app = TestApp::with(rates).await;
    let (ann, bob) = (app.user("ann").await, app.user("bob").await);
    let (open, search) = ("/api/messaging/conversations", "/api/user/search?query=b");
    let mut refused = [0, 0];
    for _ in 0..8 {
        for (at, answer) in [app.post(open, &ann, json!({"otherUserId": bob.id})).await, app.get(search, &ann).await].iter().enumerate() {
            if answer.status == 429 {
                answer.refused(429, "rate_limited");
                assert!(answer.header("retry-after").is_some());
                refused[at] += 1;
            }
        }
        app.get(open, &ann).await.rows();
    }
    assert!(refused.iter().all(|n| (1..=5).contains(n)), "{refused:?} of 8, and reading is free");
    app.post(open, &bob, json!({"otherUserId": ann.id})).await.ok();
}

#[tokio::test]
async fn me_tells_flags_as_numbers_dates_as_days_and_a_number_for_the_role() {
    let app = TestApp::start().await;
    for (role, number) in [("traveller", json!(1)), ("agency", json!(2)), ("admin", Value::Null)] {
        let user = app.user_with_role(role, role).await;
        app.database
            .run(&format!(
                "UPDATE users SET verified = TRUE, \"isProfileCompleted\" = TRUE, \"dateOfBirth\" = '1999-12-31', \"firstName\" = 'Ann', \"lastName\" = 'Ö', \
                 avatar = '/a.png' WHERE id = {}",
                user.id
            ))
            .await;
        let me = app.get("/api/auth/me", &user).await.ok()["user"].take();
        let names = ["verified", "isProfileCompleted", "dateOfBirth", "firstName", "lastName", "avatar", "role", "role_id"];
        let expected = [json!(1), json!(1), json!("1999-12-31"), json!("Ann"), json!("Ö"), json!("/a.png"), json!(role), number];
        assert_eq!(names.map(|name| me[name].clone()), expected);
        assert_eq!(me.get("password"), None);
    }
}

#[tokio::test]
async fn a_search_finds_ten_others_at_most_and_nothing_for_nothing() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    for n in 0..15 {
        app.user(&format!("Anna{n}")).await;
    }
    let (percent, under) = (app.user("100%").await, app.user("a_b").await);
    let found = async |query: &str| app.get(&format!("/api/user/search{query}"), &ann).await.rows();
    let annas = found("?query=aNN").await;
    assert_eq!(annas.len(), 10);
    assert!(annas.iter().all(|u| u["id"] != ann.id && u.as_object().is_some_and(|fields| fields.len() == 2)), "{annas:?}");
    assert_eq!(found("?query=%25").await, [json!({"id": percent.id, "username": "100%"})]);
    assert_eq!(found("?query=_").await, [json!({"id": under.id, "username": "a_b"})]);
    for nothing in ["", "?query=", "?query=%20", "?query=%00", "?query=nobody", "?other=ann", "?query=%CC%81"] {
        assert_eq!(found(nothing).await, [] as [Value; 0], "{nothing}");
    }
}

/// Names, and what finds them: in any script, case, accent, width and form.
pub const FOLDED: [(&str, &str); 9] = [
    ("Иван", "иван"),
    ("José", "JOSÉ"),
    ("José", "jose"),
    ("İbrahim", "ibrahim"),
    ("Zoe\u{308}", "Zoë"),
    ("Zoë", "zoe\u{308}"),
    ("ΓΙΩΡΓΟΣ", "γιώργος"),
    ("straße", "STRASSE"),
    ("Ｗｉｄｅ", "wide"),
];

#[tokio::test]
async fn a_search_folds_by_unicode_on_every_database() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    for (name, sought) in FOLDED {
        let user = app.user(&format!("x{name}x")).await;
        app.conversation(&ann, &user).await;
        for (path, field) in [("/api/user/search?query=", "id"), ("/api/messaging/conversations?search=", "other_user_id")] {
            let encoded: String = sought.bytes().map(|byte| format!("%{byte:02X}")).collect();
            let rows = app.get(&format!("{path}{encoded}"), &ann).await.rows();
            assert!(rows.iter().any(|row| row[field] == user.id), "{sought} finds {name} by {path}: {rows:?}");
        }
    }
}

#[tokio::test]
async fn among_many_users_new_ones_are_found_at_once_changed_ones_soon_and_those_who_are_gone_never() {
    let app = TestApp::with(ROOMY).await;
    let ann = app.user("ann").await;
    let row = |n: i64| format!("({}, 'user{n}', 'user{n}@crowd.example', '-')", 1000 + n);
    app.database.bulk("users (id, username, email, password)", (0..5_500).map(row)).await;
    let names = async |query: &str| {
        let rows = app.get(&format!("/api/user/search?query={query}"), &ann).await.rows();
        rows.iter().map(|row| row["username"].as_str().expect("a name").to_owned()).collect::<Vec<_>>()
    };
    let shortest: Vec<String> = ["user499".to_owned()].into_iter().chain((4990..4999).map(|n| format!("user{n}"))).collect();
    assert_eq!(names("USER499").await, shortest);
    app.database.run("INSERT INTO users (id, username, email, password) VALUES (20000, 'Žofie', 'z@crowd.example', '-')").await;
    assert_eq!(names("zofie").await, ["Žofie"], "a new one");
    app.database.run("DELETE FROM users WHERE username = 'user777'").await;
    assert!(!names("user777").await.contains(&"user777".to_owned()), "one that is gone");
    app.database.run("UPDATE users SET username = 'Łucja' WHERE username = 'user778'").await;
    assert!(!names("user778").await.contains(&"user778".to_owned()), "the old name");
    let renamed = async { while names("łuc").await != ["Łucja"] {} };
    // All names are read again after a while that is longer on a busy machine.
    tokio::time::timeout(6 * DEADLINE, renamed).await.expect("the new name is found");
}

#[tokio::test]
async fn what_stands_around_the_interface_answers_in_json() {
    let app = TestApp::start().await;
    let get = async |path: &str| app.answer(app.request("GET", path)).await;
    assert!(get("/").await.ok()["message"].is_string());
    assert_eq!(get("/healthz").await.ok()["status"], "ok");
    assert_eq!(get("/readyz").await.ok()["status"], "ok");
    let metrics = get("/metrics").await;
    assert!(metrics.status == 200 && metrics.body.as_str().is_some_and(|text| text.contains("tidings_sockets 0\n")), "{metrics:?}");
    for nowhere in ["/nowhere", "/api/nowhere", "/api/messaging/nowhere", "/api/messaging"] {
        get(nowhere).await.refused(404, "not_found");
    }
    let answer = app.answer(app.request("DELETE", "/api/messaging/conversations")).await;
    assert!(matches!(answer.status, 404 | 405) && answer.body["error"].is_string(), "{answer:?}");
    let bare = app.answer(app.request("GET", "/api/messaging/unread-count")).await;
    bare.refused(401, "unauthorized");
    for header in ["Basic abc", "Bearer", "Bearer ", "bearer nonsense"] {
        let request = app.request("GET", "/api/messaging/unread-count").header("authorization", header);
        app.answer(request).await.refused(401, "unauthorized");
    }
}

#[tokio::test]
async fn a_token_of_the_command_line_has_the_role_of_its_user_and_is_made_for_no_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let app = TestApp::over(Database::create(folder.path()).await, tempfile::tempdir().expect("a folder"), "").await;
    let admin = app.admin("cleo").await;
    let (id, url) = (admin.id.to_string(), app.database.url.clone());
    let token = |arguments: &[&str]| {
        let output = program(&[], folder.path(), &url).args(["token", "--user"]).args(arguments).output().expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        User { token: String::from_utf8(output.stdout).expect("text").trim().to_owned(), ..admin.clone() }
    };
    let all = "/api/messaging/support/tickets/admin/all";
    assert_eq!(app.get(all, &token(&[&id])).await.status, 200);
    assert_eq!(app.get(all, &token(&[&id, "--role", "traveller"])).await.status, 403);
    let said = refusal(program(&[], folder.path(), &url).args(["token", "--user", "999", "--role", "admin"]));
    assert_eq!(said, "tidings: There is no user 999.");
}

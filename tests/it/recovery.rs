//! Connection state recovery on the wire: who is offered it, what a client that was cut off gets back, and what it does not.

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{CUT_OFF, DEADLINE, ROOMY, Socket, TestApp, User, token};

const ORIGIN: &[(&str, &str)] = &[("origin", "http://localhost:5173")];

/// The message and the offset of the next message event.
pub async fn message(socket: &Socket) -> (String, String) {
    let heard = socket.heard_whole("message-received").await;
    let [message, offset] = &heard.arguments[..] else { panic!("{heard:?} has no offset") };
    (message["message_text"].as_str().expect("a text").to_owned(), offset.as_str().expect("an offset is a string").to_owned())
}

/// The texts of all messages that came, none of which may come twice.
pub async fn texts(socket: &Socket) -> Vec<String> {
    let texts = socket.rest_of("message-received").await;
    texts.iter().map(|m| m["message_text"].as_str().expect("a text").to_owned()).collect()
}

/// A socket that comes back.
pub async fn back(app: &TestApp, user: &User, pid: &str, offset: Option<&str>) -> Socket {
    let mut auth = json!({"token": user.token, "recovery": true, "pid": pid});
    if let Some(offset) = offset {
        auth["offset"] = json!(offset);
    }
    app.connect(auth, &[]).await.expect("comes back")
}

/// The private id of a socket whose session is stored. The writer stores in order: this is for who has nothing else stored after it.
pub async fn saved(app: &TestApp, socket: &Socket) -> String {
    let pid = socket.pid().await;
    let stored = async {
        while app.database.one::<i64>(&format!("SELECT COUNT(*) FROM recovery_sessions WHERE pid = '{pid}'")).await == 0 {
            app.answer(app.request("GET", "/readyz")).await;
        }
    };
    tokio::time::timeout(DEADLINE, stored).await.expect("its session is stored");
    pid
}

/// Ann follows her conversation with Bob, has heard one message, and knows pid and offset.
pub async fn following(app: &TestApp, ann: &User, bob: &Socket, conversation: i64) -> (Socket, String, String) {
    let a = app.recovering_socket(ann).await;
    a.done("join-conversation", conversation).await;
    let pid = a.pid().await;
    bob.send(conversation, "heard").await;
    let (_, offset) = message(&a).await;
    (a, pid, offset)
}

#[tokio::test]
async fn a_private_id_is_in_the_one_connect_packet_of_browsers_and_of_who_asks() {
    let app = TestApp::with(ROOMY).await;
    let (ann, bob, conversation) = app.pair().await;
    let (ticket, b) = (app.ticket(&ann).await, app.socket(&bob).await);
    let own = format!("http://{}", app.address);
    let (library, browser) = ([("origin", own.as_str())], [("origin", own.as_str()), ("user-agent", "Mozilla/5.0 (X11)")]);
    for (auth, headers, recovers) in [
        (json!({"token": ann.token}), &[][..], false),
        (json!({"token": ann.token, "recovery": false}), &[], false),
        (json!({"token": ann.token}), ORIGIN, true),
        (json!({"token": ann.token}), &library, false),
        (json!({"token": ann.token}), &browser, true),
        (json!({"token": ann.token, "recovery": true}), &[], true),
    ] {
        let a = app.connect(auth.clone(), headers).await.expect("connects");
        b.send(conversation, "before").await;
        a.fence().await;
        assert_eq!(a.offers(), usize::from(recovers), "{auth}: at once");
        a.done("join-conversation", conversation).await;
        a.done("join-support", ticket).await;
        b.send(conversation, "after").await;
        a.send(conversation, "own").await;
        a.fence().await;
        assert_eq!((a.offers(), a.connects()), (usize::from(recovers), 1), "{auth}: there is no second");
        for _ in 0..2 {
            let heard = a.heard_whole("message-received").await;
            assert_eq!(
                (heard.arguments.len(), heard.arguments.last().is_some_and(Value::is_string)),
                (1 + usize::from(recovers), recovers)
            );
        }
    }
}

#[tokio::test]
async fn recovery_can_be_switched_off() {
    let app = TestApp::with("[recovery]\nenabled = false").await;
    let (ann, _, conversation) = app.pair().await;
    let a = app.recovering_socket(&ann).await;
    a.done("join-conversation", conversation).await;
    a.send(conversation, "x").await;
    assert_eq!((a.heard_whole("message-received").await.arguments.len(), a.offers()), (1, 0));
}

#[tokio::test]
async fn who_was_cut_off_gets_exactly_what_it_missed_in_order_and_follows_again() {
    let app = TestApp::with(ROOMY).await;
    let (ann, bob, conversation) = app.pair().await;
    let b = app.socket(&bob).await;
    b.send(conversation, "before the join").await;
    let (a, pid, offset) = following(&app, &ann, &b, conversation).await;
    a.cut();
    for n in 0..20 {
        b.send(conversation, &n.to_string()).await;
    }
    b.done("typing", json!({"conversationId": conversation})).await;
    let a = back(&app, &ann, &pid, Some(&offset)).await;
    assert_eq!(a.pid().await, pid, "the same private id");
    b.send(conversation, "live").await;
    let mut newest = String::new();
    for expected in (0..20).map(|n| n.to_string()).chain(["live".to_owned()]) {
        let (text, offset) = message(&a).await;
        assert_eq!(text, expected);
        newest = offset;
    }
    assert_eq!(a.heard("online-users").await, json!([bob.id]), "the current list is sent");
    assert_eq!(a.heard("conversation-updated").await, json!({"conversationId": conversation}));
    assert_eq!(texts(&a).await, [] as [String; 0], "once each");
    let typing = a.rest_of("user-typing").await;
    assert!(typing.len() <= 1, "typing is not replayed: {typing:?}");
    assert_eq!((a.offers(), a.connects()), (1, 1));
    a.cut();
    assert_eq!(texts(&back(&app, &ann, &pid, Some(&newest)).await).await, [] as [String; 0], "nothing missed, nothing replayed");
}

#[tokio::test]
async fn without_an_offset_what_was_stored_since_the_join_is_missed() {
    let app = TestApp::with(ROOMY).await;
    let (ann, bob, conversation) = app.pair().await;
    let b = app.socket(&bob).await;
    b.send(conversation, "before").await;
    let a = app.recovering_socket(&ann).await;
    a.done("join-conversation", conversation).await;
    let pid = a.pid().await;
    a.cut();
    b.send(conversation, "after").await;
    assert_eq!(texts(&back(&app, &ann, &pid, None).await).await, ["after"]);
    for nonsense in ["", "x", "-1.-1", "99999999999999999999.0", "1.2.3", "' OR 1=1"] {
        assert_eq!(texts(&back(&app, &ann, &pid, Some(nonsense)).await).await, ["after"], "{nonsense:?} is no offset");
    }
}

#[tokio::test]
async fn what_was_missed_survives_a_restart_of_the_server() {
    let mut app = TestApp::with(ROOMY).await;
    let (ann, bob, conversation) = app.pair().await;
    let (a, pid, offset) = following(&app, &ann, &app.socket(&bob).await, conversation).await;
    app.restart().await;
    a.closed().await;
    let b = app.socket(&bob).await;
    b.send(conversation, "after the restart").await;
    let a = back(&app, &ann, &pid, Some(&offset)).await;
    assert_eq!(message(&a).await.0, "after the restart");
    b.send(conversation, "live").await;
    assert_eq!(message(&a).await.0, "live");
}

/// A request by a TCP connection that is kept, as a proxy keeps its own; the answer, or nothing when the connection was cut.
async fn by(connection: &mut TcpStream, path: &str) -> Option<String> {
    connection.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.ok()?;
    let (mut answer, mut some) = (String::new(), [0; 4096]);
    loop {
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
        let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if length.is_some_and(|length: usize| body.len() >= length) {
            return Some(answer);
        }
        match connection.read(&mut some).await {
            Ok(n @ 1..) => answer.push_str(std::str::from_utf8(&some[..n]).expect("text")),
            _ => return None,
        }
    }
}

#[tokio::test]
async fn a_recovery_that_fails_ends_its_own_session_and_no_connection_that_others_use() {
    let app = TestApp::with(ROOMY).await;
    let ann = app.user("ann").await;
    app.database.run("DROP TABLE recovery_sessions").await;
    let path = "/socket.io/?EIO=4&transport=polling";
    let mut proxy = TcpStream::connect(app.address).await.expect("connects");
    let open = by(&mut proxy, path).await.expect("it opens");
    let open: Value = serde_json::from_str(open.split_once("\r\n\r\n0").expect("an open packet").1).expect("JSON");
    let session = format!("{path}&sid={}", open["sid"].as_str().expect("a session"));
    let connect = json!({"token": ann.token, "recovery": true, "pid": "0123456789abcdef0123456789abcdef"});
    assert_eq!(app.answer(app.request("POST", &session).body(format!("40{connect}"))).await.status, 200);
    let mut answer = app.answer(app.request("GET", &session)).await;
    while answer.body == json!(2) {
        answer = app.answer(app.request("GET", &session)).await;
    }
    assert_eq!(answer.status, 400, "a client that is refused would not come back: {answer:?}");
    let health = by(&mut proxy, "/healthz").await.expect("the connection of somebody else is there");
    assert!(health.starts_with("HTTP/1.1 200"), "{health}");
    let websocket = app.connect(connect, &[]).await;
    assert_eq!(websocket.err().as_deref(), Some(CUT_OFF), "a websocket is its own connection");
}

#[tokio::test]
async fn somebody_elses_private_id_is_worth_nothing() {
    let app = TestApp::with(ROOMY).await;
    let (ann, bob, conversation) = app.pair().await;
    let (b, thief) = (app.socket(&bob).await, app.user("thief").await);
    let (a, pid, offset) = following(&app, &ann, &b, conversation).await;
    a.cut();
    b.send(conversation, "a secret").await;
    for stolen in [pid.as_str(), "0123456789abcdef0123456789abcdef", "", "%", "' OR ''='"] {
        let t = back(&app, &thief, stolen, Some("0.0")).await;
        b.send(conversation, "another").await;
        assert_eq!(texts(&t).await, [] as [String; 0]);
        assert_eq!((t.pid().await != stolen, t.rest_of("conversation-updated").await), (true, vec![]));
    }
    let guest = app.connect(json!({"recovery": true, "pid": pid, "offset": "0.0"}), &[("user-agent", "another")]).await.expect("connects");
    assert_eq!(guest.rest().await, []);
    assert_eq!(texts(&back(&app, &ann, &pid, Some(&offset)).await).await.len(), 6, "to its owner it is worth as much as before");
}

#[tokio::test]
async fn rights_are_verified_anew() {
    let app = TestApp::with(ROOMY).await;
    let (owner, admin) = (app.user("owner").await, app.admin("admin").await);
    let (ticket, o) = (app.ticket(&owner).await, app.socket(&owner).await);
    let a = app.recovering_socket(&admin).await;
    a.done("join-support", ticket).await;
    let pid = a.pid().await;
    a.cut();
    let say = |text: &str| json!({"ticketId": ticket, "message": text});
    o.done("send-support-message", say("missed")).await;
    let demoted = User { token: token(admin.id, Some("traveller"), std::time::Duration::from_secs(60)), ..admin.clone() };
    let d = back(&app, &demoted, &pid, None).await;
    o.done("send-support-message", say("live")).await;
    assert_eq!(d.rest_of("support-message-received").await, [] as [Value; 0]);
    assert!(app.connect(json!({"token": "forged", "recovery": true, "pid": pid}), &[]).await.is_err(), "no token, no way back");
}

#[tokio::test]
async fn support_messages_are_recovered_beside_direct_ones_by_one_offset() {
    let app = TestApp::with(ROOMY).await;
    let (ann, bob, conversation) = app.pair().await;
    let second = app.conversation(&ann, &app.user("carl").await).await;
    let (ticket, b, admin) = (app.ticket(&ann).await, app.socket(&bob).await, app.socket(&app.admin("admin").await).await);
    let (a, pid, _) = following(&app, &ann, &b, conversation).await;
    a.done("join-conversation", json!([conversation, second])).await;
    a.done("join-support", ticket).await;
    admin.done("send-support-message", json!({"ticketId": ticket, "message": "heard"})).await;
    let heard = a.heard_whole("support-message-received").await;
    let offset = heard.arguments[1].as_str().expect("an offset").to_owned();
    // Other sends on the same socket keep the order of what it stores about itself.
    a.send(second, "own").await;
    a.cut();
    for n in ["1", "2"] {
        b.send(conversation, n).await;
        admin.done("send-support-message", json!({"ticketId": ticket, "message": n})).await;
    }
    let a = back(&app, &ann, &pid, Some(&offset)).await;
    assert_eq!(texts(&a).await, ["own", "1", "2"]);
    let support = a.rest_of("support-message-received").await;
    assert_eq!(support.iter().map(|m| m["message_text"].as_str()).collect::<Vec<_>>(), [Some("1"), Some("2")]);
}

#[tokio::test]
async fn who_left_a_conversation_or_closed_its_socket_gets_nothing_of_it() {
    let app = TestApp::with(ROOMY).await;
    let (ann, bob, conversation) = app.pair().await;
    let b = app.socket(&bob).await;
    let (a, pid, offset) = following(&app, &ann, &b, conversation).await;
    a.done("leave-conversation", conversation).await;
    // The writer stores in order: when this is stored, the leaving is.
    b.send(conversation, "missed").await;
    a.cut();
    let a = back(&app, &ann, &pid, Some(&offset)).await;
    assert_eq!(texts(&a).await, [] as [String; 0]);
    let (a, pid, offset) = following(&app, &ann, &b, conversation).await;
    a.close().await;
    b.send(conversation, "missed, too").await;
    // The session's end is written beside the messages, soon.
    while app.database.one::<i64>(&format!("SELECT COUNT(*) FROM recovery_sessions WHERE pid = '{pid}'")).await > 0 {
        app.answer(app.request("GET", "/readyz")).await;
    }
    let a = back(&app, &ann, &pid, Some(&offset)).await;
    assert_eq!((texts(&a).await, a.pid().await != pid), (vec![], true));
}

#[tokio::test]
async fn a_session_that_is_too_old_is_none() {
    let app = TestApp::with(ROOMY).await;
    let (ann, bob, conversation) = app.pair().await;
    let b = app.socket(&bob).await;
    let (a, pid, offset) = following(&app, &ann, &b, conversation).await;
    a.cut();
    b.send(conversation, "missed").await;
    app.database.run("UPDATE recovery_sessions SET used_at = '2025-01-01 00:00:00'").await;
    assert_eq!(texts(&back(&app, &ann, &pid, Some(&offset)).await).await, [] as [String; 0]);
}

//! Ids that are given out again, since the tables were put back: whoever followed a conversation or a ticket that is lost takes no part in the one
//! that has its id now, and hears, reads and writes nothing there.

use serde_json::json;

use crate::nodes::{becomes, two_nodes};
use crate::recovery::back;
use crate::support::{ROOMY, Socket, TestApp, User};

/// What is told of a conversation or a ticket.
const NEWS: [&str; 7] =
    ["message-received", "message-read", "typing", "user-typing", "user-stopped-typing", "support-message-received", "ticket-updated"];

/// What a socket has heard of conversations and tickets.
async fn news(socket: &Socket) -> Vec<String> {
    let heard = socket.rest().await.into_iter().filter(|event| NEWS.contains(&event.name.as_str()));
    heard.map(|event| format!("{event:?}")).collect()
}

/// Ann and Bob, whose conversation will be lost, and Carl and Dora, who will have its id.
struct Cast {
    ann: User,
    bob: User,
    carl: User,
    dora: User,
    conversation: i64,
}

impl Cast {
    async fn on(app: &TestApp) -> Self {
        let (ann, bob, conversation) = app.pair().await;
        Self { ann, bob, carl: app.user("carl").await, dora: app.user("dora").await, conversation }
    }

    /// Puts the tables back to before the conversation, and gives its id out again: by the server, or by somebody else who writes there.
    async fn put_back(&self, app: &TestApp, by_server: bool) {
        app.database.put_back("messages", 0).await;
        app.database.put_back("conversations", self.conversation - 1).await;
        let again = if by_server {
            app.conversation(&self.carl, &self.dora).await
        } else {
            let (a, b) = (self.carl.id, self.dora.id);
            app.database.insert(&format!("INSERT INTO conversations (user1_id, user2_id) VALUES ({a}, {b})")).await
        };
        assert_eq!(again, self.conversation, "the id is given out again");
    }
}

/// A socket of each of these users that follows a conversation.
async fn followers<const N: usize>(app: &TestApp, users: [&User; N], conversation: i64) -> [Socket; N] {
    let mut sockets = Vec::new();
    for user in users {
        let socket = app.socket(user).await;
        socket.done("join-conversation", conversation).await;
        socket.rest().await;
        sockets.push(socket);
    }
    sockets.try_into().unwrap_or_else(|_| unreachable!("one for each"))
}

/// Carl and Dora do all that is told in a room.
async fn talk(c: &Socket, d: &Socket, conversation: i64) {
    c.done("typing", json!({"conversationId": conversation})).await;
    d.heard("user-typing").await;
    c.send(conversation, "between us").await;
    assert_eq!(d.heard("message-received").await["message_text"], "between us");
    d.done("mark-as-read", json!({"conversationId": conversation})).await;
    c.heard("message-read").await;
}

#[tokio::test]
async fn whoever_followed_a_conversation_whose_id_is_given_out_again_hears_and_does_nothing_there() {
    for by_server in [true, false] {
        let app = TestApp::with(ROOMY).await;
        let cast = Cast::on(&app).await;
        let Cast { ann, bob, carl, dora, conversation } = &cast;
        let [a, b] = followers(&app, [ann, bob], *conversation).await;
        let (away, pid) = {
            let away = app.recovering_socket(ann).await;
            away.done("join-conversation", *conversation).await;
            let pid = away.pid().await;
            (away, pid)
        };
        away.cut();
        cast.put_back(&app, by_server).await;
        let [c, d] = followers(&app, [carl, dora], *conversation).await;
        talk(&c, &d, *conversation).await;
        assert_eq!((news(&a).await, news(&b).await), (vec![], vec![]), "what is said there is not for them");
        let away = back(&app, ann, &pid, None).await;
        assert_eq!(news(&away).await, [] as [String; 0], "nor is it what they missed");

        c.rest().await;
        d.rest().await;
        a.ask("typing", json!({"conversationId": conversation})).await;
        a.ask("mark-as-read", json!({"conversationId": conversation})).await;
        for _ in 0..2 {
            let sent = a.ask("send-message", json!({"conversationId": conversation, "message": "as before"})).await;
            assert_eq!(sent["ok"], false, "{sent}");
        }
        assert_eq!((news(&c).await, news(&d).await), (vec![], vec![]), "what they do there is not heard");
        let foreign = format!("SELECT COUNT(*) FROM messages WHERE conversation_id = {conversation} AND sender_id = {}", ann.id);
        assert_eq!(app.database.one::<i64>(&foreign).await, 0);
        app.get(&format!("/api/messaging/conversations/{conversation}/messages"), ann).await.refused(403, "forbidden");
        a.done("leave-conversation", *conversation).await;
        away.refused("join-conversation", *conversation, "forbidden").await;
        talk(&c, &d, *conversation).await;
    }
}

#[tokio::test]
async fn somebody_who_takes_part_in_the_new_conversation_as_well_goes_on_there() {
    let app = TestApp::with(ROOMY).await;
    let (ann, bob, conversation) = app.pair().await;
    let carl = app.user("carl").await;
    let [a, b] = followers(&app, [&ann, &bob], conversation).await;
    app.database.put_back("conversations", conversation - 1).await;
    let row = format!("INSERT INTO conversations (user1_id, user2_id) VALUES ({}, {})", ann.id, carl.id);
    assert_eq!(app.database.insert(&row).await, conversation);
    a.refused("send-message", json!({"conversationId": conversation, "message": "hello bob?"}), "not_found").await;
    let [c] = followers(&app, [&carl], conversation).await;
    c.send(conversation, "hello ann").await;
    assert_eq!(a.heard("message-received").await["message_text"], "hello ann");
    a.send(conversation, "hello carl").await;
    for text in ["hello ann", "hello carl"] {
        assert_eq!(c.heard("message-received").await["message_text"], text);
    }
    assert_eq!(news(&b).await, [] as [String; 0]);
}

/// A ticket of Ann's that is followed by her and an admin, and then Carl's that has its id.
async fn ticket_given_out_again(app: &TestApp, a: &Socket, ann: &User, carl: &User) -> i64 {
    let ticket = app.ticket(ann).await;
    a.done("join-support", ticket).await;
    a.rest().await;
    app.database.put_back("support_tickets", ticket - 1).await;
    assert_eq!(app.ticket(carl).await, ticket, "the id is given out again");
    ticket
}

#[tokio::test]
async fn whoever_followed_a_ticket_whose_id_is_given_out_again_hears_and_does_nothing_there() {
    let app = TestApp::with(ROOMY).await;
    let (ann, carl, admin) = (app.user("ann").await, app.user("carl").await, app.admin("root").await);
    let (a, c, r) = (app.socket(&ann).await, app.socket(&carl).await, app.socket(&admin).await);
    let ticket = ticket_given_out_again(&app, &a, &ann, &carl).await;
    c.done("join-support", ticket).await;
    r.done("join-support", ticket).await;
    r.done("typing", json!({"ticketId": ticket})).await;
    assert_eq!(c.heard("user-typing").await["ticketId"], ticket);
    r.done("send-support-message", json!({"ticketId": ticket, "message": "between us"})).await;
    assert_eq!(c.heard("support-message-received").await["message_text"], "between us");
    assert_eq!(c.heard("ticket-updated").await["status"], "in_progress");
    assert_eq!(news(&a).await, [] as [String; 0]);
    c.rest().await;
    a.refused("send-support-message", json!({"ticketId": ticket, "message": "as before"}), "forbidden").await;
    a.refused("typing", json!({"ticketId": ticket}), "forbidden").await;
    app.get(&format!("/api/messaging/support/tickets/{ticket}"), &ann).await.refused(403, "forbidden");
    assert_eq!(news(&c).await, [] as [String; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_an_id_that_is_given_out_again_is_heard_on_another_node_either_not_even_what_that_had_missed() {
    let Some((mut redis, one, two)) = two_nodes().await else { return };
    let cast = Cast::on(&one).await;
    let Cast { ann, bob, carl, dora, conversation } = &cast;
    let [a, b] = followers(&two, [ann, bob], *conversation).await;
    cast.put_back(&one, true).await;
    let ticket = ticket_given_out_again(&one, &a, ann, carl).await;
    let [c] = followers(&one, [carl], *conversation).await;
    let [d, carl_too] = followers(&two, [dora, carl], *conversation).await;
    c.done("join-support", ticket).await;
    carl_too.done("join-support", ticket).await;
    let say = async |text: &str| {
        c.send(*conversation, text).await;
        c.done("send-support-message", json!({"ticketId": ticket, "message": text})).await;
    };
    let hear = async |text: &str| {
        assert_eq!(d.heard("message-received").await["message_text"], text);
        assert_eq!(carl_too.heard("support-message-received").await["message_text"], text);
        assert_eq!((news(&a).await, news(&b).await), (vec![], vec![]), "{text}");
    };
    talk(&c, &d, *conversation).await;
    say("live").await;
    hear("live").await;
    redis.kill();
    becomes(&one, "degraded").await;
    becomes(&two, "degraded").await;
    say("missed").await;
    redis.run().await;
    hear("missed").await;
}

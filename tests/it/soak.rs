//! Everything at once: users who join, leave, type, send, mark and lose their connections at random, and what must hold all the same.

use std::collections::{BTreeSet, HashMap};

use serde_json::json;

use crate::support::{Dice, Heard, ROOMY, Socket, TestApp, User};

const USERS: usize = 6;
const STEPS: usize = 3000;

/// What a socket may have heard: its user's conversations, in the order of ids, each message once.
fn check(heard: &[Heard], own: &BTreeSet<i64>, user: &User) {
    let mut newest: HashMap<i64, i64> = HashMap::new();
    for event in heard {
        let payload = &event.arguments[0];
        if let Some(conversation) = payload["conversationId"].as_i64() {
            assert!(own.contains(&conversation), "{} heard {event:?}", user.name);
        }
        assert!(!matches!(event.name.as_str(), "error" | "message-failed"), "{} was refused: {event:?}", user.name);
        if event.name == "message-received" {
            let (conversation, id) = (payload["conversationId"].as_i64().expect("an id"), payload["id"].as_i64().expect("an id"));
            assert!(newest.insert(conversation, id).is_none_or(|before| before < id), "{} heard {event:?} late or twice", user.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_happens_at_once_nobody_hears_what_is_not_theirs_nor_out_of_order() {
    let app = TestApp::with(ROOMY).await;
    let mut users = Vec::new();
    for n in 0..USERS {
        users.push(app.user(&format!("user{n}")).await);
    }
    let mut conversations: Vec<Vec<i64>> = vec![Vec::new(); USERS];
    for one in 0..USERS {
        for other in one + 1..USERS {
            let conversation = app.conversation(&users[one], &users[other]).await;
            conversations[one].push(conversation);
            conversations[other].push(conversation);
        }
    }
    let own: Vec<BTreeSet<i64>> = conversations.iter().map(|all| all.iter().copied().collect()).collect();
    let mut sockets: Vec<(usize, Socket)> = Vec::new();
    for n in 0..2 * USERS {
        sockets.push((n % USERS, app.socket(&users[n % USERS]).await));
    }
    let (mut dice, mut acks) = (Dice::new(42), Vec::new());
    for step in 0..STEPS {
        let at = dice.below(sockets.len());
        let (who, socket) = &sockets[at];
        let conversation = conversations[*who][dice.below(USERS - 1)];
        let here = json!({"conversationId": conversation});
        match dice.below(12) {
            0 | 1 => socket.emit("join-conversation", conversation),
            2 => socket.emit("join-conversation", json!(conversations[*who])),
            3 => socket.emit("leave-conversation", here),
            4 => socket.emit("typing", here),
            5 => socket.emit("stop-typing", here),
            6 => socket.emit("mark-as-read", here),
            7 if step % 10 == 0 => {
                check(&socket.so_far(), &own[*who], &users[*who]);
                let (who, fresh) = (*who, app.socket(&users[*who]).await);
                let (_, gone) = std::mem::replace(&mut sockets[at], (who, fresh));
                acks.retain(|(socket, _)| *socket != at);
                gone.cut();
            }
            _ => acks.push((at, socket.emit_asking("send-message", json!({"conversationId": conversation, "message": step.to_string()})))),
        }
    }
    let mut acked = BTreeSet::new();
    for (at, ack) in acks {
        let ack = sockets[at].1.acked(ack).await;
        acked.insert(ack["message"]["id"].as_i64().unwrap_or_else(|| panic!("{ack}")));
    }
    for (who, socket) in &sockets {
        check(&socket.rest().await, &own[*who], &users[*who]);
    }
    let stored: BTreeSet<i64> = app.database.all("SELECT id FROM messages").await.into_iter().collect();
    assert!(acked.is_subset(&stored) && acked.len() > STEPS / 10, "{} acked, {} stored", acked.len(), stored.len());
    let misplaced: i64 = app
        .database
        .one(
            "SELECT COUNT(*) FROM messages m JOIN conversations c ON c.id = m.conversation_id \
             WHERE NOT (m.sender_id = c.user1_id AND m.receiver_id = c.user2_id OR m.sender_id = c.user2_id AND m.receiver_id = c.user1_id)",
        )
        .await;
    assert_eq!(misplaced, 0);
}

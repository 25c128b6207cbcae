//! Ten ordinary users beside those who ask for more than their share, one kind after the other and all at once: what the ten send and read
//! succeeds, every time. How long it takes is printed as a ratio, and asserted nowhere.

use std::{
    future::Future,
    net::Ipv4Addr,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use futures_util::{
    FutureExt, SinkExt, StreamExt,
    future::LocalBoxFuture,
    future::{join_all, select_all},
};
use serde_json::json;
use tidings::clock::instant;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use tokio_tungstenite::{connect_async, tungstenite::Message};

use crate::support::{Socket, TestApp, User, say};

/// How long each attack lasts.
const LASTS: Duration = Duration::from_secs(2);
/// An ordinary user does something so often.
const PACE: Duration = Duration::from_millis(150);
const INBOX: &str = "/api/messaging/conversations";

/// A server with ten ordinary users, and what attackers need.
struct Town {
    app: TestApp,
    people: Vec<(User, Socket, i64)>,
    mallory: User,
    strangers_conversation: i64,
    /// Attackers come from another address, where the system has more than one.
    http: reqwest::Client,
}

impl Town {
    async fn found() -> Self {
        let app = TestApp::start().await;
        let mut people = Vec::new();
        for n in 0..5 {
            let (one, other) = (app.user(&format!("one{n}")).await, app.user(&format!("other{n}")).await);
            let conversation = app.conversation(&one, &other).await;
            for user in [one, other] {
                let socket = app.socket(&user).await;
                socket.done("join-conversation", conversation).await;
                people.push((user, socket, conversation));
            }
        }
        let strangers_conversation = people[0].2;
        let mallory = app.user("mallory").await;
        let moment: String = app.database.one("SELECT CAST(MIN(created_at) AS CHAR(40)) FROM conversations").await;
        let row = |n: i64| format!("({}, 'crowd{n}', 'crowd{n}@crowd.example', '-')", 10_000 + n);
        app.database.bulk("users (id, username, email, password)", (0..6000).map(row)).await;
        let row = |n: i64| format!("({}, {}, {}, '{moment}', '{moment}')", 10_000 + n, mallory.id, 10_000 + n);
        app.database.bulk("conversations (id, user1_id, user2_id, created_at, last_message_at)", (0..2000).map(row)).await;
        let text = "x".repeat(2000);
        let row = |n: i64| format!("({}, {}, {}, '{text}', FALSE, '{moment}')", 10_000 + n, 10_000 + n, mallory.id);
        app.database
            .bulk("messages (conversation_id, sender_id, receiver_id, message_text, is_read, created_at)", (0..2000).map(row))
            .await;
        let elsewhere = cfg!(target_os = "linux").then(|| Ipv4Addr::new(127, 0, 0, 2).into());
        let http = reqwest::Client::builder().local_address(elsewhere).build().expect("a client");
        Self { app, people, mallory, strangers_conversation, http }
    }

    /// What the ten do until it is over, and how long each step took. Whatever fails is a panic.
    async fn live(&self, is_over: &AtomicBool) -> Vec<Duration> {
        let one = async |(user, socket, conversation): &(User, Socket, i64)| {
            let (mut took, mut pace) = (Vec::new(), tokio::time::interval(PACE));
            pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            while !is_over.load(Ordering::Relaxed) {
                pace.tick().await;
                let began = instant();
                socket.send(*conversation, "hello").await;
                took.push(began.elapsed());
                for path in [INBOX.to_owned(), format!("{INBOX}/{conversation}/messages?limit=10"), "/api/messaging/unread-count".into()] {
                    let began = instant();
                    self.app.get(&path, user).await.ok();
                    took.push(began.elapsed());
                }
                socket.so_far();
            }
            took
        };
        join_all(self.people.iter().map(one)).await.concat()
    }

    /// The slowest hundredth of what the ten do while somebody attacks.
    async fn beside(&self, attack: impl Future<Output = ()>) -> Duration {
        let is_over = AtomicBool::new(false);
        let attacked = async {
            timeout(LASTS, attack).await.ok();
            is_over.store(true, Ordering::Relaxed);
        };
        let (mut took, ()) = tokio::join!(self.live(&is_over), attacked);
        took.sort_unstable();
        assert!(took.len() >= 4 * self.people.len(), "everybody did everything at least once");
        took[took.len() * 99 / 100]
    }

    fn ask(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let address = format!("http://{}{path}", self.app.address);
        self.http.request(method.parse().expect("a method"), address).bearer_auth(&self.mallory.token)
    }

    /// So many who ask again and again, whatever they are answered.
    async fn flood(&self, many: usize, request: impl Fn(usize) -> reqwest::RequestBuilder) {
        let again = async |of: usize| {
            for n in (of..).step_by(many) {
                if let Ok(answer) = request(n).send().await {
                    answer.bytes().await.ok();
                }
            }
        };
        join_all((0..many).map(again)).await;
    }

    async fn connect(&self) -> Option<TcpStream> {
        let socket = TcpSocket::new_v4().ok()?;
        if cfg!(target_os = "linux") {
            socket.bind((Ipv4Addr::new(127, 0, 0, 2), 0).into()).ok()?;
        }
        socket.set_recv_buffer_size(4096).ok()?;
        socket.connect(self.app.address).await.ok()
    }

    /// Connections that say this and read nothing.
    async fn deaf(&self, many: usize, words: &str) {
        let mut open = Vec::new();
        for _ in 0..many {
            let Some(mut stream) = self.connect().await else { continue };
            stream.write_all(words.as_bytes()).await.ok();
            open.push(stream);
        }
        std::future::pending().await
    }

    async fn heavy_inboxes(&self) {
        self.flood(32, |_| self.ask("GET", INBOX)).await;
    }

    async fn searches(&self) {
        self.flood(16, |n| self.ask("GET", &format!("/api/user/search?query=d{}", n % 10))).await;
    }

    async fn bursts_of_writes(&self) {
        self.flood(16, |n| match n % 2 {
            0 => self.ask("POST", "/api/messaging/support/tickets").json(&json!({"subject": "s", "description": "d"})),
            _ => self.ask("POST", INBOX).json(&json!({"otherUserId": 13_000 + n % 2000})),
        })
        .await;
    }

    async fn unknown_ids(&self) {
        self.flood(16, |n| self.ask(if n % 2 == 0 { "GET" } else { "POST" }, &format!("{INBOX}/{}/messages", 900_000 + n))).await;
    }

    async fn big_bodies_of_strangers(&self) {
        let body = "x".repeat(900_000);
        self.flood(16, |_| self.http.post(format!("http://{}/api/auth/traveller/login", self.app.address)).body(body.clone())).await;
    }

    async fn refused_sends(&self) {
        let socket = self.app.socket(&self.mallory).await;
        loop {
            for message in ["not mine", ""] {
                socket.ask("send-message", json!({"conversationId": self.strangers_conversation, "message": message})).await;
            }
            socket.so_far();
        }
    }

    async fn answers_that_nobody_takes(&self) {
        let words = format!("GET {INBOX} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\r\n", self.mallory.token);
        self.deaf(40, &words).await;
    }

    async fn silent_connections(&self) {
        self.deaf(200, "").await;
    }

    /// One connection that joins and leaves the namespace for ever, until it is closed.
    async fn comings_and_goings(&self) {
        loop {
            let address = format!("ws://{}/socket.io/?EIO=4&transport=websocket", self.app.address);
            let Ok((wire, _)) = connect_async(address).await else { continue };
            let (mut say, mut hear) = wire.split();
            let saying = async {
                let hello = format!("40{}", json!({"token": self.mallory.token}));
                while say.send(Message::text(hello.clone())).await.is_ok() && say.send(Message::text("41")).await.is_ok() {}
            };
            let hearing = async { while let Some(Ok(_)) = hear.next().await {} };
            futures_util::future::select(std::pin::pin!(saying), std::pin::pin!(hearing)).await;
        }
    }

    fn attacks(&self) -> Vec<(&'static str, LocalBoxFuture<'_, ()>)> {
        vec![
            ("heavy inboxes", self.heavy_inboxes().boxed_local()),
            ("user searches", self.searches().boxed_local()),
            ("bursts of tickets and conversations", self.bursts_of_writes().boxed_local()),
            ("refused sends", self.refused_sends().boxed_local()),
            ("unknown ids", self.unknown_ids().boxed_local()),
            ("answers that nobody takes", self.answers_that_nobody_takes().boxed_local()),
            ("silent connections", self.silent_connections().boxed_local()),
            ("CONNECT and DISCONNECT", self.comings_and_goings().boxed_local()),
            ("big bodies of strangers", self.big_bodies_of_strangers().boxed_local()),
        ]
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ordinary_users_succeed_in_everything_beside_each_attacker_and_all_of_them() {
    let town = Town::found().await;
    let quiet = town.beside(std::future::pending()).await;
    let ratio = |p99: Duration| p99.as_secs_f64() / quiet.as_secs_f64();
    say(&format!("in quiet p99 is {quiet:?}"));
    for (name, attack) in town.attacks() {
        let p99 = town.beside(attack).await;
        say(&format!("beside {name} p99 is {p99:?}, {:.1} times that", ratio(p99)));
    }
    let all = town.attacks().into_iter().map(|(_, attack)| attack);
    let p99 = town.beside(select_all(all).map(drop)).await;
    say(&format!("beside all of them p99 is {p99:?}, {:.1} times that", ratio(p99)));
}

//! A client that changes its transport at any moment, over connections that are slow, with any amount of messages on their way: nothing is lost,
//! doubled or out of order. `ENGINE_UPGRADES` says how often, `ENGINE_SEED` with which numbers.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use engineioxide::Socket;
use http::Method;
use tokio::sync::{Mutex, mpsc, watch};

use crate::support::{Random, Seen, Server, from_environment, hear, new_seed, request, say, slow_connection, text, websocket};

/// What a client has, and does in the way of the published one.
struct Client {
    sid: String,
    server: Arc<Server>,
    random: Random,
    received: Mutex<Vec<String>>,
}

impl Client {
    async fn receive(&self, packets: &str) {
        let mut received = self.received.lock().await;
        for packet in packets.split('\u{1e}') {
            match packet.split_at(1) {
                ("4", message) => received.push(message.to_owned()),
                ("6" | "2", "") => {}
                _ => panic!("{packet}"),
            }
        }
    }

    /// One request, on a connection of its own.
    async fn ask(&self, method: Method, body: String) -> String {
        let response = request(slow_connection(&self.server, &self.random), method, &self.sid, body).await.expect("answered");
        let (status, body) = text(response).await;
        assert_eq!(status, 200, "{body}");
        body
    }

    /// Polls until it is to stop.
    async fn poll(&self, stops: watch::Receiver<bool>) {
        while !*stops.borrow() {
            let packets = self.ask(Method::GET, String::new()).await;
            self.receive(&packets).await;
        }
    }

    /// Posts what there is to send, some at a time, until it is to stop; returns what is left.
    async fn post(&self, mut messages: VecDeque<String>, stops: watch::Receiver<bool>) -> VecDeque<String> {
        while !*stops.borrow() && !messages.is_empty() {
            let some = messages.len().min(1 + self.random.below(4) as usize);
            let body: Vec<String> = messages.drain(..some).map(|message| format!("4{message}")).collect();
            assert_eq!(self.ask(Method::POST, body.join("\u{1e}")).await, "ok");
            self.pause(60).await;
        }
        messages
    }

    async fn pause(&self, most: u64) {
        tokio::time::sleep(Duration::from_millis(self.random.below(most))).await;
    }
}

/// Emits numbers, now and then.
async fn emit(socket: Arc<Socket<()>>, count: u64, random: Random) {
    for n in 0..count {
        if random.below(3) == 0 {
            tokio::time::sleep(Duration::from_millis(random.below(120))).await;
        }
        let padding = "x".repeat(random.below(400) as usize);
        socket.emit(format!("{n} {padding}")).expect("there is room");
    }
}

/// Where a websocket breaks before it takes over.
const BREAKS: [&str; 3] = ["after it was accepted", "after the probe", "after the answer"];

async fn one(seed: u64) {
    let random = Random::new(seed);
    let mut server = Server::new(|config| {
        config.max_buffer_size = 10_000;
        config.max_payload = 100 + random.below(2000);
    });
    let (sid, socket) = server.open().await;
    let (seen_sender, mut seen) = mpsc::unbounded_channel();
    let server = {
        let (sender, mut taken) = mpsc::unbounded_channel();
        server.forward(move |event| drop(sender.send(event)));
        tokio::spawn(async move {
            while let Some(event) = taken.recv().await {
                match event {
                    Seen::Text(text) => seen_sender.send(text).expect("somebody listens"),
                    other => panic!("seed {seed}: {other:?}"),
                }
            }
        });
        Arc::new(server)
    };
    let client = Client { sid, server: server.clone(), random: random.clone(), received: Mutex::default() };
    let (down, up) = (random.below(60), random.below(30));
    let emitting = tokio::spawn(emit(socket, down, random.clone()));
    let messages: VecDeque<String> = (0..up).map(|n| n.to_string()).collect();

    let (stop, stops) = watch::channel(false);
    let polling = client.poll(stops.clone());
    let posting = client.post(messages, stops.clone());
    let upgrading = async {
        for breaks in BREAKS.iter().cycle().skip(random.below(3) as usize).take(random.below(3) as usize) {
            client.pause(300).await;
            let mut tried = websocket(slow_connection(&server, &random), &client.sid).await.expect("accepted");
            if *breaks != BREAKS[0] {
                say(&mut tried, "2probe").await;
            }
            if *breaks == BREAKS[2] {
                assert_eq!(hear(&mut tried).await.as_deref(), Some("3probe"), "seed {seed}");
            }
            drop(tried);
            // The server may need to see that it is gone.
            tokio::time::sleep(Duration::from_secs(3)).await;
        }
        client.pause(500).await;
        let mut websocket = websocket(slow_connection(&server, &random), &client.sid).await.expect("accepted");
        say(&mut websocket, "2probe").await;
        assert_eq!(hear(&mut websocket).await.as_deref(), Some("3probe"), "seed {seed}");
        stop.send_replace(true);
        websocket
    };
    // Both are through, and then the client says that it changes.
    let ((), mut left, mut websocket) = tokio::join!(polling, posting, upgrading);
    say(&mut websocket, "5").await;
    while let Some(message) = left.pop_front() {
        say(&mut websocket, &format!("4{message}")).await;
    }
    while client.received.lock().await.len() < down as usize {
        let packet = hear(&mut websocket).await.unwrap_or_else(|| panic!("seed {seed}: the websocket is closed"));
        client.receive(&packet).await;
    }
    emitting.await.expect("all was emitted");
    let received: Vec<String> = client.received.lock().await.iter().map(|m| m.split(' ').next().unwrap_or_default().to_owned()).collect();
    assert_eq!(received, (0..down).map(|n| n.to_string()).collect::<Vec<_>>(), "seed {seed}");
    for n in 0..up {
        let came = tokio::time::timeout(Duration::from_secs(60), seen.recv()).await.expect("in time");
        assert_eq!(came, Some(n.to_string()), "seed {seed}");
    }
}

#[test]
fn nothing_is_lost_doubled_or_out_of_order_when_the_transport_changes() {
    let (count, first) = (from_environment("ENGINE_UPGRADES").unwrap_or(300), from_environment("ENGINE_SEED").unwrap_or_else(new_seed));
    println!("ENGINE_SEED={first}");
    for seed in (0..count).map(|n| first.wrapping_add(n)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
        runtime.block_on(async {
            let run = tokio::time::timeout(Duration::from_secs(3600), one(seed));
            run.await.unwrap_or_else(|_| panic!("seed {seed} hangs"));
        });
    }
}

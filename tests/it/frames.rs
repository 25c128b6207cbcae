//! What nodes take from the channel that they share: the frames of their own server, and no others.

use std::pin::Pin;

use futures_util::{Stream, StreamExt};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::time::timeout;

use crate::nodes::{becomes, settings, two_nodes};
use crate::support::{DEADLINE, RedisServer, SECRET, TestApp};

/// The bytes before the JSON of a frame: its version, and the MAC.
const HEAD: usize = 33;

/// Somebody who may listen and publish on a Redis.
struct Stranger {
    redis: redis::aio::MultiplexedConnection,
    heard: Pin<Box<dyn Stream<Item = redis::Msg>>>,
}

impl Stranger {
    async fn on(server: &RedisServer) -> Self {
        let client = redis::Client::open(server.url()).expect("a URL");
        let mut heard = client.get_async_pubsub().await.expect("Redis answers");
        heard.psubscribe("*").await.expect("Redis answers");
        let redis = client.get_multiplexed_async_connection().await.expect("Redis answers");
        Self { redis, heard: Box::pin(heard.into_on_message()) }
    }

    async fn channels(&mut self) -> Vec<String> {
        redis::cmd("PUBSUB").arg("CHANNELS").query_async(&mut self.redis).await.expect("Redis answers")
    }

    async fn publish(&mut self, channel: &str, frame: &[u8]) {
        redis::cmd("PUBLISH").arg(channel).arg(frame).query_async::<()>(&mut self.redis).await.expect("Redis answers");
    }

    /// The channel and the bytes of the next frame that holds a text.
    async fn frame_with(&mut self, text: &str) -> (String, Vec<u8>) {
        let found = async {
            loop {
                let message = self.heard.next().await.expect("Redis goes on");
                let bytes = message.get_payload_bytes().to_vec();
                if String::from_utf8_lossy(&bytes).contains(text) {
                    return (message.get_channel_name().to_owned(), bytes);
                }
            }
        };
        timeout(DEADLINE, found).await.expect("such a frame is published")
    }
}

/// Waits until a node has dropped frames for a reason.
async fn drops(node: &TestApp, reason: &str) {
    let metric = format!("tidings_frames_refused_total{{reason=\"{reason}\"}}");
    let dropped = async { while node.metric(&metric).await == 0.0 {} };
    timeout(DEADLINE, dropped).await.unwrap_or_else(|_| panic!("{reason} frames are counted"));
}

#[tokio::test]
async fn a_frame_that_no_node_has_made_is_heard_by_nobody_and_counted() {
    let Some((redis, one, two)) = two_nodes().await else { return };
    let mut stranger = Stranger::on(&redis).await;
    let (ann, bob, conversation) = one.pair().await;
    let (a, b) = (one.socket(&ann).await, two.socket(&bob).await);
    b.done("join-conversation", conversation).await;
    b.rest().await;
    a.done("typing", json!({"conversationId": conversation})).await;
    b.heard("user-typing").await;
    let (channel, frame) = stranger.frame_with("\"Typing\"").await;
    let (head, body) = frame.split_at(HEAD);
    let body: Value = serde_json::from_slice(body).expect("JSON");
    // As from a node that has just come, so that only the seal tells.
    let forged = json!({"node": 1, "number": 1, "items": body["items"]}).to_string();
    assert!(forged.contains("Typing"), "{forged}");
    for head in [&[], head, &[head[0]; HEAD]] {
        let frame = [head, forged.as_bytes()].concat();
        stranger.publish(&channel, &frame).await;
    }
    drops(&two, "forged").await;
    a.done("stop-typing", json!({"conversationId": conversation})).await;
    b.heard("user-stopped-typing").await;
    assert_eq!(b.rest_of("user-typing").await, [] as [Value; 0]);
}

#[tokio::test]
async fn servers_of_different_databases_that_share_a_redis_hear_nothing_of_each_other() {
    let Some((redis, one, beside)) = two_nodes().await else { return };
    let other = TestApp::with(&settings(&redis)).await;
    becomes(&other, "ok").await;
    let mut stranger = Stranger::on(&redis).await;
    let mut channels = stranger.channels().await;
    channels.sort();
    channels.dedup();
    assert_eq!(channels.len(), 2, "a channel for each database: {channels:?}");
    let ((ann, bob, conversation), (_, namesake, same)) = (one.pair().await, other.pair().await);
    assert_eq!((bob.id, conversation), (namesake.id, same), "the same ids stand for others there");
    let (a, b, n) = (one.socket(&ann).await, beside.socket(&bob).await, other.socket(&namesake).await);
    for socket in [&b, &n] {
        socket.done("join-conversation", conversation).await;
    }
    n.rest().await;
    a.send(conversation, "a secret").await;
    assert_eq!(b.heard("message-received").await["message_text"], "a secret");
    let (channel, frame) = stranger.frame_with("a secret").await;
    // Nor when somebody passes it on.
    let foreign = channels.iter().find(|name| **name != channel).expect("the other one").clone();
    stranger.publish(&foreign, &frame).await;
    drops(&other, "forged").await;
    assert_eq!(n.rest().await, []);
}

#[tokio::test]
async fn nodes_with_different_secrets_do_not_take_each_other_s_word_and_say_so() {
    let Some(redis) = RedisServer::start().await else { return };
    let one = TestApp::with(&settings(&redis)).await;
    let two = one.another_with_secret("another secret").await;
    for node in [&one, &two] {
        drops(node, "forged").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_node_of_another_version_stores_is_read_from_the_tables() {
    let Some(redis) = RedisServer::start().await else { return };
    let one = TestApp::with(&settings(&redis)).await;
    becomes(&one, "ok").await;
    let mut stranger = Stranger::on(&redis).await;
    let (ann, bob, conversation) = one.pair().await;
    let (a, idle) = (one.socket(&ann).await, one.socket(&ann).await);
    a.done("join-conversation", conversation).await;
    idle.rest().await;
    let channel = stranger.channels().await.remove(0);
    let database: String = one.database.one("SELECT value FROM database_identity").await;
    assert!(channel.ends_with(&database), "{channel}");
    let parts = ["frames between nodes of tidings", &database, SECRET];
    let key = parts.iter().fold(Sha256::new(), |hash, part| hash.chain_update(part).chain_update([0])).finalize();
    let frame = |text: &str| {
        let mac = Hmac::<Sha256>::new_from_slice(&key).expect("a key").chain_update([2]).chain_update(text).finalize().into_bytes();
        [&[2], &mac[..], text.as_bytes()].concat()
    };
    for text in ["first", "second"] {
        let row = format!("({conversation}, {}, {}, '{text}', FALSE, CURRENT_TIMESTAMP)", bob.id, ann.id);
        let into = "INSERT INTO messages (conversation_id, sender_id, receiver_id, message_text, is_read, created_at) VALUES";
        one.database.insert(&format!("{into} {row}")).await;
        stranger.publish(&channel, &frame("what this version does not understand")).await;
        assert_eq!(a.heard("message-received").await["message_text"], text);
        assert_eq!(idle.heard("conversation-updated").await["conversationId"], conversation);
    }
    drops(&one, "version").await;
}

//! What an operator should know of the Redis server before a node joins by it. Nothing is published.

use super::channel_of;
use super::line::Line;
use crate::clock;
use crate::finding::Finding;

const REDIS: &str = "redis";

/// Looks at the Redis server behind `url`, and at who listens on the channel of the database with this id; it has none before a node has used it.
pub async fn examine(url: &str, channel: &str, database: Option<&str>) -> Vec<Finding> {
    let channel = channel_of(channel, database.unwrap_or("ID"));
    let line = match Line::new(url, &channel) {
        Ok(line) => line,
        Err(sentence) => return vec![Finding::problem(REDIS, sentence, "correct REDIS_URL")],
    };
    let before = clock::now().timestamp_millis();
    match line.look().await {
        Ok((version, nodes, millis)) => {
            let found =
                format!("Redis {version}, {nodes} {} on the channel {channel}", if nodes == 1 { "node listens" } else { "nodes listen" });
            let after = clock::now().timestamp_millis();
            vec![Finding::ok(REDIS, found), Finding::clock("Redis", millis - (before + after) / 2)]
        }
        Err(e) => {
            // Its own words may quote the URL.
            let why = e.detail().filter(|text| !text.contains("://")).unwrap_or("no connection").to_owned();
            let advice =
                "start it, let this machine reach it without TLS, and check REDIS_URL; meanwhile each node serves its own sockets only";
            vec![Finding::problem(REDIS, format!("it does not answer: {} ({why})", e.category()), advice)]
        }
    }
}

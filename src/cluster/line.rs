//! The connections to Redis: one that publishes, one that listens. Either may break at any time; nobody waits for it.

use std::time::Duration;

use futures_util::{Stream, StreamExt};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisResult};

/// The channel of all nodes of a server.
pub struct Line {
    client: Client,
    channel: String,
}

/// How long Redis may take to answer, and to be connected to.
const ANSWER: Duration = Duration::from_secs(1);
const CONNECT: Duration = Duration::from_millis(500);

impl Line {
    /// Reads the URL; connects to nothing yet.
    ///
    /// # Errors
    /// A sentence that does not repeat the URL, which may hold a password.
    pub fn new(url: &str, channel: &str) -> Result<Self, String> {
        let client = Client::open(url).map_err(|_| "REDIS_URL cannot be read: it is written redis://USER:PASSWORD@HOST:PORT/NUMBER.")?;
        Ok(Self { client, channel: channel.to_owned() })
    }

    /// Publishes a frame, by `connection` if there is one. What cannot be published is given up.
    pub async fn publish(&self, connection: &mut Option<MultiplexedConnection>, frame: Vec<u8>) {
        let outcome = async {
            let open = match connection.take() {
                Some(open) => open,
                None => self.connect().await?,
            };
            let connected = connection.insert(open);
            redis::cmd("PUBLISH").arg(&self.channel).arg(frame).query_async::<()>(connected).await
        };
        if let Err(error) = outcome.await {
            tracing::debug!(%error, "a frame was not published");
            *connection = None;
        }
    }

    async fn connect(&self) -> RedisResult<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT)).set_response_timeout(Some(ANSWER));
        self.client.get_multiplexed_async_connection_with_config(&config).await
    }

    /// The version of the server, how many listen to the channel, and its time in milliseconds.
    pub async fn look(&self) -> RedisResult<(String, i64, i64)> {
        let mut connection = self.connect().await?;
        let (seconds, micros): (i64, i64) = redis::cmd("TIME").query_async(&mut connection).await?;
        let info: String = redis::cmd("INFO").arg("server").query_async(&mut connection).await?;
        let version = info.lines().find_map(|line| line.strip_prefix("redis_version:")).unwrap_or("of an unknown version").to_owned();
        let (_, listeners): (String, i64) = redis::cmd("PUBSUB").arg("NUMSUB").arg(&self.channel).query_async(&mut connection).await?;
        Ok((version, listeners, seconds * 1000 + micros / 1000))
    }

    /// Listens to the channel until the connection breaks.
    pub async fn subscribe(&self) -> RedisResult<impl Stream<Item = Vec<u8>> + use<>> {
        let mut channel = self.client.get_async_pubsub().await?;
        channel.subscribe(&self.channel).await?;
        Ok(channel.into_on_message().map(|message| message.get_payload_bytes().to_vec()))
    }
}

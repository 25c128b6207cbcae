//! The settings: what there are. Where they come from stands in `sources`, what they must be like in `check`, how they are shown in `shown`.

mod check;
mod dotenv;
mod shown;
mod sources;

use std::{
    net::SocketAddr,
    num::NonZeroU32,
    path::{Path, PathBuf},
    time::Duration,
};

use percent_encoding::percent_decode_str;
use serde::Deserialize;

pub use dotenv::DotEnv;
pub use shown::{Shown, masked};
#[cfg(test)]
pub use sources::DEFAULTS;
pub use sources::Loaded;
#[cfg(feature = "otlp")]
pub use sources::{names_a_collector, names_a_service};

/// All settings, checked. `config.toml` says what each means.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config.toml documents every setting")]
pub struct Settings {
    pub host: String,
    pub port: u16,
    pub origins: Vec<String>,
    pub trusted_proxies: Vec<String>,
    pub database_url: String,
    pub database: Pool,
    pub legacy_upstream: Option<String>,
    #[serde(with = "duration")]
    pub legacy_idle: Duration,
    pub redis_url: Option<String>,
    pub redis_channel: String,
    pub accounts: bool,
    pub guests: Guests,
    pub log: String,
    pub log_format: LogFormat,
    pub auth: Auth,
    pub messages: Messages,
    pub presence: Presence,
    pub nudges: Nudges,
    pub recovery: Recovery,
    pub limits: Limits,
    pub metrics: Metrics,
}

/// What becomes of sockets without a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Guests {
    /// They may claim a user and hear bare nudges once the claim is corroborated.
    Corroborated,
    /// They are refused.
    Deny,
}

/// The form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// `[database]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config.toml documents every setting")]
pub struct Pool {
    pub connections: u32,
    #[serde(with = "duration")]
    pub wait: Duration,
    #[serde(with = "duration")]
    pub lifetime: Duration,
}

/// `[auth]`
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config.toml documents every setting")]
pub struct Auth {
    pub jwt_secret: Option<String>,
    #[serde(with = "duration")]
    pub token_lifetime: Duration,
    #[serde(with = "duration")]
    pub leeway: Duration,
    pub require_expiry: bool,
    pub admin_roles: Vec<String>,
}

/// `[messages]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config.toml documents every setting")]
pub struct Messages {
    pub max_length: usize,
    pub history_limit: u64,
    pub inbox_limit: u64,
}

/// `[presence]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config.toml documents every setting")]
pub struct Presence {
    #[serde(with = "duration")]
    pub grace: Duration,
    #[serde(with = "duration")]
    pub typing_timeout: Duration,
    #[serde(with = "duration")]
    pub guest_window: Duration,
    pub guest_claims_per_address: usize,
}

/// `[nudges]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config.toml documents every setting")]
pub struct Nudges {
    #[serde(with = "duration")]
    pub interval: Duration,
    #[serde(with = "duration")]
    pub quiet: Duration,
    #[serde(with = "duration")]
    pub max_hold: Duration,
    #[serde(with = "duration")]
    pub draft: Duration,
}

/// `[recovery]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config.toml documents every setting")]
pub struct Recovery {
    pub enabled: bool,
    #[serde(with = "duration")]
    pub keep: Duration,
}

/// `[limits]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config.toml documents every setting")]
pub struct Limits {
    pub sends: Rate,
    pub events: Rate,
    pub writes: Rate,
    pub searches: Rate,
    pub conversations: NonZeroU32,
    pub logins: NonZeroU32,
    pub failed_logins: NonZeroU32,
    #[serde(with = "duration")]
    pub login_window: Duration,
    pub guest_events: Rate,
    pub handshakes: Rate,
    pub sockets_per_user: usize,
    pub guests_per_user: usize,
    pub sockets_per_address: usize,
    pub event_bytes: usize,
    pub body_bytes: usize,
    pub answer_bytes: usize,
    pub answers_bytes: usize,
    pub requests_per_user: usize,
    pub reads_per_user: usize,
    pub inbound_queue: usize,
    pub inbound_bytes: usize,
    pub outbound_queue: usize,
    pub outbound_bytes: usize,
    pub outbound_total: usize,
    pub writer_queue: usize,
    pub writer_queue_per_user: usize,
    pub writer_batch: usize,
}

/// `[metrics]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config.toml documents every setting")]
pub struct Metrics {
    pub listen: Option<String>,
}

impl Metrics {
    /// The address that is theirs alone.
    pub fn address(&self) -> Option<SocketAddr> {
        self.listen.as_ref().and_then(|address| address.parse().ok())
    }
}

/// A steady rate and how far a burst may go over it.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config.toml documents every setting")]
pub struct Rate {
    pub per_second: NonZeroU32,
    pub burst: NonZeroU32,
}

mod duration {
    use super::{Deserialize, Duration};
    use serde::{Deserializer, de::Error};

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_duration(&text).map_err(|_| D::Error::custom(format!("\"{text}\" is not a duration such as \"2s\" or \"10m\"")))
    }
}

impl Settings {
    /// The settings in the folder of a test: as [`Loaded::read`], with another environment.
    ///
    /// # Errors
    /// One sentence that names key, value and source.
    pub fn load_with(file: Option<&Path>, env: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        Loaded::read_with(file, |name| Some((env(name)?, "the environment"))).map(|loaded| loaded.settings)
    }

    /// Where to listen.
    pub fn address(&self) -> Option<SocketAddr> {
        Some(SocketAddr::new(self.host.parse().ok()?, self.port))
    }

    /// The file behind an SQLite URL.
    pub fn sqlite_file(&self) -> Option<PathBuf> {
        sqlite_file(&self.database_url)
    }
}

/// The file behind an SQLite URL, as the driver reads it; nothing for a database in memory and for a server.
pub fn sqlite_file(url: &str) -> Option<PathBuf> {
    let rest = url.strip_prefix("sqlite:")?.trim_start_matches("//");
    let (path, options) = rest.split_once('?').unwrap_or((rest, ""));
    let path = percent_decode_str(path).decode_utf8().ok()?;
    (!path.is_empty() && path != ":memory:" && !options.contains("mode=memory")).then(|| PathBuf::from(path.as_ref()))
}

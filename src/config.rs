//! The settings: `config.toml` compiled in, a file over it, the environment over both. Nothing else reads the environment.

use std::{
    net::SocketAddr,
    num::NonZeroU32,
    path::{Path, PathBuf},
    time::Duration,
};

use config::{Config, File, FileFormat, Value};
use serde::Deserialize;

use crate::origin::{Origins, Proxies};

/// The documentation of every setting, with its default.
pub const DEFAULTS: &str = include_str!("../config.toml");

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
    pub logins: NonZeroU32,
    #[serde(with = "duration")]
    pub login_window: Duration,
    pub guest_events: Rate,
    pub handshakes: Rate,
    pub sockets_per_user: usize,
    pub sockets_per_address: usize,
    pub event_bytes: usize,
    pub body_bytes: usize,
    pub inbound_queue: usize,
    pub inbound_bytes: usize,
    pub outbound_queue: usize,
    pub writer_queue: usize,
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

const ORIGIN_FORM: &str = "an origin is written https://host or https://host:port";

/// The environment names and the settings that they set.
const ENVIRONMENT: [(&str, &str); 9] = [
    ("HOST", "host"),
    ("PORT", "port"),
    ("DATABASE_URL", "database_url"),
    ("JWT_SECRET", "auth.jwt_secret"),
    ("REDIS_URL", "redis_url"),
    ("LEGACY_UPSTREAM", "legacy_upstream"),
    ("RUST_LOG", "log"),
    ("METRICS_LISTEN", "metrics.listen"),
    ("FRONTEND_URL", "origins"),
];

/// A variable of the environment.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Whether spans shall go to a collector: asked only by a build that can send them.
#[cfg(feature = "otlp")]
pub fn names_a_collector() -> bool {
    ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"].into_iter().any(is_set)
}

/// Whether the environment says how the service is called.
#[cfg(feature = "otlp")]
pub fn names_a_service() -> bool {
    ["OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES"].into_iter().any(is_set)
}

#[cfg(feature = "otlp")]
fn is_set(name: &str) -> bool {
    variable(name).is_some_and(|value| !value.is_empty())
}

impl Settings {
    /// Reads the defaults, `file` (or `config.toml` in the working folder, if there is one), and the environment.
    ///
    /// # Errors
    /// One sentence that names key, value and source.
    pub fn load(file: Option<&Path>) -> Result<Self, String> {
        Self::load_with(file, variable)
    }

    /// As [`load`](Self::load), with another environment. An empty variable counts as unset.
    pub fn load_with(file: Option<&Path>, env: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let env = |name: &str| env(name).filter(|value| !value.is_empty());
        let defaults = || Config::builder().add_source(File::from_str(DEFAULTS, FileFormat::Toml));
        let mut builder = defaults();
        let path = file.map_or_else(|| PathBuf::from("config.toml"), Path::to_owned);
        builder = builder.add_source(File::from(path.as_path()).format(FileFormat::Toml).required(file.is_some()));
        for (name, key) in ENVIRONMENT {
            if let Some(value) = env(name).filter(|_| name != "FRONTEND_URL") {
                builder = builder.set_override(key, from_environment(name, value)).map_err(|e| e.to_string())?;
            }
        }
        if let Some(url) = legacy_database_url(&env).filter(|_| env("DATABASE_URL").is_none()) {
            builder = builder.set_override("database_url", from_environment("DB_HOST", url)).map_err(|e| e.to_string())?;
        }
        let built = builder.build().map_err(|e| format!("The configuration cannot be read: {e}."))?;
        let mut settings: Self = built.clone().try_deserialize().map_err(|e| format!("The configuration is wrong: {e}."))?;
        if let Some(urls) = env("FRONTEND_URL") {
            let urls = urls.split(',').map(str::trim).filter(|u| !u.is_empty());
            if let Err(bad) = Origins::parse(urls.clone()) {
                return Err(format!(
                    "The configuration is wrong: `origins` is \"{bad}\" (the environment variable FRONTEND_URL), but {ORIGIN_FORM}."
                ));
            }
            settings.origins.extend(urls.map(str::to_owned));
        }
        settings.check(&built)?;
        Ok(settings)
    }

    /// Where to listen.
    pub fn address(&self) -> Option<SocketAddr> {
        Some(SocketAddr::new(self.host.parse().ok()?, self.port))
    }

    /// The file behind an SQLite URL.
    pub fn sqlite_file(&self) -> Option<&Path> {
        sqlite_file(&self.database_url)
    }

    fn check(&self, built: &Config) -> Result<(), String> {
        let wrong = |key: &str, value: &str, why: &str| {
            let source = value_at(&built.cache, key).and_then(Value::origin);
            Err(format!("The configuration is wrong: `{key}` is \"{value}\" ({}), but {why}.", source.unwrap_or("the environment")))
        };
        if self.address().is_none() {
            return wrong("host", &self.host, "it must be an IP address such as 0.0.0.0 or ::1");
        }
        if let Some(listen) = self.metrics.listen.as_ref().filter(|_| self.metrics.address().is_none()) {
            return wrong("metrics.listen", listen, "it must be an address and a port such as 127.0.0.1:9464");
        }
        if let Err(bad) = Origins::parse(self.origins.iter().map(String::as_str)) {
            return wrong("origins", &bad, ORIGIN_FORM);
        }
        if let Err(bad) = Proxies::parse(self.trusted_proxies.iter().map(String::as_str)) {
            return wrong("trusted_proxies", &bad, "it must be an address or a network such as 10.0.0.0/8");
        }
        let schemes = ["sqlite:", "mysql:", "mariadb:", "postgres:", "postgresql:"];
        if !schemes.iter().any(|s| self.database_url.starts_with(s)) {
            return wrong("database_url", "…", "it must begin with sqlite:, mysql:, mariadb: or postgres:");
        }
        if self.database_url.starts_with("sqlite:") && self.sqlite_file().is_none() && !self.database_url.contains(":memory:") {
            return wrong("database_url", &self.database_url, "it must name a file, such as sqlite://tidings.db");
        }
        if self.auth.leeway > Duration::from_secs(60) {
            return wrong("auth.leeway", &humantime::format_duration(self.auth.leeway).to_string(), "it may be at most 60s");
        }
        if let Some(upstream) = &self.legacy_upstream
            && !upstream.parse::<axum::http::Uri>().is_ok_and(|u| u.scheme_str() == Some("http") && u.host().is_some())
        {
            return wrong("legacy_upstream", upstream, "it must be of the form http://host:port");
        }
        if self.redis_url.is_some() && self.database_url.starts_with("sqlite:") {
            return wrong(
                "redis_url",
                "…",
                "several nodes cannot share an SQLite file: set DATABASE_URL to a MySQL, MariaDB or PostgreSQL server, or leave REDIS_URL unset",
            );
        }
        let sizes = [
            ("limits.inbound_queue", self.limits.inbound_queue),
            ("limits.outbound_queue", self.limits.outbound_queue),
            ("limits.writer_queue", self.limits.writer_queue),
            ("limits.writer_batch", self.limits.writer_batch),
            ("limits.event_bytes", self.limits.event_bytes),
            ("limits.sockets_per_user", self.limits.sockets_per_user),
        ];
        if self.database.connections < 3 {
            return wrong("database.connections", &self.database.connections.to_string(), "it must be at least 3");
        }
        for (key, size) in sizes {
            if size == 0 {
                return wrong(key, "0", "it must be at least 1");
            }
        }
        Ok(())
    }
}

/// The file behind an SQLite URL; nothing for a database in memory and for a server.
pub fn sqlite_file(url: &str) -> Option<&Path> {
    let path = url.strip_prefix("sqlite:")?.trim_start_matches("//").split('?').next()?;
    (!path.is_empty() && path != ":memory:").then_some(Path::new(path))
}

fn value_at<'a>(root: &'a Value, key: &str) -> Option<&'a Value> {
    key.split('.').try_fold(root, |value, part| match &value.kind {
        config::ValueKind::Table(table) => table.get(part),
        _ => None,
    })
}

fn from_environment(name: &str, value: String) -> Value {
    Value::new(Some(&format!("the environment variable {name}")), value)
}

/// `DB_HOST` and its kin, as the legacy backend reads them, mean a MySQL URL.
fn legacy_database_url(env: &impl Fn(&str) -> Option<String>) -> Option<String> {
    let (host, name) = (env("DB_HOST")?, env("DB_NAME")?);
    let user = percent_encode(&env("DB_USER").unwrap_or_else(|| "root".into()));
    let password = env("DB_PASS").map(|p| format!(":{}", percent_encode(&p))).unwrap_or_default();
    let port = env("DB_PORT").unwrap_or_else(|| "3306".into());
    Some(format!("mysql://{user}{password}@{host}:{port}/{}", percent_encode(&name)))
}

fn percent_encode(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(b).to_string(),
            _ => format!("%{b:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(file: &str, env: &[(&str, &str)]) -> Result<Settings, String> {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("t.toml");
        std::fs::write(&path, file).expect("a file");
        Settings::load_with(Some(&path), |name| env.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()))
    }

    fn refusal(file: &str, env: &[(&str, &str)]) -> String {
        load(file, env).err().expect("is refused")
    }

    #[test]
    fn the_defaults_stand_when_nothing_is_said() {
        let settings = load("", &[]).expect("loads");
        assert_eq!((settings.port, settings.limits.sends.burst.get(), settings.presence.grace), (5000, 40, Duration::from_secs(2)));
    }

    #[test]
    fn the_environment_wins_and_secrets_stay_text() {
        let env = [("PORT", "7"), ("JWT_SECRET", "0012345"), ("FRONTEND_URL", "https://a.test, https://b.test"), ("HOST", "")];
        let settings = load("port = 6\n[limits]\nlogins = 3", &env).expect("loads");
        assert_eq!((settings.port, settings.limits.logins.get()), (7, 3));
        assert_eq!(settings.auth.jwt_secret.as_deref(), Some("0012345"));
        assert!(settings.origins.contains(&"https://b.test".to_owned()) && settings.origins.contains(&"http://localhost:5173".to_owned()));
    }

    #[test]
    fn the_legacy_database_names_mean_a_mysql_url() {
        let env = [("DB_HOST", "db"), ("DB_USER", "u"), ("DB_PASS", "p@ss/1"), ("DB_NAME", "trips")];
        assert_eq!(load("", &env).expect("loads").database_url, "mysql://u:p%40ss%2F1@db:3306/trips");
        let env = [("DB_HOST", "db"), ("DB_NAME", "trips"), ("DATABASE_URL", "sqlite://x.db")];
        assert_eq!(load("", &env).expect("loads").database_url, "sqlite://x.db");
    }

    #[test]
    fn what_is_wrong_is_named_with_key_value_and_source() {
        for (file, env, parts) in [
            ("prot = 1", vec![], vec!["prot"]),
            ("", vec![("PORT", "x")], vec!["port", "\"x\"", "environment variable PORT"]),
            ("", vec![("METRICS_LISTEN", "here")], vec!["metrics.listen", "here", "environment variable METRICS_LISTEN"]),
            ("port = 70000", vec![], vec!["port", "70000"]),
            ("host = 'nowhere'", vec![], vec!["host", "nowhere", "t.toml"]),
            ("origins = ['localhost']", vec![], vec!["origins", "localhost", "t.toml"]),
            ("[presence]\ngrace = 'soon'", vec![], vec!["soon", "presence.grace"]),
            ("[auth]\nleeway = '2m'", vec![], vec!["auth.leeway", "2m"]),
            ("[limits]\nsends = { per_second = 0, burst = 1 }", vec![], vec!["limits.sends", "0"]),
            ("guests = 'all'", vec![], vec!["guests", "all"]),
            ("", vec![("DATABASE_URL", "sqlite://")], vec!["database_url", "sqlite://", "DATABASE_URL", "must name a file"]),
            ("database_url = 'sqlite:?mode=rwc'", vec![], vec!["database_url", "must name a file", "t.toml"]),
        ] {
            let sentence = refusal(file, &env);
            for part in parts {
                assert!(sentence.contains(part), "{sentence} should name {part}");
            }
        }
        let sentence = refusal("", &[("DATABASE_URL", "oracle://u:topsecret@h")]);
        assert!(!sentence.contains("topsecret"), "{sentence}");
    }
}

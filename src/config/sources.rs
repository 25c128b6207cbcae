//! Where the settings come from: `config.toml` compiled in, a file over it, a `.env` file over that, the environment over all. Nothing else
//! reads the environment.

use std::path::{Path, PathBuf};

use config::{Config, File, FileFormat, Value, ValueKind};

use super::{DotEnv, Settings};

/// The documentation of every setting, with its default.
pub const DEFAULTS: &str = include_str!("../../config.toml");

/// The environment names and the settings that they set.
const ENVIRONMENT: [(&str, &str); 8] = [
    ("HOST", "host"),
    ("PORT", "port"),
    ("DATABASE_URL", "database_url"),
    ("JWT_SECRET", "auth.jwt_secret"),
    ("REDIS_URL", "redis_url"),
    ("LEGACY_UPSTREAM", "legacy_upstream"),
    ("RUST_LOG", "log"),
    ("METRICS_LISTEN", "metrics.listen"),
];

/// As the legacy backend names its database.
const DATABASE: [&str; 5] = ["DB_HOST", "DB_PORT", "DB_USER", "DB_PASS", "DB_NAME"];

/// Whether a name of the environment says something here.
pub(super) fn is_read(name: &str) -> bool {
    ENVIRONMENT.iter().any(|(known, _)| *known == name) || DATABASE.contains(&name) || name == "FRONTEND_URL"
}

/// The settings, and where each came from.
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// The tree of values that they were made of, each with its origin.
    pub(super) root: Value,
}

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

impl Loaded {
    /// Reads the defaults, `file` (or `config.toml` in the working folder, if there is one), and the environment.
    ///
    /// # Errors
    /// One sentence that names key, value and source.
    pub fn read(file: Option<&Path>, dotenv: &DotEnv) -> Result<Self, String> {
        Self::read_with(file, |name| match variable(name) {
            Some(value) => Some((value, "the environment")),
            None => Some((dotenv.get(name)?, ".env")),
        })
    }

    /// As [`read`](Self::read), with another environment, which tells each value and where it stands. An empty one counts as unset.
    pub(super) fn read_with(file: Option<&Path>, env: impl Fn(&str) -> Option<(String, &'static str)>) -> Result<Self, String> {
        let env = |name: &str| env(name).filter(|(value, _)| !value.is_empty());
        let path = file.map_or_else(|| PathBuf::from("config.toml"), Path::to_owned);
        let mut builder = Config::builder()
            .add_source(File::from_str(DEFAULTS, FileFormat::Toml))
            .add_source(File::from(path.as_path()).format(FileFormat::Toml).required(file.is_some()));
        for (name, key) in ENVIRONMENT {
            if let Some((value, place)) = env(name) {
                let number = value.parse::<u64>().ok().filter(|_| name == "PORT");
                let mut value = from(&[name], place, value);
                value.kind = number.map_or(value.kind, ValueKind::from);
                builder = builder.set_override(key, value).map_err(|e| e.to_string())?;
            }
        }
        if let Some(url) = legacy_database_url(&env).filter(|_| env("DATABASE_URL").is_none()) {
            builder = builder.set_override("database_url", url).map_err(|e| e.to_string())?;
        }
        let unread = |e| format!("The configuration cannot be read: {e}.");
        if let Some((sites, place)) = env("FRONTEND_URL") {
            let built = builder.build_cloned().map_err(unread)?;
            let mut all = value_at(&built.cache, "origins").and_then(|v| v.clone().into_array().ok()).unwrap_or_default();
            let sites = sites.split(',').map(str::trim).filter(|site| !site.is_empty());
            all.extend(sites.map(|site| from(&["FRONTEND_URL"], place, site.to_owned())));
            builder = builder.set_override("origins", ValueKind::Array(all)).map_err(|e| e.to_string())?;
        }
        let built = builder.build().map_err(unread)?;
        let root = built.cache.clone();
        let settings: Settings = built.try_deserialize().map_err(|e| format!("The configuration is wrong: {e}."))?;
        settings.check(&root)?;
        Ok(Self { settings, root })
    }
}

/// The value at a key such as `limits.logins`.
pub(super) fn value_at<'a>(root: &'a Value, key: &str) -> Option<&'a Value> {
    key.split('.').try_fold(root, |value, part| match &value.kind {
        ValueKind::Table(table) => table.get(part),
        _ => None,
    })
}

/// A value of variables that stand in `.env` or in the environment.
fn from(names: &[&str], place: &str, value: String) -> Value {
    let names = match (names, place) {
        ([name], "the environment") => format!("the environment variable {name}"),
        (names, "the environment") => format!("the environment variables {}", names.join(", ")),
        (names, file) => format!("{} in {file}", names.join(", ")),
    };
    Value::new(Some(&names), value)
}

/// `DB_HOST` and its kin, as the legacy backend reads them, mean a MySQL URL.
fn legacy_database_url(env: &impl Fn(&str) -> Option<(String, &'static str)>) -> Option<Value> {
    let value = |name: &str| env(name).map(|(value, _)| value);
    let (host, name) = (value("DB_HOST")?, value("DB_NAME")?);
    let user = percent_encode(&value("DB_USER").unwrap_or_else(|| "root".into()));
    let password = value("DB_PASS").map(|p| format!(":{}", percent_encode(&p))).unwrap_or_default();
    let port = value("DB_PORT").unwrap_or_else(|| "3306".into());
    let names: Vec<&str> = DATABASE.into_iter().filter(|name| env(name).is_some()).collect();
    let (_, place) = env("DB_HOST")?;
    Some(from(&names, place, format!("mysql://{user}{password}@{host}:{port}/{}", percent_encode(&name))))
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
    use std::time::Duration;

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
        assert_eq!((settings.port, settings.limits.sends.burst.get(), settings.presence.grace), (5000, 120, Duration::from_secs(2)));
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

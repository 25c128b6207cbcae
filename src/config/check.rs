//! What the settings must be like, beyond the types that they have. A refusal names key, value and source.

use std::time::Duration;

use config::Value;

use super::{Settings, masked, sources::value_at};
use crate::origin::{Origins, Proxies};

const ORIGIN_FORM: &str = "an origin is written https://host or https://host:port";

impl Settings {
    /// Whether a server can be made of them; `root` knows where each came from.
    pub(super) fn check(&self, root: &Value) -> Result<(), String> {
        let wrong = |key: &str, value: &str, why: &str| {
            let source = value_at(root, key).and_then(|at| origin(at, value)).unwrap_or("the environment");
            Err(format!("The configuration is wrong: `{key}` is \"{}\" ({source}), but {why}.", masked(value)))
        };
        if self.address().is_none() {
            return wrong("host", &self.host, "it must be an IP address such as 0.0.0.0 or ::");
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
        if self.legacy_idle.is_zero() {
            return wrong("legacy_idle", "0s", "it must be longer than nothing");
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
            ("limits.outbound_bytes", self.limits.outbound_bytes),
            ("limits.outbound_total", self.limits.outbound_total),
            ("limits.writer_queue", self.limits.writer_queue),
            ("limits.writer_queue_per_user", self.limits.writer_queue_per_user),
            ("limits.writer_batch", self.limits.writer_batch),
            ("limits.event_bytes", self.limits.event_bytes),
            ("limits.answer_bytes", self.limits.answer_bytes),
            ("limits.requests_per_user", self.limits.requests_per_user),
            ("limits.reads_per_user", self.limits.reads_per_user),
            ("limits.sockets_per_user", self.limits.sockets_per_user),
            ("limits.guests_per_user", self.limits.guests_per_user),
        ];
        if self.database.connections < 3 {
            return wrong("database.connections", &self.database.connections.to_string(), "it must be at least 3");
        }
        if self.limits.answers_bytes / 2 < self.limits.answer_bytes {
            let most = self.limits.answers_bytes.to_string();
            return wrong("limits.answers_bytes", &most, "it must be at least twice `limits.answer_bytes`");
        }
        for (key, size) in sizes {
            if size == 0 {
                return wrong(key, "0", "it must be at least 1");
            }
        }
        Ok(())
    }
}

/// Where a value came from, or, when it is a list, the part of it that is `wrong`.
fn origin<'a>(value: &'a Value, wrong: &str) -> Option<&'a str> {
    match &value.kind {
        config::ValueKind::Array(parts) => parts.iter().find(|part| part.to_string() == wrong).unwrap_or(parts.first()?).origin(),
        _ => value.origin(),
    }
}

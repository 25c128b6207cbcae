//! The settings as they are shown to an operator: all of them, in the order and form of `config.toml`, with their origins and without secrets.

use config::{Value, ValueKind};

use super::sources::{DEFAULTS, Loaded, value_at};

/// A setting that is in effect.
#[derive(Debug, PartialEq)]
pub struct Shown {
    /// The section that it stands in; empty at the top.
    pub section: String,
    /// Its name there.
    pub name: String,
    /// Its value as TOML, masked; nothing when it is not set.
    pub value: Option<String>,
    /// Where it came from.
    pub origin: String,
}

impl Loaded {
    /// All settings. `config.toml` documents each of them, also those that are not set, as `# name = …`; so it says which there are.
    pub fn shown(&self) -> Vec<Shown> {
        let (mut section, mut all) = (String::new(), Vec::new());
        for line in DEFAULTS.lines() {
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                section = name.to_owned();
            }
            let Some((name, _)) = line.trim_start_matches("# ").split_once(" = ").filter(|(name, _)| is_name(name)) else { continue };
            let key = if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") };
            let value = value_at(&self.root, &key);
            let mut origins = Vec::new();
            let shown = value.map(|value| toml(name, value, &mut origins));
            all.push(Shown { section: section.clone(), name: name.to_owned(), value: shown, origin: origins.join("; ") });
        }
        all
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
}

/// A value as TOML, and where its parts came from, each place once.
fn toml(name: &str, value: &Value, origins: &mut Vec<String>) -> String {
    let parts = match &value.kind {
        ValueKind::Array(parts) if !parts.is_empty() => {
            return format!("[{}]", parts.iter().map(|p| toml(name, p, origins)).collect::<Vec<_>>().join(", "));
        }
        ValueKind::Table(table) => {
            let mut parts: Vec<_> = table.iter().collect();
            parts.sort_by_key(|(name, _)| std::cmp::Reverse(*name));
            parts
        }
        single => {
            let origin = value.origin().unwrap_or("default").to_owned();
            if !origins.contains(&origin) {
                origins.push(origin);
            }
            return match single {
                ValueKind::String(_) if is_secret(name) => "\"***\"".to_owned(),
                ValueKind::String(text) => quoted(&masked(text)),
                ValueKind::Array(_) => "[]".to_owned(),
                _ => value.to_string(),
            };
        }
    };
    let parts: Vec<String> = parts.into_iter().map(|(name, part)| format!("{name} = {}", toml(name, part, origins))).collect();
    format!("{{ {} }}", parts.join(", "))
}

/// A text as a TOML string, whatever stands in it.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

fn is_secret(name: &str) -> bool {
    ["secret", "password", "token"].iter().any(|word| name.ends_with(word))
}

/// A text without the passwords of the URL that it may be.
pub fn masked(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    // The last @ ends the password: one that stands in it unescaped must not save its end from being masked.
    let rest = match rest.rsplit_once('@') {
        Some((user, host)) if user.contains(':') => format!("{}:***@{host}", user.split(':').next().unwrap_or_default()),
        _ => rest.to_owned(),
    };
    let Some((path, query)) = rest.split_once('?') else { return format!("{scheme}://{rest}") };
    let parameter = |part: &str| match part.split_once('=') {
        Some((name, _)) if name.contains("pass") || is_secret(name) => format!("{name}=***"),
        _ => part.to_owned(),
    };
    format!("{scheme}://{path}?{}", query.split('&').map(parameter).collect::<Vec<_>>().join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(file: &str, env: &[(&str, &str, &'static str)]) -> Vec<Shown> {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("t.toml");
        std::fs::write(&path, file).expect("is written");
        let env = |name: &str| env.iter().find(|(n, ..)| *n == name).map(|(_, value, place)| ((*value).to_owned(), *place));
        Loaded::read_with(Some(&path), env).expect("loads").shown()
    }

    fn line(all: &[Shown], key: &str) -> (Option<String>, String) {
        let is_it = |s: &&Shown| key == if s.section.is_empty() { s.name.clone() } else { format!("{}.{}", s.section, s.name) };
        let found = all.iter().find(is_it).unwrap_or_else(|| panic!("{key} is shown"));
        (found.value.clone(), found.origin.clone())
    }

    #[test]
    fn every_leaf_of_the_defaults_and_every_setting_without_one_is_shown() {
        let all = shown("", &[]);
        let root = Loaded::read_with(None, |_| None).expect("loads").root;
        let mut count = 0;
        for (name, value) in root.into_table().expect("a table") {
            match value.kind {
                ValueKind::Table(section) => {
                    for (inner, _) in section {
                        line(&all, &format!("{name}.{inner}"));
                        count += 1;
                    }
                }
                _ => {
                    line(&all, &name);
                    count += 1;
                }
            }
        }
        for unset in ["legacy_upstream", "redis_url", "auth.jwt_secret"] {
            assert_eq!(line(&all, unset), (None, String::new()));
        }
        assert_eq!(all.iter().filter(|s| s.value.is_some()).count(), count);
    }

    #[test]
    fn each_setting_says_where_it_came_from() {
        let env = [
            ("PORT", "7", "the environment"),
            ("JWT_SECRET", "topsecret", ".env"),
            ("DB_HOST", "db", ".env"),
            ("DB_NAME", "trips", ".env"),
            ("DB_PASS", "topsecret", ".env"),
            ("FRONTEND_URL", "https://a.test", "the environment"),
        ];
        let all = shown("guests = 'deny'\n[limits]\nsends = { per_second = 3 }", &env);
        assert_eq!(line(&all, "host"), (Some("\"::\"".into()), "default".into()));
        assert_eq!(line(&all, "port"), (Some("7".into()), "the environment variable PORT".into()));
        assert_eq!(line(&all, "auth.jwt_secret"), (Some("\"***\"".into()), "JWT_SECRET in .env".into()));
        assert_eq!(
            line(&all, "database_url"),
            (Some("\"mysql://root:***@db:3306/trips\"".into()), "DB_HOST, DB_PASS, DB_NAME in .env".into())
        );
        let (guests, origin) = line(&all, "guests");
        assert!(guests == Some("\"deny\"".into()) && origin.ends_with("t.toml"), "{origin}");
        let (sends, origin) = line(&all, "limits.sends");
        assert!(
            sends == Some("{ per_second = 3, burst = 120 }".into()) && origin.contains("t.toml") && origin.contains("default"),
            "{origin}"
        );
        let (origins, origin) = line(&all, "origins");
        assert!(origins.is_some_and(|o| o.ends_with("\"https://a.test\"]")) && origin == "default; the environment variable FRONTEND_URL");
    }

    #[test]
    fn no_password_of_a_url_is_shown_however_it_is_written() {
        for (url, shown) in [
            ("mysql://u:top@h:1/d", "mysql://u:***@h:1/d"),
            ("redis://:top@h", "redis://:***@h"),
            ("mysql://u:t@p/o?p@h/d", "mysql://u:***@h/d"),
            ("postgres://h/d?user=u&password=top", "postgres://h/d?user=u&password=***"),
            ("postgres://u@h/d?sslmode=require", "postgres://u@h/d?sslmode=require"),
            ("sqlite://a.db", "sqlite://a.db"),
            ("plain", "plain"),
        ] {
            assert_eq!(masked(url), shown);
        }
    }
}

//! What the settings themselves tell: the secret, the origins, the proxies. Nothing is asked of anybody.

use tidings::config::{DotEnv, Loaded, Settings};
use tidings::finding::Finding;
use tidings::{store::secret_file, system};

/// Whether the secret is one that nobody guesses.
pub fn secret(settings: &Settings) -> Finding {
    const ABOUT: &str = "secret";
    const ADVICE: &str = "make one by `openssl rand -hex 32`, and set it as JWT_SECRET here and in whatever else makes or reads tokens; all tokens end with it";
    let Some(secret) = settings.auth.jwt_secret.as_ref().filter(|secret| !secret.is_empty()) else { return made_secret(settings) };
    let distinct = secret.bytes().collect::<std::collections::HashSet<_>>().len();
    match (secret.len(), distinct) {
        (..16, _) => Finding::problem(ABOUT, "JWT_SECRET has less than 16 bytes: whoever has a token can find it by trying", ADVICE),
        (_, ..8) => Finding::problem(ABOUT, "JWT_SECRET has less than 8 different characters: it can be found by trying", ADVICE),
        (..32, _) => Finding::warning(ABOUT, "JWT_SECRET has less than 32 bytes, the length of what it signs", ADVICE),
        _ => Finding::ok(ABOUT, "JWT_SECRET is set, and long enough"),
    }
}

/// The secret that an SQLite server makes for itself.
fn made_secret(settings: &Settings) -> Finding {
    const ABOUT: &str = "secret";
    let Some(database) = settings.sqlite_file() else {
        return Finding::problem(ABOUT, "JWT_SECRET is not set", "set it to the secret that your tokens are signed with");
    };
    let file = secret_file(&database);
    if !file.exists() {
        return Finding::ok(ABOUT, format!("JWT_SECRET is not set; the first start makes one in {}", file.display()));
    }
    if system::is_public(&file) {
        let advice = format!(
            "chmod 600 {}, and remove it before the next start if others have been on this machine: then a new one is made",
            file.display()
        );
        return Finding::problem(ABOUT, format!("every user of this machine can read {}", file.display()), advice);
    }
    Finding::ok(ABOUT, format!("the one in {}, for JWT_SECRET is not set", file.display()))
}

/// What the old backend may read otherwise in the file that it shares.
pub fn disputed_lines(dotenv: &DotEnv) -> Vec<Finding> {
    let warning = |(line, name): (usize, String)| {
        let advice =
            format!("write the value that the old backend has as {name}='…', with nothing behind it: so all versions read it alike");
        Finding::warning(".env", format!("line {line}: versions of Node's dotenv read {name} differently"), advice)
    };
    dotenv.disputed().into_iter().map(warning).collect()
}

/// Whether the sites that may use the server are those that should.
pub fn origins(settings: &Settings) -> Finding {
    const ABOUT: &str = "origins";
    let all = settings.origins.join(", ");
    let is_local = |site: &&String| ["://localhost", "://127.", "://[::1]"].iter().any(|local| site.contains(local));
    if let Some(site) = settings.origins.iter().find(|site| site.contains("://*.")) {
        let advice = "name each site in full, unless all of that domain is yours";
        return Finding::warning(ABOUT, format!("{site} lets in whoever has a site below that domain"), advice);
    }
    if settings.origins.iter().all(|site| is_local(&site)) {
        let advice = "set FRONTEND_URL to the address of your site, such as https://site.example, unless this is for development";
        return Finding::warning(ABOUT, format!("{all}: sites of this machine only; browsers elsewhere are refused"), advice);
    }
    if let Some(site) = settings.origins.iter().find(|site| site.starts_with("http://") && !is_local(site)) {
        return Finding::warning(
            ABOUT,
            format!("{site} is not https: tokens travel in the clear"),
            "serve it over TLS, and name it as https://",
        );
    }
    Finding::ok(ABOUT, all)
}

/// What an old backend let in beyond its list, if there is one: it is behind, or its names are used for the database.
pub fn previews(loaded: &Loaded) -> Option<Finding> {
    const PREVIEWS: &str = ".vercel.app";
    let settings = &loaded.settings;
    let has_predecessor = settings.legacy_upstream.is_some() || loaded.shown().iter().any(|setting| setting.origin.starts_with("DB_HOST"));
    let is_told = has_predecessor && !settings.origins.iter().any(|site| site.ends_with(PREVIEWS));
    let found =
        format!("the old backend let in all sites below https://*{PREVIEWS}, too: name in FRONTEND_URL which of them go on to be used");
    is_told.then(|| Finding::ok("previews", found))
}

/// Whether the addresses of clients are believed from the right ones.
pub fn proxies(settings: &Settings) -> Finding {
    const ABOUT: &str = "proxies";
    let all = settings.trusted_proxies.join(", ");
    if let Some(everybody) = settings.trusted_proxies.iter().find(|network| network.ends_with("/0")) {
        let advice = "name the addresses of your proxies: else the limits per address hold nobody";
        return Finding::problem(ABOUT, format!("{everybody} lets everybody claim any address"), advice);
    }
    let is_local = settings.address().is_some_and(|address| address.ip().is_loopback());
    match (settings.trusted_proxies.is_empty(), is_local) {
        (true, true) => Finding::warning(
            ABOUT,
            format!("none, but {} is reached from this machine only: all clients have one address", settings.host),
            "if a reverse proxy stands before it, trusted_proxies = [\"127.0.0.1\"] in config.toml",
        ),
        (true, false) => Finding::ok(ABOUT, "none: right as long as clients connect without a reverse proxy between"),
        _ => Finding::ok(ABOUT, all),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings::finding::Level::{self, Ok, Problem, Warning};

    fn with(change: impl FnOnce(&mut Settings)) -> Settings {
        let mut settings = Settings::load_with(None, |_| None).expect("the defaults are good");
        change(&mut settings);
        settings
    }

    fn level(look: fn(&Settings) -> Finding, change: impl FnOnce(&mut Settings)) -> Level {
        look(&with(change)).level
    }

    #[test]
    fn a_secret_is_judged_by_its_length_and_variety_and_never_told() {
        for (text, expected) in [
            ("hunter2", Problem),
            ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", Problem),
            ("twenty bytes, not 32", Warning),
            ("0123456789abcdef0123456789abcdef", Ok),
        ] {
            let finding = secret(&with(|s| s.auth.jwt_secret = Some(text.to_owned())));
            assert_eq!(finding.level, expected, "{text}");
            assert!(!finding.to_string().contains(text));
        }
        let server = |s: &mut Settings| s.database_url = "mysql://h/d".to_owned();
        assert_eq!(level(secret, server), Problem, "a database server has no file beside it");
    }

    #[test]
    fn the_previews_of_an_old_backend_are_told_as_long_as_none_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let told = |text: &str| {
            let file = folder.path().join("t.toml");
            std::fs::write(&file, text).expect("is written");
            previews(&Loaded::read(Some(&file), &DotEnv::default()).expect("is good")).map(|finding| finding.found)
        };
        let behind = "legacy_upstream = 'http://localhost:4000'\n";
        assert!(told(behind).is_some_and(|found| found.contains("https://*.vercel.app")));
        assert_eq!(told(&format!("{behind}origins = ['https://trips-git-next.vercel.app']")), None);
        assert_eq!(told(""), None, "there is no old backend");
    }

    #[test]
    fn origins_and_proxies_that_let_in_too_many_or_too_few_are_told() {
        let sites = |list: &'static [&str]| move |s: &mut Settings| s.origins = list.iter().map(|site| (*site).to_owned()).collect();
        assert_eq!(level(origins, |_| ()), Warning, "the defaults are for development");
        assert_eq!(level(origins, sites(&["http://localhost:5173", "https://site.example"])), Ok);
        assert_eq!(level(origins, sites(&["https://*.vercel.app"])), Warning);
        assert_eq!(level(origins, sites(&["http://site.example"])), Warning);
        assert_eq!(level(proxies, |_| ()), Ok);
        assert_eq!(level(proxies, |s| s.host = "127.0.0.1".to_owned()), Warning);
        assert_eq!(level(proxies, |s| s.trusted_proxies = vec!["10.0.0.0/8".to_owned()]), Ok);
        assert_eq!(level(proxies, |s| s.trusted_proxies = vec!["0.0.0.0/0".to_owned()]), Problem);
    }
}

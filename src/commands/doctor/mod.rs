//! `tidings doctor`: looks at all that a server needs, changes nothing, and says what to do. What is looked at in the settings and in the
//! network stands beside; the database and Redis are examined where they are known, in `store` and `cluster`.

mod network;
mod settings;

use std::process::ExitCode;

use tidings::cluster;
use tidings::config::{DotEnv, Loaded, Settings};
use tidings::finding::{Finding, Level};
use tidings::store::Store;
use tidings::system;

use super::say;

/// Prints what is found; fails when there is a problem.
pub async fn run(loaded: Result<Loaded, String>, dotenv: &DotEnv) -> ExitCode {
    let mut findings = settings::disputed_lines(dotenv);
    match &loaded {
        Ok(loaded) => {
            findings.push(configuration(loaded));
            findings.extend(settings::previews(loaded));
            findings.extend(examine(&loaded.settings).await);
        }
        Err(sentence) => findings.push(Finding::problem("configuration", sentence, "correct it; nothing else was looked at")),
    }
    findings.iter().for_each(|finding| say(&finding.to_string()));
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let (problems, warnings) = (count(Level::Problem), count(Level::Warning));
    let many = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
    say(&format!("{}, {}", many(problems, "problem"), many(warnings, "warning")));
    if problems == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Where the settings came from.
fn configuration(loaded: &Loaded) -> Finding {
    let mut origins: Vec<String> = Vec::new();
    for origin in loaded.shown().iter().flat_map(|setting| setting.origin.split("; ")) {
        if !origin.is_empty() && origin != "default" && !origins.iter().any(|known| known == origin) {
            origins.push(origin.to_owned());
        }
    }
    let origins = if origins.is_empty() { "nothing but the defaults".to_owned() } else { origins.join("; ") };
    Finding::ok("configuration", format!("tidings {}, {origins}", env!("CARGO_PKG_VERSION")))
}

async fn examine(settings: &Settings) -> Vec<Finding> {
    let redis = async {
        match &settings.redis_url {
            Some(url) => {
                let database = Store::look_up_identity(&settings.database_url).await;
                cluster::examine(url, &settings.redis_channel, database.as_deref()).await
            }
            None => vec![Finding::ok("redis", "none: this is the only node")],
        }
    };
    let (database, redis, upstream, port) = tokio::join!(
        Store::examine(&settings.database_url, &settings.database),
        redis,
        network::upstream(settings),
        network::port(settings)
    );
    let mut findings = vec![settings::secret(settings)];
    findings.extend(database);
    findings.extend(redis);
    findings.extend([settings::origins(settings), settings::proxies(settings), upstream, port]);
    findings.extend(open_files());
    findings
}

/// Each connection is an open file.
fn open_files() -> Option<Finding> {
    const FEW: u64 = 4096;
    // The server asks for all that it could have.
    let (_, may) = system::open_files()?;
    let found = format!("{may} may be open, and each connection is one");
    let advice = "LimitNOFILE=65536 in the systemd unit, or `ulimit -n 65536` before the start";
    Some(if may < FEW { Finding::warning("files", found, advice) } else { Finding::ok("files", found) })
}

//! What an operator should know of a database before a server runs on it. Nothing is changed and nothing is made.

use std::{path::Path, time::Duration};

use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, DbErr, QueryResult, Statement, TryGetable};

use super::{Store, connect, driver_url, sqlite, sqlite_file, standing};
use crate::config::Pool;
use crate::finding::Finding;
use crate::{clock, system};

const DATABASE: &str = "database";

/// How long a server may take to let us in.
const PATIENCE: Duration = Duration::from_secs(3);
/// Room on a disk below which there is a warning, and a problem.
const LITTLE: u64 = 1 << 30;
const NEARLY_NONE: u64 = 64 << 20;

impl Store {
    /// Looks at the database behind `url`, and at its schema.
    pub async fn examine(url: &str, pool: &Pool) -> Vec<Finding> {
        let url = driver_url(url);
        let file = sqlite_file(&url);
        let mut findings = file.as_deref().map(around).unwrap_or_default();
        if url.contains(":memory:") {
            findings.push(Finding::warning(DATABASE, "in memory: it ends with the server", "name a file or a server in DATABASE_URL"));
            return findings;
        }
        if file.as_ref().is_some_and(|file| !file.exists()) {
            if findings.iter().all(|f| f.advice.is_empty()) {
                findings.push(Finding::ok(DATABASE, "there is none yet; the first start makes it"));
            }
            return findings;
        }
        let advice = "start it, let this machine reach it, and check DATABASE_URL (or DB_HOST and its kin: `tidings config`)";
        let one = match connect::open_read_only(&url, PATIENCE).await {
            Ok(Some(one)) => one,
            Ok(None) => return findings,
            Err(e) => {
                findings.push(Finding::problem(DATABASE, connect::cannot_open(&url, &e), advice));
                return findings;
            }
        };
        let looked = match one.get_database_backend() {
            DbBackend::MySql => mysql(&url, &one, pool, &mut findings).await,
            DbBackend::Postgres => postgres(&url, &one, pool, &mut findings).await,
            _ => file_itself(&url, &one, &mut findings).await,
        };
        if let Err(e) = looked {
            findings.push(Finding::problem(DATABASE, connect::cannot_open(&url, &e), advice));
        }
        findings.extend(standing::examine(&one).await);
        one.close().await.ok();
        findings
    }
}

/// What the file system says of a database file.
fn around(file: &Path) -> Vec<Finding> {
    let (mut findings, folder) = (Vec::new(), system::folder(file));
    if !folder.is_dir() {
        findings.push(Finding::problem(
            DATABASE,
            format!("there is no folder {}", folder.display()),
            "make it, or name another file in DATABASE_URL",
        ));
        return findings;
    }
    let beside = ["-wal", "-shm"].map(|end| Path::new(&format!("{}{end}", file.display())).to_owned());
    let wanted = std::iter::once(folder).chain([file]).chain(beside.iter().map(AsRef::as_ref));
    for path in wanted.filter(|path| path.exists() && !system::may_write(path)) {
        let advice = "let the user that tidings runs as write it (chown, chmod), or name another file in DATABASE_URL";
        findings.push(Finding::problem(DATABASE, format!("{} cannot be written by this user", path.display()), advice));
    }
    if file.exists() && system::is_public(file) {
        let advice = format!("chmod 600 {}*, or chmod 700 its folder", file.display());
        findings.push(Finding::warning(DATABASE, format!("every user of this machine can read {}", file.display()), advice));
    }
    if let Some((free, all)) = system::free_bytes(file) {
        let found = format!("{} MiB of {} MiB are free where {} is", free >> 20, all >> 20, file.display());
        let advice = "make room: a full disk stores no message";
        findings.push(match free {
            ..NEARLY_NONE => Finding::problem("disk", found, advice),
            NEARLY_NONE..LITTLE => Finding::warning("disk", found, advice),
            _ => Finding::ok("disk", found),
        });
    }
    findings
}

async fn file_itself(url: &str, one: &DatabaseConnection, findings: &mut Vec<Finding>) -> Result<(), DbErr> {
    if let Err(e) = sqlite::look_for_damage(one).await {
        findings.push(Finding::problem(DATABASE, "the file is damaged, or no database", connect::cannot_open(url, &e)));
        return Ok(());
    }
    let version: String = value(one, "SELECT sqlite_version()").await?;
    let pages: i64 = value(one, "PRAGMA page_count").await?;
    let size: i64 = value(one, "PRAGMA page_size").await?;
    let (file, size) = (sqlite_file(url).unwrap_or_default(), pages * size / 1024);
    findings.push(Finding::ok(DATABASE, format!("SQLite {version}, {}, {size} KiB, no damage found in 2 s at most", file.display())));
    Ok(())
}

async fn mysql(url: &str, one: &DatabaseConnection, pool: &Pool, findings: &mut Vec<Finding>) -> Result<(), DbErr> {
    let version: String = value(one, "SELECT VERSION()").await?;
    let Some(name) = value::<Option<String>>(one, "SELECT DATABASE()").await? else {
        findings.push(Finding::problem(DATABASE, "its URL names none", "end DATABASE_URL with /NAME, or set DB_NAME"));
        return Ok(());
    };
    let row = row(one, "SHOW SESSION STATUS LIKE 'Ssl_version'").await?;
    let tls = row.map(|row| row.try_get_by_index::<String>(1)).transpose()?.unwrap_or_default();
    let tls = if tls.is_empty() { "without TLS".to_owned() } else { format!("over {tls}") };
    let product = if version.contains("MariaDB") { "" } else { "MySQL " };
    findings.push(Finding::ok(DATABASE, format!("{product}{version}, database {name}, {tls}")));
    if let Err(sentence) = connect::check(url, one).await {
        findings.push(Finding::problem(DATABASE, "ids are given out in steps", sentence));
    }
    if value::<i64>(one, "SELECT CAST(@@read_only IN ('0', 'OFF') AS SIGNED)").await? != 1 {
        findings.push(Finding::problem(DATABASE, "the server is read-only", "use the primary server, or SET GLOBAL read_only = 0"));
    }
    if value::<i64>(one, "SELECT CAST(@@innodb_flush_log_at_trx_commit AS SIGNED)").await? != 1 {
        let found = "commits are not durable: a power cut takes what was acknowledged";
        findings.push(Finding::warning(DATABASE, found, "set innodb_flush_log_at_trx_commit = 1"));
    }
    findings.extend(connections(value(one, "SELECT CAST(@@max_connections AS SIGNED)").await?, pool));
    findings.push(clock(one, "SELECT CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)").await?);
    // Last, for the zone of the session is another one from here on.
    one.execute_unprepared("SET SESSION time_zone = @@global.time_zone").await?;
    let minutes: i64 = value(one, "SELECT TIMESTAMPDIFF(MINUTE, UTC_TIMESTAMP(), NOW())").await?;
    let is_adopted = migration::has_column(one, "conversations", "trip_id").await?;
    let found = format!("the server's local time is {minutes} minutes from UTC");
    findings.push(match (minutes, is_adopted) {
        (0, _) => Finding::ok("zone", "the server's local time is UTC"),
        (_, false) => Finding::ok("zone", format!("{found}; what tidings stores is UTC all the same")),
        _ => Finding::warning(
            "zone",
            format!("{found}: moments that the old backend lets it fill in are taken for UTC"),
            "SET GLOBAL time_zone = '+00:00', also in the server's configuration, and start the old backend anew",
        ),
    });
    Ok(())
}

async fn postgres(url: &str, one: &DatabaseConnection, pool: &Pool, findings: &mut Vec<Finding>) -> Result<(), DbErr> {
    if let Err(sentence) = connect::check(url, one).await {
        findings.push(Finding::problem(DATABASE, "it cannot be used as it is reached", sentence));
        return Ok(());
    }
    let version: String = value(one, "SELECT current_setting('server_version')").await?;
    let name: String = value(one, "SELECT current_database()::text").await?;
    let is_tls: Option<bool> = value(one, "SELECT (SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid())").await?;
    let tls = if is_tls == Some(true) { "over TLS" } else { "without TLS" };
    findings.push(Finding::ok(DATABASE, format!("PostgreSQL {version}, database {name}, {tls}")));
    let encoding = "SELECT pg_encoding_to_char(encoding)::text FROM pg_database WHERE datname = current_database()";
    let encoding: String = value(one, encoding).await?;
    if encoding != "UTF8" {
        let advice = "make another one with ENCODING 'UTF8', and name it in DATABASE_URL";
        findings.push(Finding::problem(DATABASE, format!("its encoding is {encoding}: not every text can be stored"), advice));
    }
    if value::<bool>(one, "SELECT pg_is_in_recovery() OR current_setting('default_transaction_read_only') = 'on'").await? {
        findings.push(Finding::problem(DATABASE, "the server is read-only", "use the primary server"));
    }
    if value::<bool>(one, "SELECT current_setting('fsync') = 'off' OR current_setting('synchronous_commit') = 'off'").await? {
        let found = "commits are not durable: a power cut takes what was acknowledged";
        findings.push(Finding::warning(DATABASE, found, "set fsync = on and synchronous_commit = on"));
    }
    findings.extend(connections(value(one, "SELECT current_setting('max_connections')::bigint").await?, pool));
    findings.push(clock(one, "SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000)::bigint").await?);
    Ok(())
}

/// Whether the server lets in as many connections as a node makes.
fn connections(most: i64, pool: &Pool) -> Option<Finding> {
    let found = format!("the server takes {most} connections in all, and each node makes {}", pool.connections);
    let advice = "raise max_connections there, or lower database.connections here";
    (most <= i64::from(pool.connections)).then(|| Finding::warning(DATABASE, found, advice))
}

/// How the server's clock stands to ours: it was asked in the middle of the time that the answer took.
async fn clock(one: &DatabaseConnection, sql: &str) -> Result<Finding, DbErr> {
    let before = clock::now().timestamp_millis();
    let theirs: i64 = value(one, sql).await?;
    let after = clock::now().timestamp_millis();
    Ok(Finding::clock("the database", theirs - (before + after) / 2))
}

async fn row(one: &DatabaseConnection, sql: &str) -> Result<Option<QueryResult>, DbErr> {
    one.query_one_raw(Statement::from_string(one.get_database_backend(), sql)).await
}

/// The first column of the only row.
pub(super) async fn value<T: TryGetable>(one: &DatabaseConnection, sql: &str) -> Result<T, DbErr> {
    let row = row(one, sql).await?.ok_or_else(|| DbErr::RecordNotFound(sql.to_owned()))?;
    row.try_get_by_index(0)
}

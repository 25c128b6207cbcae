//! TLS to a database server: asked for by the URL, verified by a certificate of its own authority. These tests run on the servers that there
//! are, whichever database the others run on.

use crate::support::{Database, ROOMY, TestApp, absent, authorities, program, refusal, say, server_url};

/// A fresh database on the server that a variable names, and the two authorities; nothing, and a printed reason, when they are not there.
async fn database(variable: &str) -> Option<(Database, String, String)> {
    let (Some(url), Some((ca, other))) = (server_url(variable), authorities()) else {
        absent(&format!("there is no server with TLS ({variable}, TIDINGS_TEST_TLS)"));
        return None;
    };
    Some((Database::on(&url).await, ca, other))
}

/// The URL of a database with other words about TLS, reached under another name.
fn with(database: &Database, host: &str, words: &str) -> String {
    let (url, _) = database.url.split_once('?').expect("a query");
    format!("{}?{words}", url.replace("127.0.0.1", host))
}

/// A server over a database that is reached under `url` works.
async fn serves(mut database: Database, url: String) -> TestApp {
    database.url = url;
    let app = TestApp::over(database, tempfile::tempdir().expect("a temporary folder"), ROOMY).await;
    let (ann, bob, conversation) = app.pair().await;
    let b = app.socket(&bob).await;
    b.done("join-conversation", conversation).await;
    app.socket(&ann).await.send(conversation, "in secret").await;
    assert_eq!(b.heard("message-received").await["message_text"], "in secret");
    app
}

fn refused(url: &str) -> String {
    let folder = tempfile::tempdir().expect("a temporary folder");
    refusal(&mut program(&[], folder.path(), url))
}

#[tokio::test]
async fn mariadb_is_reached_over_tls_and_refused_when_its_certificate_is_of_another_authority_or_name() {
    over_tls_only("TIDINGS_TEST_MARIADB").await;
}

#[tokio::test]
async fn mysql_is_reached_over_tls_and_refused_when_its_certificate_is_of_another_authority_or_name() {
    if is_there("TIDINGS_TEST_MYSQL") {
        over_tls_only("TIDINGS_TEST_MYSQL").await;
    }
}

/// MySQL's way to log in, which takes the password itself, has a way for those without TLS, too.
#[tokio::test]
async fn mysql_takes_a_password_without_tls() {
    let Some(server) = server_url("TIDINGS_TEST_MYSQL").filter(|_| is_there("TIDINGS_TEST_MYSQL")) else { return };
    let database = Database::on(&server).await;
    let (user, beside) = (user_of(&database, "").await, Database::beside(&database).await);
    let url = database.url.replace("root@", &format!("{user}:a%20password@"));
    assert!(url.contains("ssl-mode=DISABLED"));
    let app = serves(database, url).await;
    beside.run(&format!("DROP USER {user}")).await;
    drop(app);
}

/// Whether there is a MySQL server; where it cannot be had its tests are left out, also in CI.
fn is_there(variable: &str) -> bool {
    let is_there = server_url(variable).is_some();
    if !is_there {
        say(&format!("skipped: there is no MySQL ({variable})"));
    }
    is_there
}

/// A user of the database, with a password.
async fn user_of(database: &Database, requirement: &str) -> String {
    let name = database.one::<String>("SELECT DATABASE()").await;
    let user = format!("u{}", &name[name.len() - 8..]);
    database.run(&format!("CREATE USER {user} IDENTIFIED BY 'a password' {requirement}")).await;
    database.run(&format!("GRANT ALL ON {name}.* TO {user}")).await;
    user
}

async fn over_tls_only(variable: &str) {
    let Some((database, ca, other)) = database(variable).await else { return };
    for (host, words) in
        [("127.0.0.1", format!("ssl-mode=VERIFY_CA&ssl-ca={other}")), ("127.0.0.1", format!("ssl-mode=VERIFY_IDENTITY&ssl-ca={ca}"))]
    {
        let said = refused(&with(&database, host, &words));
        assert!(said.contains("cannot be opened") && said.contains("certificate"), "{said}");
    }
    // This user is let in over TLS only.
    let user = user_of(&database, "REQUIRE SSL").await;
    let as_user = |url: String| url.replace("root@", &format!("{user}:a%20password@"));
    assert!(refused(&as_user(with(&database, "127.0.0.1", "ssl-mode=DISABLED"))).contains("cannot be opened"));
    let beside = Database::beside(&database).await;
    let app = serves(database, as_user(with(&beside, "localhost", &format!("ssl-mode=VERIFY_IDENTITY&ssl-ca={ca}")))).await;
    beside.run(&format!("DROP USER {user}")).await;
    drop(app);
}

#[tokio::test]
async fn postgres_is_reached_over_tls_and_refused_when_its_certificate_is_of_another_authority_or_name() {
    let Some((database, ca, other)) = database("TIDINGS_TEST_POSTGRES").await else { return };
    for (host, words) in
        [("127.0.0.1", format!("sslmode=verify-ca&sslrootcert={other}")), ("127.0.0.1", format!("sslmode=verify-full&sslrootcert={ca}"))]
    {
        let said = refused(&with(&database, host, &words));
        assert!(said.contains("cannot be opened") && said.contains("certificate"), "{said}");
    }
    let url = with(&database, "localhost", &format!("sslmode=verify-full&sslrootcert={ca}"));
    let app = serves(database, url).await;
    let encrypted = "SELECT s.ssl::text FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid) \
                     WHERE a.datname = current_database() AND a.pid <> pg_backend_pid()";
    let all: Vec<String> = app.database.all(encrypted).await;
    assert!(all.len() >= 2 && all.iter().all(|one| one == "true"), "each connection of the server is encrypted: {all:?}");
}

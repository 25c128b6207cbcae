//! What a server may do in its database: an administrator takes the steps of the schema, and the server serves with rights to rows alone.

use sea_orm::DbBackend;
use tidings::auth::random_hex;

use crate::support::{Database, Process, TestApp, backend, program, refusal};

/// Another user of a database, who has the rights that are given.
struct Guest {
    name: String,
    url: String,
}

impl Guest {
    async fn of(database: &Database) -> Self {
        let name = format!("guest_{}", random_hex::<6>());
        let owner = if backend() == DbBackend::MySql { "root" } else { "postgres" };
        let url = database.url.replacen(&format!("{owner}@"), &format!("{name}:topsecret@"), 1);
        match backend() {
            DbBackend::MySql => database.run(&format!("CREATE USER '{name}'@'127.0.0.1' IDENTIFIED BY 'topsecret'")).await,
            _ => database.run(&format!("CREATE ROLE {name} LOGIN PASSWORD 'topsecret'")).await,
        }
        Self { name, url }
    }

    /// Gives rights to the rows of all tables that there are.
    async fn may(&self, rights: &str, database: &Database) {
        let name = &self.name;
        if backend() == DbBackend::MySql {
            let schema: String = database.one("SELECT DATABASE()").await;
            return database.run(&format!("GRANT {rights} ON {schema}.* TO '{name}'@'127.0.0.1'")).await;
        }
        database.run(&format!("GRANT {rights} ON ALL TABLES IN SCHEMA public TO {name}")).await;
        if rights.contains("INSERT") {
            database.run(&format!("GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {name}")).await;
        }
    }

    async fn leave(self, database: &Database) {
        let name = &self.name;
        if backend() == DbBackend::MySql {
            return database.run(&format!("DROP USER '{name}'@'127.0.0.1'")).await;
        }
        database.run(&format!("DROP OWNED BY {name}")).await;
        database.run(&format!("DROP ROLE {name}")).await;
    }
}

fn doctor(folder: &std::path::Path, url: &str) -> String {
    let output = program(&[], folder, url).arg("doctor").output().expect("it runs");
    String::from_utf8(output.stdout).expect("text")
}

#[tokio::test]
async fn rights_to_rows_are_enough_where_an_administrator_has_taken_the_steps() {
    if backend() == DbBackend::Sqlite {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let database = Database::create(folder.path()).await;
    let guest = Guest::of(&database).await;
    database.run("CREATE TABLE visits (id INTEGER)").await;
    guest.may("SELECT, INSERT, UPDATE, DELETE", &database).await;
    let found = doctor(folder.path(), &guest.url);
    assert!(found.contains("problem  migrations") && found.contains("steps are pending, and this user may not"), "{found}");
    let said = refusal(program(&[], folder.path(), &guest.url).arg("serve"));
    assert!(said.contains("let an administrator run `tidings migrate`") && !said.contains("topsecret"), "{said}");

    assert!(program(&[], folder.path(), &database.url).arg("migrate").output().expect("it runs").status.success());
    guest.may("SELECT, INSERT, UPDATE, DELETE", &database).await;
    let found = doctor(folder.path(), &guest.url);
    assert!(found.contains("ok       migrations") && !found.contains("problem  "), "{found}");
    let steps: Vec<String> = database.all("SELECT version FROM seaql_migrations").await;
    let mut process = Process::start(folder.path(), &guest.url);
    let app = TestApp::of(&process, database);
    let (ann, bob, conversation) = app.pair().await;
    let sent = app.socket(&ann).await.send(conversation, "hello").await;
    assert_eq!(app.get("/api/messaging/conversations", &bob).await.rows()[0]["last_message"], sent["message_text"]);
    app.ticket(&ann).await;
    process.assert_sound();
    process.signal("TERM");
    process.ended().await;
    assert_eq!(app.database.all::<String>("SELECT version FROM seaql_migrations").await, steps);
    guest.leave(&app.database).await;
}

#[tokio::test]
async fn a_server_that_may_not_write_does_not_start_and_says_what_it_needs() {
    if backend() == DbBackend::Sqlite {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let database = Database::create(folder.path()).await;
    assert!(program(&[], folder.path(), &database.url).arg("migrate").output().expect("it runs").status.success());
    let guest = Guest::of(&database).await;
    guest.may("SELECT", &database).await;
    let said = refusal(program(&[], folder.path(), &guest.url).arg("serve"));
    let needs = "let an administrator GRANT SELECT, INSERT, UPDATE ON conversations TO";
    assert!(said.contains("The table conversations cannot be used (") && said.contains(needs), "{said}");
    let found = doctor(folder.path(), &guest.url);
    assert!(found.contains("problem  tables") && found.contains(needs) && found.contains("ON recovery_sessions TO"), "{found}");
    guest.leave(&database).await;
}

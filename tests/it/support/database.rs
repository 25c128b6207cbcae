//! The server's database, seen from outside: a fresh one for each test, what a test puts there, and what it finds.

use std::{env, fmt, path::Path};

use sea_orm::{ConnectOptions, ConnectionTrait, DatabaseConnection, DbBackend, Statement, TryGetable, sqlx};
use tidings::auth::random_hex;

/// A connection of our own to a database that is made for one test, and dropped with it.
pub struct Database {
    connection: DatabaseConnection,
    backend: DbBackend,
    /// Where the server finds it.
    pub url: String,
    /// On which server it is to be dropped.
    dropped_on: Option<(String, String)>,
}

/// The kind of database that `TIDINGS_TEST_DATABASE` names; SQLite when it names none.
pub fn backend() -> DbBackend {
    match variable("TIDINGS_TEST_DATABASE").as_deref() {
        None | Some("sqlite") => DbBackend::Sqlite,
        Some("mariadb" | "mysql") => DbBackend::MySql,
        Some("postgres") => DbBackend::Postgres,
        Some(other) => panic!("TIDINGS_TEST_DATABASE is {other}, not sqlite, mariadb, mysql or postgres"),
    }
}

/// Whether MySQL is under test, and not MariaDB.
pub fn is_mysql() -> bool {
    variable("TIDINGS_TEST_DATABASE").as_deref() == Some("mysql")
}

/// The URL of the MariaDB or MySQL server of the tests, without a database, and its variable: MySQL when that is under test.
pub fn mysql_or_mariadb() -> (Option<String>, &'static str) {
    let name = if is_mysql() { "TIDINGS_TEST_MYSQL" } else { "TIDINGS_TEST_MARIADB" };
    (variable(name), name)
}

/// Whether what is missing is a failure.
pub fn is_ci() -> bool {
    variable("CI").as_deref() == Some("true")
}

/// The certificate by which the servers of the tests can be verified, and one by which they cannot; nothing when they offer no TLS.
pub fn authorities() -> Option<(String, String)> {
    let folder = variable("TIDINGS_TEST_TLS")?;
    Some((format!("{folder}/ca.pem"), format!("{folder}/other-ca.pem")))
}

/// The URL of a server of the tests by the name of its variable; nothing when there is none.
pub fn server_url(name: &str) -> Option<String> {
    variable(name)
}

/// Something that a test needs is not there: a failure in CI, a printed reason elsewhere.
pub fn absent(what: &str) {
    assert!(!is_ci(), "{what}: tests that need it cannot run");
    super::say(&format!("{what}: a test that needs it is skipped (run the tests by ./test)"));
}

/// What the environment says, if anything.
#[expect(clippy::disallowed_methods, reason = "the tests are told by the environment which servers there are")]
pub fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

impl Database {
    /// An empty database of the kind that is under test; `folder` is for SQLite.
    pub async fn create(folder: &Path) -> Self {
        let server = |name: &str| variable(name).unwrap_or_else(|| panic!("{name} is not set: run the tests by ./test"));
        match backend() {
            DbBackend::MySql => Self::on(&server(mysql_or_mariadb().1)).await,
            DbBackend::Postgres => Self::on(&server("TIDINGS_TEST_POSTGRES")).await,
            _ => Self::sqlite(folder).await,
        }
    }

    /// An empty SQLite file.
    pub async fn sqlite(folder: &Path) -> Self {
        Self::open(format!("sqlite://{}?mode=rwc", folder.join("test.db").display()), None).await
    }

    /// An empty database on a server, reached without TLS.
    pub async fn on(server: &str) -> Self {
        let name = format!("tidings_{}", random_hex::<8>());
        let (admin, plain) = if server.starts_with("postgres") {
            (format!("{server}/postgres?sslmode=disable"), "sslmode=disable")
        } else {
            (format!("{server}?ssl-mode=DISABLED"), "ssl-mode=DISABLED")
        };
        manage(&admin, &format!("CREATE DATABASE {name}")).await;
        Self::open(format!("{server}/{name}?{plain}"), Some((admin, name))).await
    }

    /// Another connection to the same database, for somebody else who writes there.
    pub async fn beside(other: &Self) -> Self {
        Self::open(other.url.clone(), None).await
    }

    async fn open(url: String, dropped_on: Option<(String, String)>) -> Self {
        let mut options = ConnectOptions::new(url.clone());
        options.max_connections(1).sqlx_logging(false);
        options.map_sqlx_sqlite_opts(|o: sqlx::sqlite::SqliteConnectOptions| o.busy_timeout(super::DEADLINE));
        let connection = sea_orm::Database::connect(options).await.expect("the database opens");
        let this = Self { backend: connection.get_database_backend(), connection, url, dropped_on };
        if this.backend == DbBackend::MySql {
            this.run("SET SESSION sql_mode = CONCAT(@@sql_mode, ',ANSI_QUOTES')").await;
        }
        this
    }

    fn statement(&self, sql: &str) -> Statement {
        Statement::from_string(self.backend, sql.to_owned())
    }

    /// A text as a literal.
    pub fn quoted(&self, text: &str) -> String {
        let text = text.replace('\'', "''");
        format!("'{}'", if self.backend == DbBackend::MySql { text.replace('\\', "\\\\") } else { text })
    }

    /// Runs a statement.
    pub async fn run(&self, sql: &str) {
        self.connection.execute_unprepared(sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    }

    /// Runs an `INSERT` and returns the id of the row.
    pub async fn insert(&self, sql: &str) -> i64 {
        if self.backend == DbBackend::MySql {
            let outcome = self.connection.execute_raw(self.statement(sql)).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
            return i64::try_from(outcome.last_insert_id()).expect("an id");
        }
        self.one(&format!("{sql} RETURNING id")).await
    }

    /// Inserts many rows, given as the text of their values, into a table with the names of its columns.
    pub async fn bulk(&self, into: &str, rows: impl Iterator<Item = String>) {
        let rows: Vec<String> = rows.collect();
        for some in rows.chunks(2000) {
            self.run(&format!("INSERT INTO {into} VALUES {}", some.join(", "))).await;
        }
    }

    /// The first column of a query.
    pub async fn all<T: TryGetable>(&self, sql: &str) -> Vec<T> {
        let rows = self.connection.query_all_raw(self.statement(sql)).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
        rows.iter().map(|row| row.try_get_by_index(0).unwrap_or_else(|e| panic!("{sql}: {e}"))).collect()
    }

    /// The single value of a query.
    pub async fn one<T: TryGetable>(&self, sql: &str) -> T {
        let mut all = self.all(sql).await;
        assert_eq!(all.len(), 1, "{sql} gives one row");
        all.remove(0)
    }

    /// Every row of every table as text, to tell whether anything was written.
    pub async fn everything(&self) -> Vec<String> {
        let (tables, columns) = match self.backend {
            DbBackend::Sqlite => (
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
                "SELECT name FROM pragma_table_info('{table}')",
            ),
            DbBackend::MySql => (
                "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()",
                "SELECT column_name FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = '{table}' \
                 ORDER BY ordinal_position",
            ),
            _ => (
                "SELECT table_name::text FROM information_schema.tables WHERE table_schema = 'public'",
                "SELECT column_name::text FROM information_schema.columns WHERE table_schema = 'public' AND table_name = '{table}'",
            ),
        };
        let text = if self.backend == DbBackend::MySql { "CHAR" } else { "TEXT" };
        let mut rows = Vec::new();
        for table in self.all::<String>(tables).await {
            let columns = self.all::<String>(&columns.replace("{table}", &table)).await;
            let shown = |name: &String| format!("COALESCE(CAST(\"{name}\" AS {text}), 'NULL')");
            let texts = columns.iter().map(shown).collect::<Vec<_>>().join(" || ', ' || ");
            rows.extend(self.all::<String>(&format!("SELECT '{table}: ' || {texts} FROM {table} ORDER BY 1")).await);
        }
        rows
    }

    /// Deletes a conversation as somebody does whose database enforces no foreign keys: its messages stay.
    pub async fn orphan_messages(&self, conversation: i64) {
        let statements = match self.backend {
            DbBackend::Sqlite => ["PRAGMA foreign_keys = OFF", "PRAGMA foreign_keys = ON"],
            DbBackend::MySql => ["SET SESSION foreign_key_checks = 0", "SET SESSION foreign_key_checks = 1"],
            _ => ["SET session_replication_role = replica", "SET session_replication_role = DEFAULT"],
        };
        self.run(statements[0]).await;
        self.run(&format!("DELETE FROM conversations WHERE id = {conversation}")).await;
        self.run(statements[1]).await;
    }

    /// Puts a table back to the state in which `newest` was its newest id, as a restored backup does.
    pub async fn put_back(&self, table: &str, newest: i64) {
        self.run(&format!("DELETE FROM {table} WHERE id > {newest}")).await;
        self.run(&match self.backend {
            DbBackend::Sqlite => format!("UPDATE sqlite_sequence SET seq = {newest} WHERE name = '{table}'"),
            DbBackend::MySql => format!("ALTER TABLE {table} AUTO_INCREMENT = {}", newest + 1),
            _ => format!("SELECT setval(pg_get_serial_sequence('{table}', 'id'), {}, false)", newest + 1),
        })
        .await;
    }

    /// Lets nobody write messages, conversations and tickets, until [`unlock`](Self::unlock).
    pub async fn lock(&self) {
        self.lock_tables(&["conversations", "messages", "support_tickets", "support_messages"]).await;
    }

    /// Lets nobody write these tables, until [`unlock`](Self::unlock).
    pub async fn lock_tables(&self, tables: &[&str]) {
        let lock = match self.backend {
            DbBackend::Sqlite => "BEGIN IMMEDIATE".to_owned(),
            DbBackend::MySql => format!("LOCK TABLES {} READ", tables.join(" READ, ")),
            _ => format!("BEGIN; LOCK TABLE {} IN SHARE MODE", tables.join(", ")),
        };
        self.connection.execute_unprepared(&lock).await.expect("the tables can be locked");
    }

    /// Lets nobody read conversations, until [`unlock`](Self::unlock). False where readers wait for nobody.
    pub async fn lock_reads(&self) -> bool {
        let lock = match self.backend {
            DbBackend::Sqlite => return false,
            DbBackend::MySql => "LOCK TABLES conversations WRITE",
            _ => "BEGIN; LOCK TABLE conversations IN ACCESS EXCLUSIVE MODE",
        };
        self.connection.execute_unprepared(lock).await.expect("the table can be locked");
        true
    }

    /// Undoes [`lock`](Self::lock) and [`lock_reads`](Self::lock_reads).
    pub async fn unlock(&self) {
        let unlock = if self.backend == DbBackend::MySql { "UNLOCK TABLES" } else { "COMMIT" };
        self.connection.execute_unprepared(unlock).await.expect("the tables can be unlocked");
    }

    /// Copies a message so many times, each time with the number of the copy as its text: 2, 3 and so on.
    pub async fn copy_message(&self, id: i64, copies: i64) {
        let text = if self.backend == DbBackend::MySql { "CHAR" } else { "TEXT" };
        let of = |column: &str| format!("SELECT CAST({column} AS {text}) FROM messages WHERE id = {id}");
        let mut row = Vec::new();
        for column in ["conversation_id", "sender_id", "receiver_id", "created_at"] {
            row.push(self.one::<String>(&of(column)).await);
        }
        let [conversation, sender, receiver, moment] = row.as_slice() else { unreachable!("four columns") };
        let numbers: Vec<i64> = (2..2 + copies).collect();
        for some in numbers.chunks(500) {
            let rows: Vec<String> =
                some.iter().map(|n| format!("({conversation}, {sender}, {receiver}, '{n}', FALSE, '{moment}')")).collect();
            let into = "INSERT INTO messages (conversation_id, sender_id, receiver_id, message_text, is_read, created_at) VALUES";
            self.run(&format!("{into} {}", rows.join(", "))).await;
        }
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

async fn manage(server: &str, sql: &str) {
    let mut options = ConnectOptions::new(server.to_owned());
    options.max_connections(1).sqlx_logging(false);
    let admin = sea_orm::Database::connect(options).await.expect("the server of the tests answers");
    admin.execute_unprepared(sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    admin.close().await.ok();
}

impl Drop for Database {
    fn drop(&mut self) {
        let Some((admin, name)) = self.dropped_on.take() else { return };
        let backend = self.backend;
        // The test's own runtime is busy with us, so another one does it; the server under test may be in the middle of anything.
        let work = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                if backend == DbBackend::Postgres {
                    return manage(&admin, &format!("DROP DATABASE {name} WITH (FORCE)")).await;
                }
                let connections = format!("SELECT CAST(id AS CHAR) FROM information_schema.processlist WHERE db = '{name}'");
                let server = Self::open(admin, None).await;
                for id in server.all::<String>(&connections).await {
                    // One that is gone already cannot be ended.
                    server.connection.execute_unprepared(&format!("KILL {id}")).await.ok();
                }
                server.run(&format!("DROP DATABASE {name}")).await;
            });
        });
        work.join().ok();
    }
}

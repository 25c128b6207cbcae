//! The server under test: the real one, in this process, on a free port, over a fresh database.

use std::{net::SocketAddr, time::Duration};

use entity::UserId;
use serde_json::{Value, json};
use tempfile::TempDir;
use tidings::{
    app::Server,
    auth::{Tokens, random_hex},
    config::Settings,
};

use super::{Process, database::Database};

/// What tokens are signed with here.
pub const SECRET: &str = "the secret of the tests";

/// A running server.
pub struct TestApp {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its database, seen from outside.
    pub database: Database,
    pub(super) http: reqwest::Client,
    server: Option<Server>,
    pub(super) settings: Settings,
    _folder: TempDir,
}

/// A user of the server, with a token.
#[derive(Clone, Debug)]
pub struct User {
    pub id: i64,
    pub name: String,
    pub token: String,
}

/// A token for a user, or one that nobody signed in earnest, such as an expired one.
pub fn token(user: i64, role: Option<&str>, lifetime: Duration) -> String {
    let tokens = Tokens::new(SECRET, Duration::ZERO, true, &[]);
    tokens.sign(UserId(user), role, lifetime).expect("a token is signed")
}

impl TestApp {
    /// A server with the default settings.
    pub async fn start() -> Self {
        Self::with("").await
    }

    /// A server with some settings of its own, as the text of a settings file.
    pub async fn with(overrides: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let database = Database::create(folder.path()).await;
        Self::over(database, folder, overrides).await
    }

    /// A server over an SQLite database that some statements made before.
    pub async fn adopting(statements: &[&str], overrides: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let database = Database::sqlite(folder.path()).await;
        for statement in statements {
            database.run(statement).await;
        }
        Self::over(database, folder, overrides).await
    }

    /// A server over a database that there is; `folder` is for its files.
    pub async fn over(database: Database, folder: TempDir, overrides: &str) -> Self {
        let file = folder.path().join("settings.toml");
        std::fs::write(&file, overrides).expect("the settings are written");
        let url = database.url.clone();
        let environment = |name: &str| match name {
            "HOST" => Some("127.0.0.1".to_owned()),
            "PORT" => Some("0".to_owned()),
            "DATABASE_URL" => Some(url.clone()),
            "JWT_SECRET" => Some(SECRET.to_owned()),
            _ => None,
        };
        let settings = Settings::load_with(Some(&file), environment).expect("the settings are good");
        let server = Server::start(settings.clone()).await.expect("the server starts");
        let http = reqwest::Client::new();
        Self { address: server.address, database, http, server: Some(server), settings, _folder: folder }
    }

    /// Another server over the same database, with the same settings.
    pub async fn another(&self) -> Self {
        self.another_with_secret(SECRET).await
    }

    /// The same with another secret.
    pub async fn another_with_secret(&self, secret: &str) -> Self {
        let (database, folder) = (Database::beside(&self.database).await, tempfile::tempdir().expect("a temporary folder"));
        let mut settings = self.settings.clone();
        settings.auth.jwt_secret = Some(secret.to_owned());
        let server = Server::start(settings.clone()).await.expect("the server starts");
        let (address, http) = (server.address, reqwest::Client::new());
        Self { address, database, http, server: Some(server), settings, _folder: folder }
    }

    /// A server that runs in a process of its own.
    pub fn of(process: &Process, database: Database) -> Self {
        let settings = Settings::load_with(None, |_| None).expect("the defaults are good");
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self { address: process.address, database, http: reqwest::Client::new(), server: None, settings, _folder: folder }
    }

    /// Where it shows its metrics, if that is a port of their own.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.server.as_ref()?.metrics_address
    }

    /// Stops the server and starts another one on the same database, at another port.
    pub async fn restart(&mut self) {
        self.stop().await;
        let server = Server::start(self.settings.clone()).await.expect("the server starts again");
        self.address = server.address;
        self.server = Some(server);
    }

    /// Stops the server.
    pub async fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop().await;
        }
    }

    /// A new traveller. The row is written directly: hashing a password takes a while.
    pub async fn user(&self, name: &str) -> User {
        self.user_with_role(name, "traveller").await
    }

    /// A new admin.
    pub async fn admin(&self, name: &str) -> User {
        self.user_with_role(name, "admin").await
    }

    /// A new user of any role.
    pub async fn user_with_role(&self, name: &str, role: &str) -> User {
        let id = self
            .database
            .insert(&format!(
                "INSERT INTO users (username, email, password, role) VALUES ({}, '{}@test.example', '-', '{role}')",
                self.database.quoted(name),
                random_hex::<8>()
            ))
            .await;
        User { id, name: name.to_owned(), token: token(id, Some(role), Duration::from_secs(3600)) }
    }

    /// The conversation of two users.
    pub async fn conversation(&self, one: &User, other: &User) -> i64 {
        let answer = self.post("/api/messaging/conversations", one, json!({"otherUserId": other.id})).await;
        assert!(matches!(answer.status, 200 | 201), "{answer:?}");
        id(&answer.body)
    }

    /// A new ticket of a user.
    pub async fn ticket(&self, owner: &User) -> i64 {
        let answer = self.post("/api/messaging/support/tickets", owner, json!({"subject": "Help", "description": "It broke"})).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        id(&answer.body)
    }

    /// Two users and their conversation.
    pub async fn pair(&self) -> (User, User, i64) {
        let (ann, bob) = (self.user("ann").await, self.user("bob").await);
        let conversation = self.conversation(&ann, &bob).await;
        (ann, bob, conversation)
    }
}

/// The `id` of an object.
pub fn id(object: &Value) -> i64 {
    object["id"].as_i64().unwrap_or_else(|| panic!("{object} has no id"))
}

//! The databases behind the servers: filled before a run, asked after it. The servers' own statements are not used.

use std::{fmt::Write, path::Path};

use anyhow::{Result, bail, ensure};
use sqlx::{AnyConnection, AssertSqlSafe, Connection, Executor, Row};
use tokio::runtime::Runtime;

/// What was heard of a conversation.
pub struct Told {
    /// Which one.
    pub conversation: i64,
    /// How many messages.
    pub messages: i64,
    /// The id of the newest.
    pub newest: i64,
}

/// A connection to a database of any kind.
pub struct Database {
    runtime: Runtime,
    connection: AnyConnection,
    url: String,
}

impl Database {
    /// Connects.
    pub fn open(url: &str) -> Result<Self> {
        sqlx::any::install_default_drivers();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let connection = runtime.block_on(AnyConnection::connect(url))?;
        Ok(Self { runtime, connection, url: url.to_owned() })
    }

    /// Disconnects.
    pub fn close(self) -> Result<()> {
        Ok(self.runtime.block_on(self.connection.close())?)
    }

    /// Executes a statement.
    pub fn execute(&mut self, sql: &str) -> Result<()> {
        self.runtime.block_on(self.connection.execute(sqlx::raw_sql(AssertSqlSafe(sql))))?;
        Ok(())
    }

    /// The rows of a query whose columns are integers.
    pub fn integers(&mut self, sql: &str) -> Result<Vec<Vec<i64>>> {
        let rows = self.runtime.block_on(sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut self.connection))?;
        rows.iter().map(|row| (0..row.len()).map(|at| Ok(row.try_get(at)?)).collect()).collect()
    }

    fn is_sqlite(&self) -> bool {
        self.url.starts_with("sqlite:")
    }

    /// A moment as a literal; later for a greater `second`.
    fn moment(&self, second: usize) -> String {
        let (day, hour, minute, rest) = (1 + second / 86_400 % 28, second / 3600 % 24, second / 60 % 60, second % 60);
        let (between, zone) = match self.url.split(':').next() {
            Some("sqlite") => ("T", "+00:00"),
            Some("postgres") => (" ", "+00"),
            _ => (" ", ""),
        };
        format!("'2026-10-{day:02}{between}{hour:02}:{minute:02}:{rest:02}.000{zone}'")
    }

    /// Fills tables in steps of many rows; the rows must come in the order of their ids, which start at 1.
    fn insert(&mut self, into: &str, rows: impl Iterator<Item = String>) -> Result<()> {
        let mut rows = rows.peekable();
        let head = format!("INSERT INTO {into} VALUES ");
        self.execute("BEGIN")?;
        while rows.peek().is_some() {
            let mut sql = head.clone();
            for (n, row) in rows.by_ref().take(1000).enumerate() {
                write!(sql, "{}({row})", if n == 0 { "" } else { "," })?;
            }
            self.execute(&sql)?;
        }
        self.execute("COMMIT")
    }

    /// Makes users 1 to `users`, and a conversation for each pair, in this order, from 1.
    pub fn fill(&mut self, users: usize, pairs: &[(usize, usize)]) -> Result<()> {
        let now = self.moment(0);
        let user = |id| format!("'user{id}','user{id}@bench.example','no password','traveller',{now}");
        self.insert("users (username, email, password, role, created_at)", (1..=users).map(user))?;
        let now = self.moment(0);
        let pair = |(a, b): &(usize, usize)| format!("{},{},{now},{now}", a.min(b), a.max(b));
        self.insert("conversations (user1_id, user2_id, created_at, last_message_at)", pairs.iter().map(pair))
    }

    /// Adds messages `from` to `to` of the conversations 1 to `conversations`, in turn, all between user 1 and the other one, who is user
    /// `conversation + 1`. Those of the first `unread` turns that user 1 received are unread; who sends alternates.
    pub fn fill_messages(&mut self, from: usize, to: usize, conversations: usize, unread: usize) -> Result<()> {
        if self.is_sqlite() {
            self.execute("PRAGMA synchronous = OFF")?;
            self.execute("PRAGMA cache_size = -200000")?;
        }
        let moments: Vec<String> = (0..=to / 1000).map(|n| self.moment(n)).collect();
        let rows = (from..to).map(|n| {
            let (turn, conversation) = (n / conversations, 1 + n % conversations);
            let (sender, receiver) = if turn % 2 == 0 { (conversation + 1, 1) } else { (1, conversation + 1) };
            let is_read = if turn < unread { "FALSE" } else { "TRUE" };
            let moment = moments.get(n / 1000).map_or("NULL", String::as_str);
            format!(
                "{conversation},{sender},{receiver},'message {n} of a conversation, about as long as people write them',{is_read},{moment}"
            )
        });
        self.insert("messages (conversation_id, sender_id, receiver_id, message_text, is_read, created_at)", rows)?;
        match self.url.split(':').next() {
            Some("sqlite") => self.execute("PRAGMA wal_checkpoint(TRUNCATE)"),
            Some("postgres") => self.execute("VACUUM ANALYZE"),
            _ => self.execute("ANALYZE TABLE messages, conversations, users"),
        }
    }

    /// Checks that what was heard is what is stored: so many messages in each conversation, each text once, the last with this id, and the
    /// texts, which begin with ascending numbers, in the order of the ids.
    pub fn check(&mut self, heard: &[Told]) -> Result<()> {
        let sql = "SELECT conversation_id, COUNT(*), COUNT(DISTINCT message_text), MAX(id) FROM messages GROUP BY conversation_id ORDER BY conversation_id";
        let stored = self.integers(sql)?;
        let expected: Vec<Vec<i64>> =
            heard.iter().filter(|t| t.messages > 0).map(|t| vec![t.conversation, t.messages, t.messages, t.newest]).collect();
        if let Some((has, should)) = stored.iter().zip(&expected).find(|(a, b)| a != b) {
            bail!("the store does not agree: conversation, messages, different ones, newest id are {has:?}, but {should:?} were heard");
        }
        ensure!(stored.len() == expected.len(), "the store has {} conversations with messages, not {}", stored.len(), expected.len());
        let sql = "SELECT COUNT(*) FROM (SELECT message_text AS text, LAG(message_text) OVER (PARTITION BY conversation_id ORDER BY id) AS earlier \
                   FROM messages) AS pairs WHERE earlier >= text";
        let inversions = self.integers(sql)?;
        ensure!(inversions == [[0]], "the store has messages out of order: {inversions:?}");
        Ok(())
    }
}

/// Copies an SQLite file that nobody has open.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    for end in ["-wal", "-shm"] {
        std::fs::remove_file(format!("{}{end}", to.display())).ok();
    }
    std::fs::copy(from, to)?;
    Ok(())
}

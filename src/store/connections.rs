//! A pool of connections that knows when its server is away: then whatever is asked fails at once instead of waiting, and when the server is
//! back, a new pool takes the place of the old one, whose connections may hang for as long as TCP is patient. When it refuses to write, it is
//! the primary no longer, and no connection made before is used again. A file is never away.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::TryStreamExt;
use sea_orm::prelude::async_trait::async_trait;
use sea_orm::{
    ConnAcquireErr, ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, ExecResult,
    QueryResult, SqliteTransactionMode, Statement, StreamTrait, TransactionOptions, TransactionTrait,
};
use tokio::{sync::watch, time::timeout};

use super::failure::{is_broken, is_collision, is_misplaced};
use super::validity::Validity;

/// After this time without an answer it is asked whether the server is there at all.
const SUSPICION: Duration = Duration::from_secs(1);
/// How long each such question may take, and how soon the next one follows.
const PROBE: Duration = Duration::from_secs(1);
const PROBE_PAUSE: Duration = Duration::from_millis(100);
/// A server that was not there for this long is away; a shorter absence delays what is asked, and nobody notices more of it.
const ABSENCE: Duration = Duration::from_millis(1500);

/// How often a single statement is tried that collides each time.
const TRIES: usize = 4;

/// A statement on its way.
type Asked<'a, T> = Pin<Box<dyn Future<Output = Result<T, DbErr>> + Send + 'a>>;

/// A pool of connections.
#[derive(Clone)]
pub struct Connections(Arc<Inner>);

struct Inner {
    backend: DbBackend,
    pool: RwLock<DatabaseConnection>,
    /// Nothing for a file.
    server: Option<Server>,
    is_away: watch::Sender<bool>,
    is_suspected: AtomicBool,
    renewals: AtomicU64,
}

struct Server {
    /// How to make another pool.
    options: ConnectOptions,
    /// How long a statement may take.
    patience: Duration,
    validity: Validity,
}

/// What a statement fails with when the server is away.
pub fn away() -> DbErr {
    DbErr::ConnectionAcquire(ConnAcquireErr::Timeout)
}

impl Connections {
    /// The connections to a file.
    pub fn to_file(pool: DatabaseConnection) -> Self {
        Self::new(pool, None)
    }

    /// The connections to a server, made by `options`, which see to their `validity`. A statement may take `patience`.
    ///
    /// # Errors
    /// When there is none to be had.
    pub async fn to_server(options: ConnectOptions, patience: Duration, validity: Validity) -> Result<Self, DbErr> {
        Ok(Self::new(Database::connect(options.clone()).await?, Some(Server { options, patience, validity })))
    }

    fn new(pool: DatabaseConnection, server: Option<Server>) -> Self {
        let (is_away, is_suspected, renewals) = (watch::Sender::new(false), AtomicBool::new(false), AtomicU64::new(0));
        Self(Arc::new(Inner { backend: pool.get_database_backend(), pool: RwLock::new(pool), server, is_away, is_suspected, renewals }))
    }

    fn pool(&self) -> DatabaseConnection {
        self.0.pool.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the server is away.
    pub fn is_away(&self) -> bool {
        *self.0.is_away.borrow()
    }

    /// How often the server came back, or was another one, and connections were made anew.
    pub fn renewals(&self) -> u64 {
        self.0.renewals.load(Ordering::Relaxed)
    }

    /// Something was written by one of these connections.
    pub fn note_written(&self) {
        if let Some(server) = &self.0.server {
            server.validity.settle();
        }
    }

    /// How many connections there may be.
    pub fn size(&self) -> usize {
        let pool = self.pool();
        let size = match self.0.backend {
            DbBackend::MySql => pool.get_mysql_connection_pool().options().get_max_connections(),
            DbBackend::Postgres => pool.get_postgres_connection_pool().options().get_max_connections(),
            _ => pool.get_sqlite_connection_pool().options().get_max_connections(),
        };
        usize::try_from(size).unwrap_or(1).max(1)
    }

    /// Starts a transaction that writes.
    pub async fn begin(&self) -> Result<DatabaseTransaction, DbErr> {
        let options = TransactionOptions { sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate), ..Default::default() };
        let pool = self.pool();
        self.within(pool.begin_with_options(options)).await
    }

    /// Asks one statement, which is a transaction of its own; again, when it collided with another one, or the server wants it prepared anew,
    /// as MariaDB does when its cache of tables is too small for all of them; or on a new connection, when this one leads to the wrong server.
    async fn ask<T>(&self, statement: Statement, how: for<'a> fn(&'a DatabaseConnection, Statement) -> Asked<'a, T>) -> Result<T, DbErr> {
        let mut tries = TRIES;
        loop {
            let pool = self.pool();
            match self.within(how(&pool, statement.clone())).await {
                Err(e) if (is_collision(&e) || is_misplaced(&e)) && tries > 1 => tries -= 1,
                answer => return answer,
            }
        }
    }

    /// Gives the rows of a query to `take` one by one until that has enough: the rest is never in memory. A query that collided before its
    /// first row is asked again.
    pub async fn read_while(
        &self,
        statement: Statement,
        mut take: impl FnMut(QueryResult) -> Result<bool, DbErr> + Send,
    ) -> Result<(), DbErr> {
        let mut tries = TRIES;
        loop {
            let (pool, mut is_begun) = (self.pool(), false);
            let reading = async {
                let mut rows = pool.stream_raw(statement.clone()).await?;
                while let Some(row) = rows.try_next().await? {
                    is_begun = true;
                    if !take(row)? {
                        break;
                    }
                }
                Ok(())
            };
            match self.within(reading).await {
                Err(e) if (is_collision(&e) || is_misplaced(&e)) && !is_begun && tries > 1 => tries -= 1,
                done => return done,
            }
        }
    }

    /// Waits for something that is asked of the server, as long as it is there.
    pub async fn within<T>(&self, asked: impl Future<Output = Result<T, DbErr>>) -> Result<T, DbErr> {
        let Some(server) = &self.0.server else { return asked.await };
        let mut is_away = self.0.is_away.subscribe();
        let patiently = async {
            tokio::pin!(asked);
            if let Ok(answer) = timeout(SUSPICION, &mut asked).await {
                return answer;
            }
            self.suspect();
            timeout(server.patience.saturating_sub(SUSPICION), asked).await.unwrap_or_else(|_| Err(away()))
        };
        let answer = tokio::select! {
            biased;
            _ = is_away.wait_for(|away| *away) => return Err(away()),
            answer = patiently => answer,
        };
        if answer.as_ref().is_err_and(is_broken) {
            self.suspect();
        }
        if answer.as_ref().is_err_and(is_misplaced) && server.validity.renew() {
            self.0.renewals.fetch_add(1, Ordering::Relaxed);
        }
        answer
    }

    /// Finds out whether the server is there, and when it is away, waits for it to come back.
    fn suspect(&self) {
        if self.0.is_suspected.swap(true, Ordering::AcqRel) {
            return;
        }
        let this = self.clone();
        tokio::spawn(async move {
            let mut patience = std::pin::pin!(tokio::time::sleep(ABSENCE));
            loop {
                tokio::select! {
                    pool = this.probe() => break this.renew(pool),
                    () = &mut patience, if !*this.0.is_away.borrow() => {
                        tracing::error!("the database is away");
                        this.0.is_away.send_replace(true);
                    }
                }
            }
        });
    }

    /// Asks for a new pool until there is one.
    async fn probe(&self) -> Option<DatabaseConnection> {
        let server = self.0.server.as_ref()?;
        loop {
            if let Ok(Ok(pool)) = timeout(PROBE, Database::connect(server.options.clone())).await
                && let Ok(Ok(_)) = timeout(PROBE, pool.execute_unprepared("SELECT 1")).await
            {
                return Some(pool);
            }
            tokio::time::sleep(PROBE_PAUSE).await;
        }
    }

    fn renew(&self, fresh: Option<DatabaseConnection>) {
        if let Some(mut unused) = fresh {
            if *self.0.is_away.borrow() {
                std::mem::swap(&mut *self.0.pool.write().unwrap_or_else(PoisonError::into_inner), &mut unused);
                self.0.is_away.send_replace(false);
                self.0.renewals.fetch_add(1, Ordering::Relaxed);
                tracing::info!("the database is back");
            }
            tokio::spawn(unused.close());
        }
        self.0.is_suspected.store(false, Ordering::Release);
    }

    /// Closes the connections.
    pub async fn close(&self) {
        self.pool().close().await.ok();
    }
}

#[async_trait]
impl ConnectionTrait for Connections {
    fn get_database_backend(&self) -> DbBackend {
        self.0.backend
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.ask(statement, |pool, statement| pool.execute_raw(statement)).await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        let pool = self.pool();
        self.within(pool.execute_unprepared(sql)).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        self.ask(statement, |pool, statement| pool.query_one_raw(statement)).await
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.ask(statement, |pool, statement| pool.query_all_raw(statement)).await
    }
}

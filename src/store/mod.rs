//! The database: the only user of `sea_orm`, and the home of every difference between the databases. No rule lives here.

mod backup;
mod bans;
mod connect;
mod connections;
mod conversations;
mod dialect;
mod examine;
mod failure;
mod file;
mod gather;
mod health;
mod identity;
mod inserts;
pub mod jobs;
mod listed;
mod messages;
mod names;
mod schema;
mod send_key;
mod sessions;
mod settle;
mod sqlite;
mod standing;
mod teller;
mod tickets;
mod trial;
pub mod turns;
mod users;
mod validity;
mod wal;
mod write;
pub mod writer;
mod writes;

use std::path::{Path, PathBuf};

use sea_orm::{ConnectionTrait, DbBackend, DbErr, EntityTrait, QueryResult};

pub use backup::Backup;
pub use bans::{ban, unban};
pub use conversations::{InboxFilter, InboxRow};
pub use listed::{Bound, Listed};
pub use messages::{Message, Page};
pub use migration::{Fault, Standing};
pub use sessions::{AT_ONCE, Session};
pub use tickets::{NamedTicket, SupportMessage, Ticket, TicketFilter, TicketPage};
pub use users::{NewUser, User};

use crate::clock::Timestamp;
use crate::config::Pool;
use crate::error::Result;
use crate::system;
use connections::Connections;
use dialect::statement;
use entity::{ConversationId, MessageId, UserId};
use failure::{failure, is_away, is_broken, is_collision, is_duplicate, is_late, is_misplaced, is_orphan, is_unfit};
use gather::Gather;
use health::Health;
use schema::Schema;
use write::Write;

/// The database. SQLite is read through several connections and written through two, the writer's and the driver's, that take turns, so that no
/// write ever finds the file locked by us.
pub struct Store {
    read: Connections,
    write: Write,
    schema: Schema,
    /// Whether other nodes write here, too.
    is_shared: bool,
    /// How many bytes may go to the database at once.
    batch_bytes: usize,
    health: Health,
    gathered: Gathered,
    names: names::Names,
}

/// What clients have read when they come, and when they come back.
#[derive(Default)]
struct Gathered {
    users: Gather<UserId, User>,
    contacts: Gather<UserId, Vec<UserId>>,
    members: Gather<ConversationId, (UserId, UserId)>,
    newest: Gather<ConversationId, i64>,
    sessions: Gather<String, Session>,
    latest: Gather<UserId, (ConversationId, MessageId)>,
}

impl Store {
    /// Opens the database, creating an SQLite file when there is none, and brings its schema up to date: additive only, one node at a time.
    /// `is_shared` says that other nodes write to it, too.
    ///
    /// # Errors
    /// One sentence that says what to do.
    pub async fn open(url: &str, pool: &Pool, is_shared: bool) -> Result<Self, String> {
        let url = driver_url(url);
        let cannot_open = |e: DbErr| connect::cannot_open(&url, &e);
        let cannot_migrate = |e: DbErr| schema::cannot_migrate(&url, &e);
        let one = connect::open_one(&url, connect::START).await.map_err(cannot_open)?;
        connect::check(&url, &one).await?;
        schema::check(&url, &one).await?;
        schema::migrate_aloud(&url, &one).await.map_err(cannot_migrate)?;
        schema::check_rights(&url, &one).await?;
        let schema = schema::inspect(&one).await.map_err(cannot_migrate)?;
        let batch_bytes = connect::batch_bytes(&one).await.map_err(cannot_open)?;
        let connect::Pools { read, write } = connect::open_pools(&url, one, pool).await.map_err(cannot_open)?;
        let (health, gathered, names) = Default::default();
        Ok(Self { read, write, schema, is_shared, batch_bytes, health, gathered, names })
    }

    /// Which schema steps have been taken, and what the others would add; and what of the tables keeps a server from starting. Changes nothing,
    /// and creates nothing.
    ///
    /// # Errors
    /// One sentence that says what to do.
    pub async fn status(url: &str) -> Result<(Vec<Standing>, Vec<Fault>), String> {
        let url = driver_url(url);
        let cannot_open = |e: DbErr| connect::cannot_open(&url, &e);
        let one = match connect::open_read_only(&url, connect::START).await.map_err(cannot_open)? {
            Some(one) => one,
            // There is no file yet: what would be done to it is what would be done to any empty database.
            None => connect::open_one("sqlite::memory:", connect::START).await.map_err(cannot_open)?,
        };
        let looked = async { Ok((migration::status(&one).await?, migration::faults(&one).await?)) };
        let found = looked.await.map_err(cannot_open);
        one.close().await.ok();
        found
    }

    /// A user, in a database that no server need run on. Changes nothing, and creates nothing.
    ///
    /// # Errors
    /// One sentence that says what to do.
    pub async fn look_up_user(url: &str, id: UserId) -> Result<Option<User>, String> {
        let url = driver_url(url);
        let cannot_open = |e: DbErr| connect::cannot_open(&url, &e);
        let Some(one) = connect::open_read_only(&url, connect::START).await.map_err(cannot_open)? else { return Ok(None) };
        let found = entity::user::Entity::find_by_id(id).one(&one).await.map_err(cannot_open);
        one.close().await.ok();
        Ok(found?.map(User::from))
    }

    /// Whether the database has rows of the legacy backend, whose rules then hold for them.
    pub fn is_adopted(&self) -> bool {
        self.schema.has_trips
    }

    /// How many can read at a time.
    pub fn readers(&self) -> usize {
        self.read.size()
    }

    /// How large the write-ahead log of an SQLite file is.
    pub fn wal_bytes(&self) -> Option<u64> {
        if let Write::File(file, _) = &self.write { Some(file.wal_bytes()) } else { None }
    }

    /// Closes the connections, so that SQLite folds its log into the file.
    pub async fn close(&self) {
        self.read.close().await;
        self.write.close().await;
    }

    async fn rows(&self, sql: &str, values: Vec<sea_orm::Value>) -> Result<Vec<QueryResult>> {
        self.read.query_all_raw(statement(&self.read, sql, values)).await.map_err(failure)
    }

    fn backend(&self) -> DbBackend {
        self.read.get_database_backend()
    }

    /// A moment as the tables keep it.
    pub fn kept(&self, moment: Timestamp) -> Timestamp {
        chrono::SubsecRound::trunc_subsecs(moment, self.schema.fraction)
    }
}

/// The URL as the driver knows it.
fn driver_url(url: &str) -> String {
    url.replacen("mariadb:", "mysql:", 1)
}

/// The SQLite file behind a URL: the one that links lead to, for SQLite keeps its log beside that.
fn sqlite_file(url: &str) -> Option<PathBuf> {
    crate::config::sqlite_file(url).and_then(|named| system::hops(named).pop())
}

/// The file of a secret that belongs to an SQLite database: beside the file that links lead to, unless it is beside one of the links.
pub fn secret_file(database: &Path) -> PathBuf {
    let beside = |file: PathBuf| {
        let mut name = file.into_os_string();
        name.push(".jwt-secret");
        PathBuf::from(name)
    };
    let mut places: Vec<PathBuf> = system::hops(database.to_owned()).into_iter().map(beside).collect();
    let last = places.pop().unwrap_or_default();
    places.into_iter().find(|place| place.exists()).unwrap_or(last)
}

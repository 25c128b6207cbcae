//! The rules of the chat: who may do what, what is refused, and who is told. Transports call it and deliver what it pushes into the
//! outbox; it knows nothing of HTTP, sockets or JSON.

mod accounts;
mod bans;
mod claims;
mod conversations;
mod guests;
mod messages;
mod missed;
mod nodes;
mod outbox;
mod presence;
mod shares;
mod text;
mod tickets;
mod typing;

use std::{net::IpAddr, sync::Arc, time::Duration};

use chrono::TimeDelta;
use entity::{ConversationId, UserId};
use quick_cache::sync::Cache;
use tokio::time::Instant;

pub use accounts::{LoginKind, NewAccount, Profile};
pub use bans::Barred;
pub use conversations::Participant;
pub use guests::Visitor;
pub use messages::Message;
pub use missed::Void;
pub use outbox::{Audience, Event, Fact, NodeId, Outbox, Room, SocketId, TicketNews};
pub use shares::{AtWork, Share};
pub use text::{MessageText, Outgoing, TempId};
pub use tickets::{TicketAccess, TicketChange};

use crate::auth::{Actor, Tokens};
use crate::clock;
use crate::config::Settings;
use crate::error::Result;
use crate::limits::{Limited, Limits};
use crate::metrics::Metrics;
use crate::passwords::Passwords;
use crate::store::jobs::{Done, Job};
use crate::store::turns::Sizes;
use crate::store::writer::Writer;
use crate::store::{AT_ONCE, Bound, Session, Store};
use crate::vital::Vital;

/// The one shared state of the server.
pub struct Chat {
    store: Arc<Store>,
    writer: Writer,
    outbox: Arc<dyn Outbox>,
    tokens: Tokens,
    limits: Limits,
    shares: shares::Shares,
    presence: presence::Presence,
    typing: typing::Typing,
    guests: claims::Guests,
    bans: bans::Bans,
    /// A conversation's two users, and when they were read: its id is given out again when the tables are put back.
    members: Cache<ConversationId, ((UserId, UserId), Instant)>,
    /// The users who were found in the database lately, and when.
    users: Cache<UserId, (Arc<str>, Instant)>,
    passwords: Passwords,
    settings: Settings,
}

/// For how long a user who was found in the database is taken to be there still, between two events of a socket.
const PRESENT_FOR: Duration = Duration::from_secs(1);
/// For how long the name of a user is taken to be the same still: the old backend may change it.
const NAMED_FOR: Duration = Duration::from_secs(60);
/// How long the database may take to say so.
const BRIEFLY: Duration = Duration::from_millis(250);
/// For how long, while the database is away.
const REMEMBERED_FOR: Duration = Duration::from_secs(300);
/// How often living recovery sessions are noted as used.
pub const TOUCH: Duration = Duration::from_secs(60);

/// How many bytes share a transaction at most: it is held in memory, here and by the database.
const BATCH_BYTES: usize = 8 << 20;

impl Chat {
    /// The chat over `store`; what is to be told goes to `outbox`.
    pub fn new(
        store: Arc<Store>,
        outbox: Arc<dyn Outbox>,
        metrics: Arc<Metrics>,
        vital: &Vital,
        secret: &str,
        settings: &Settings,
    ) -> Arc<Self> {
        let (auth, limits) = (&settings.auth, &settings.limits);
        let sizes =
            Sizes { queue: limits.writer_queue, per_user: limits.writer_queue_per_user, batch: limits.writer_batch, bytes: BATCH_BYTES };
        Arc::new(Self {
            writer: Writer::start(store.clone(), metrics.clone(), vital, sizes),
            shares: shares::Shares::new(store.readers(), limits, settings.database.wait, metrics.clone()),
            store,
            outbox,
            tokens: Tokens::new(secret, auth.leeway, auth.require_expiry, &auth.admin_roles),
            passwords: Passwords::new(metrics.clone()),
            limits: Limits::new(limits, metrics),
            presence: presence::Presence::default(),
            typing: typing::Typing::default(),
            guests: claims::Guests::new(settings.presence.guest_window, settings.presence.guest_claims_per_address),
            bans: bans::Bans::default(),
            members: Cache::new(100_000),
            users: Cache::new(100_000),
            settings: settings.clone(),
        })
    }

    /// The actor behind a token. Refused: a token that proves nothing or has expired, a user who does not exist, is banned or is not let in yet.
    pub async fn authenticate(&self, token: &str) -> Result<Actor> {
        self.authenticate_counted(token, None).await
    }

    /// The same, for a request that counts as `what`: before anything is read, so that what is refused costs no more than its refusal.
    pub async fn authenticate_counted(&self, token: &str, what: Option<Limited>) -> Result<Actor> {
        let (claims, since) = (self.tokens.verify(token)?, clock::instant());
        self.require_not_banned(claims.user)?;
        what.map_or(Ok(()), |what| self.limits.check(what, claims.user))?;
        let actor = |name| Actor { id: claims.user, name, is_admin: claims.is_admin, expires_at: claims.expires_at };
        match self.store.find_user(claims.user).await {
            Ok(Some(user)) => {
                self.require_let_in(&user)?;
                let name: Arc<str> = user.username.into();
                self.users.insert(claims.user, (name.clone(), since));
                Ok(actor(name))
            }
            Ok(None) => {
                self.note_user_gone(claims.user);
                Err(bans::GONE)
            }
            Err(e) => self.remembered(claims.user, REMEMBERED_FOR).map(actor).ok_or(e),
        }
    }

    /// Whose token this is, as far as the token itself says.
    pub fn user_of(&self, token: &str) -> Result<UserId> {
        self.tokens.verify(token).map(|claims| claims.user)
    }

    /// Whether the actor of a living socket still exists; asked before each of its events, answered from memory for a moment.
    pub async fn require_present(&self, actor: &Actor) -> Result<()> {
        self.require_not_banned(actor.id)?;
        if self.remembered(actor.id, PRESENT_FOR).is_some() {
            return Ok(());
        }
        let since = clock::instant();
        let name = match tokio::time::timeout(BRIEFLY, self.store.find_user(actor.id)).await {
            Ok(Ok(Some(user))) => {
                self.require_let_in(&user)?;
                user.username.into()
            }
            Ok(Ok(None)) => {
                self.note_user_gone(actor.id);
                return Err(bans::GONE);
            }
            // Whoever was there stays, so that typing and presence go on while the database is away.
            Ok(Err(_)) | Err(_) => self.current_name(actor),
        };
        self.users.insert(actor.id, (name, since));
        Ok(())
    }

    fn remembered(&self, user: UserId, within: Duration) -> Option<Arc<str>> {
        let is_there = |(_, seen): &(_, Instant)| seen.elapsed() <= within && self.barred(user, *seen).is_none();
        self.users.get(&user).filter(is_there).map(|(name, _)| name)
    }

    /// The actor's name as it was last read from the database: before its last event, or when it connected.
    fn current_name(&self, actor: &Actor) -> Arc<str> {
        self.users.get(&actor.id).map_or_else(|| actor.name.clone(), |(name, _)| name)
    }

    /// The name of a user, read from the database if it was not within a minute; `otherwise` when it cannot be read.
    async fn name_of_today(&self, user: UserId, otherwise: Arc<str>) -> Arc<str> {
        if let Some(name) = self.remembered(user, NAMED_FOR) {
            return name;
        }
        match tokio::time::timeout(BRIEFLY, self.store.find_user(user)).await {
            Ok(Ok(Some(found))) => found.username.into(),
            _ => otherwise,
        }
    }

    /// Counts one use of a limited action, or refuses it.
    pub fn limit(&self, what: Limited, actor: &Actor) -> Result<()> {
        self.limits.check(what, actor.id)
    }

    /// How far a list is read: `limit` rows, or `default` without, where 0 is all of them; and no more bytes than an answer may have.
    fn bound(&self, limit: Option<u64>, default: u64) -> Bound {
        Bound { rows: limit.or((default > 0).then_some(default)), bytes: self.settings.limits.answer_bytes }
    }

    /// Counts one new connection of a client address, or refuses it.
    pub fn limit_handshake(&self, address: IpAddr) -> Result<()> {
        self.limits.check_handshake(address)
    }

    /// Counts one event of a guest, or refuses it.
    pub fn limit_guest(&self, socket: SocketId) -> Result<()> {
        self.limits.check_guest(socket.0)
    }

    /// How large the write-ahead log of an SQLite file is.
    pub fn wal_bytes(&self) -> Option<u64> {
        self.store.wal_bytes()
    }

    /// Whether the database answers and can be written.
    ///
    /// # Errors
    /// What hinders it, in a word for the operator.
    pub async fn ready(&self) -> Result<(), &'static str> {
        self.store.ping().await
    }

    /// What is known of the database without asking it, if it was used a moment ago or is away.
    pub fn found_lately(&self) -> Option<Result<(), &'static str>> {
        self.store.found_lately()
    }

    /// How often the database's connections were lost and made anew.
    pub fn reconnections(&self) -> u64 {
        self.store.reconnections()
    }

    /// Whoever writes, for those who watch whether it does.
    pub fn writer(&self) -> &Writer {
        &self.writer
    }

    /// Waits until everything that was accepted is stored.
    pub async fn flush(&self) {
        self.writer.perform(Job::Flush, |_| ()).await.ok();
    }

    /// What must be done now and then: typists who fell silent, contacts that could not be read, buckets and sessions that nobody needs.
    pub async fn housekeeping(self: Arc<Self>) {
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        for n in 0_u64.. {
            tick.tick().await;
            self.expire_typists();
            self.learn_contacts().await;
            self.store.renew_names().await.ok();
            if n % 60 == 0 {
                self.limits.forget_idle();
                self.guests.forget_idle();
                self.shares.forget_idle();
                self.share_seen(true);
                self.forget_sessions().await.ok();
            }
        }
    }

    /// Removes the sessions that nobody has used for too long, a few at a time.
    async fn forget_sessions(&self) -> Result<()> {
        let Some(oldest) = clock::now().checked_sub_signed(self.session_life()) else { return Ok(()) };
        loop {
            let stale = self.store.stale_sessions(oldest).await?;
            if stale.is_empty() {
                return Ok(());
            }
            self.writer.execute(Session::forget(&stale, oldest), |_| ()).await?;
        }
    }

    /// Saves what a socket follows, in order with the messages.
    pub async fn save_session(&self, session: Session, done: Done<()>) {
        self.writer.submit(Job::Execute(session.save(), done)).await;
    }

    /// The session with this private id, when it is not too old. It is worth something to its user only.
    pub async fn find_session(&self, pid: &str) -> Result<Option<Session>> {
        let session = self.store.find_session(pid).await?;
        Ok(session.filter(|session| clock::now() - session.used_at <= self.session_life()))
    }

    /// Forgets a session: its client closed it itself.
    pub async fn end_session(&self, user: UserId, pid: &str) {
        self.writer.execute(Session::end(user, pid), |_| ()).await.ok();
    }

    /// Sessions are in use.
    pub async fn touch_sessions(&self, pids: &[String]) {
        for some in pids.chunks(AT_ONCE) {
            self.writer.execute(Session::touch(some, clock::now()), |_| ()).await.ok();
        }
    }

    /// A session is kept for the configured time after its last use, of which note is taken once a [`TOUCH`].
    fn session_life(&self) -> TimeDelta {
        TimeDelta::from_std(self.settings.recovery.keep.saturating_add(TOUCH)).unwrap_or(TimeDelta::MAX)
    }
}

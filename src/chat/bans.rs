//! Who is not let in, whatever token is shown: users who are banned, and those who exist no more. Bans stand in the database, where another process
//! may write them, and are kept in memory; that a user is gone is found out when the user is looked up.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use entity::UserId;
use tokio::{sync::Mutex, time::Instant};

use super::{Chat, Fact};
use crate::auth::Actor;
use crate::clock;
use crate::error::{Error, Result};
use crate::store::{AT_ONCE, ban, unban};

/// The users who are banned, as of a moment ago.
#[derive(Default)]
pub(super) struct Bans {
    users: RwLock<HashSet<UserId>>,
    /// The users who were found to exist no more, and when.
    gone: RwLock<HashMap<UserId, Instant>>,
    /// What the table was like when it was read. Locked while the table is read or written: an old reading must not undo a new ban.
    digest: Mutex<Option<String>>,
}

impl Bans {
    fn change<T>(&self, change: impl FnOnce(&mut HashSet<UserId>) -> T) -> T {
        change(&mut self.users.write().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What a banned user is told.
const BANNED: Error = Error::Unauthorized("This account is banned");
/// What a user is told who exists no more.
pub(super) const GONE: Error = Error::Unauthorized("User no longer exists");
/// For how long it is known that a user is gone: longer than a socket that was authenticated before takes to connect.
const GONE_FOR: Duration = Duration::from_secs(600);

/// Why a user may have no socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Barred {
    /// The user is banned.
    Banned,
    /// The user exists no more.
    Gone,
}

impl Barred {
    /// What the user is told.
    pub fn error(self) -> Error {
        match self {
            Self::Banned => BANNED,
            Self::Gone => GONE,
        }
    }
}

impl Chat {
    /// Why somebody may have no socket as a user, if so; `since` is when it was last asked whether the user exists, and found that.
    pub fn barred(&self, user: UserId, since: Instant) -> Option<Barred> {
        if self.is_banned(user) {
            return Some(Barred::Banned);
        }
        let gone = self.bans.gone.read().unwrap_or_else(PoisonError::into_inner);
        gone.get(&user).is_some_and(|found| since <= *found).then_some(Barred::Gone)
    }

    /// A user was found to exist no more: every socket that was let in before is to be closed, on every node.
    pub(super) fn note_user_gone(&self, user: UserId) {
        if !self.learn_user_gone(user) {
            self.outbox.share(Fact::Gone(user));
        }
    }

    /// The same, found by another node. True when it was known.
    pub(super) fn learn_user_gone(&self, user: UserId) -> bool {
        self.users.remove(&user);
        let mut gone = self.bans.gone.write().unwrap_or_else(PoisonError::into_inner);
        gone.retain(|_, found| found.elapsed() < GONE_FOR);
        gone.insert(user, clock::instant()).is_some()
    }

    /// Of users who have sockets here, those who exist no more are noted as gone: somebody who only listens is not asked for otherwise.
    pub async fn look_for_gone(&self, users: &[UserId]) -> Result<()> {
        for some in users.chunks(AT_ONCE) {
            let there = self.store.existing_users(some).await?;
            some.iter().filter(|user| !there.contains(user)).for_each(|user| self.note_user_gone(*user));
        }
        Ok(())
    }

    /// Whether a user is banned.
    pub fn is_banned(&self, user: UserId) -> bool {
        self.bans.users.read().unwrap_or_else(PoisonError::into_inner).contains(&user)
    }

    /// Refused: a banned user.
    pub fn require_not_banned(&self, user: UserId) -> Result<()> {
        if self.is_banned(user) { Err(BANNED) } else { Ok(()) }
    }

    /// Bans a user. Who: an admin. Refused: oneself, an unknown user. The user's sockets are for the caller to close.
    pub async fn ban(&self, actor: &Actor, user: UserId) -> Result<()> {
        self.require_admin(actor)?;
        if user == actor.id {
            return Err(Error::invalid("Cannot ban yourself"));
        }
        self.store.find_user(user).await?.ok_or(Error::NotFound("User not found"))?;
        let _reading = self.bans.digest.lock().await;
        let outbox = Arc::clone(&self.outbox);
        let told = move |outcome: &Result<()>| {
            if outcome.is_ok() {
                outbox.share(Fact::Expelled(user));
            }
        };
        self.writer.execute(ban(user, clock::now()), told).await?;
        self.bans.change(|users| users.insert(user));
        Ok(())
    }

    /// Lets a user in again. Who: an admin. Refused: an unknown user.
    pub async fn unban(&self, actor: &Actor, user: UserId) -> Result<()> {
        self.require_admin(actor)?;
        self.store.find_user(user).await?.ok_or(Error::NotFound("User not found"))?;
        let _reading = self.bans.digest.lock().await;
        self.writer.execute(unban(user), |_| ()).await?;
        self.bans.change(|users| users.remove(&user));
        Ok(())
    }

    /// Reads who is banned, if that has changed: another process may have written it.
    pub async fn refresh_bans(&self) -> Result<()> {
        let mut known = self.bans.digest.lock().await;
        let digest = self.store.bans_digest().await?;
        if known.as_ref() != Some(&digest) {
            let read = self.store.banned_users().await?;
            self.bans.change(|users| *users = read);
            *known = Some(digest);
        }
        Ok(())
    }
}

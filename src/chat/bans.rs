//! Bans: who is not let in, whatever token is shown. They stand in the database, where another process may write them, and are kept in memory.

use std::{
    collections::HashSet,
    sync::{Arc, PoisonError, RwLock},
};

use entity::UserId;
use tokio::sync::Mutex;

use super::{Chat, Fact};
use crate::auth::Actor;
use crate::clock;
use crate::error::{Error, Result};
use crate::store::{ban, unban};

/// The users who are banned, as of a moment ago.
#[derive(Default)]
pub(super) struct Bans {
    users: RwLock<HashSet<UserId>>,
    /// What the table was like when it was read. Locked while the table is read or written: an old reading must not undo a new ban.
    digest: Mutex<Option<String>>,
}

impl Bans {
    fn change<T>(&self, change: impl FnOnce(&mut HashSet<UserId>) -> T) -> T {
        change(&mut self.users.write().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What a banned user is told.
pub const BANNED: Error = Error::Unauthorized("This account is banned");

impl Chat {
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

//! Bans: who is not let in, whatever token is shown. They stand in the database, where another process may write them, and are kept in memory.

use std::{
    collections::HashSet,
    sync::{PoisonError, RwLock},
};

use entity::UserId;

use super::{Chat, Fact};
use crate::auth::Actor;
use crate::clock;
use crate::error::{Error, Result};

/// The users who are banned, as of a moment ago.
#[derive(Default)]
pub(super) struct Bans(RwLock<HashSet<UserId>>);

/// What a banned user is told.
pub const BANNED: Error = Error::Unauthorized("This account is banned");

impl Chat {
    /// Refused: a banned user.
    pub fn require_not_banned(&self, user: UserId) -> Result<()> {
        let bans = self.bans.0.read().unwrap_or_else(PoisonError::into_inner);
        if bans.contains(&user) { Err(BANNED) } else { Ok(()) }
    }

    /// Bans a user. Who: an admin. Refused: oneself, an unknown user. The user's sockets are for the caller to close.
    pub async fn ban(&self, actor: &Actor, user: UserId) -> Result<()> {
        self.require_admin(actor)?;
        if user == actor.id {
            return Err(Error::invalid("Cannot ban yourself"));
        }
        self.store.find_user(user).await?.ok_or(Error::NotFound("User not found"))?;
        self.store.ban(user, clock::now()).await?;
        self.refresh_bans().await?;
        self.outbox.share(Fact::Expelled(user));
        Ok(())
    }

    /// Lets a user in again. Who: an admin. Refused: an unknown user.
    pub async fn unban(&self, actor: &Actor, user: UserId) -> Result<()> {
        self.require_admin(actor)?;
        self.store.find_user(user).await?.ok_or(Error::NotFound("User not found"))?;
        self.store.unban(user).await?;
        self.refresh_bans().await?;
        Ok(())
    }

    /// Reads who is banned, and returns who was not before.
    pub async fn refresh_bans(&self) -> Result<Vec<UserId>> {
        let now = self.store.banned_users().await?;
        let mut bans = self.bans.0.write().unwrap_or_else(PoisonError::into_inner);
        let fresh = now.difference(&bans).copied().collect();
        *bans = now;
        Ok(fresh)
    }
}

//! The queries on `banned_users`.

use std::collections::HashSet;

use entity::{UserId, banned_user};
use sea_orm::{ActiveValue::Set, EntityTrait};

use super::{Store, failure, is_duplicate};
use crate::clock::Timestamp;
use crate::error::Result;

impl Store {
    /// Everybody who is banned.
    pub async fn banned_users(&self) -> Result<HashSet<UserId>> {
        let rows = banned_user::Entity::find().all(&self.read).await.map_err(failure)?;
        Ok(rows.into_iter().map(|row| row.user_id).collect())
    }

    /// Bans a user; nothing changes for one who is banned.
    pub async fn ban(&self, user: UserId, now: Timestamp) -> Result<()> {
        let row = banned_user::ActiveModel { user_id: Set(user), banned_at: Set(now) };
        match banned_user::Entity::insert(row).exec_without_returning(&self.write).await {
            Err(e) if !is_duplicate(&e) => Err(failure(e)),
            _ => Ok(()),
        }
    }

    /// Lets a user in again.
    pub async fn unban(&self, user: UserId) -> Result<()> {
        banned_user::Entity::delete_by_id(user).exec(&self.write).await.map_err(failure)?;
        Ok(())
    }
}

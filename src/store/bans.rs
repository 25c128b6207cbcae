//! The queries on `banned_users`.

use std::collections::HashSet;

use entity::{UserId, banned_user};
use sea_orm::{ActiveValue::Set, ConnectionTrait, EntityTrait, QuerySelect};

use super::{Store, dialect::statement, failure, is_duplicate};
use crate::clock::Timestamp;
use crate::error::Result;

impl Store {
    /// A short text that is another one when the bans have changed: it is asked for all the time, the bans seldom.
    pub async fn bans_digest(&self) -> Result<String> {
        let sql = "SELECT CONCAT(COUNT(*), ' ', SUM(user_id), ' ', MAX(banned_at)) FROM banned_users";
        let row = self.read.query_one_raw(statement(&self.read, sql, vec![])).await.map_err(failure)?;
        // Without bans it is null on MySQL.
        let digest = row.map(|row| row.try_get_by_index::<Option<String>>(0)).transpose().map_err(failure)?;
        Ok(digest.flatten().unwrap_or_default())
    }

    /// Everybody who is banned.
    pub async fn banned_users(&self) -> Result<HashSet<UserId>> {
        let ids = banned_user::Entity::find().select_only().column(banned_user::Column::UserId).into_tuple();
        Ok(ids.all(&self.read).await.map_err(failure)?.into_iter().collect())
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

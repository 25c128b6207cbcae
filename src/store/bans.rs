//! The queries on `banned_users`.

use std::collections::HashSet;

use entity::{UserId, banned_user};
use sea_orm::{ConnectionTrait, EntityTrait, QuerySelect};

use super::jobs::{Execute, NOBODY};
use super::{Store, dialect::statement, failure};
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
}

/// Bans a user.
pub fn ban(user: UserId, now: Timestamp) -> Execute {
    let mut ban = unban(user);
    ban.statements.push(("INSERT INTO banned_users (user_id, banned_at) VALUES (?, ?)".to_owned(), vec![user.into(), now.into()]));
    ban
}

/// Lets a user in again.
pub fn unban(user: UserId) -> Execute {
    Execute { user: NOBODY, statements: vec![("DELETE FROM banned_users WHERE user_id = ?".to_owned(), vec![user.into()])] }
}

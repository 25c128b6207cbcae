//! The queries on `users`.

use std::collections::HashSet;

use chrono::NaiveDate;
use entity::{Flag, UserId, user};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QuerySelect};

use super::jobs::{Insert, NOBODY};
use super::{Store, failure, is_unfit};
use crate::clock::Timestamp;
use crate::error::Result;

/// A user, with the password hash: never to be shown as it is.
#[derive(Clone)]
#[expect(missing_docs, reason = "the columns speak for themselves")]
pub struct User {
    pub id: UserId,
    pub username: String,
    pub email: String,
    pub password_hash: String,
    pub role: Option<String>,
    pub avatar: Option<String>,
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    pub date_of_birth: Option<NaiveDate>,
    pub is_profile_completed: bool,
    /// As the old backend counts: above 0 an admin has let the account in, 0 it waits, below 0 it was rejected.
    pub verified: i64,
}

/// A user to be.
#[expect(missing_docs, reason = "the columns speak for themselves")]
pub struct NewUser {
    pub username: String,
    pub email: String,
    pub password_hash: String,
    pub role: String,
    /// Columns of the old backend; those that this database does not have are left out.
    pub profile: Vec<(&'static str, String)>,
    pub created_at: Timestamp,
}

impl From<user::Model> for User {
    fn from(row: user::Model) -> Self {
        Self {
            id: row.id,
            username: row.username.unwrap_or_default().0,
            email: row.email.unwrap_or_default().0,
            password_hash: row.password.unwrap_or_default().0,
            role: row.role.map(String::from),
            avatar: row.avatar.map(String::from),
            first_name: row.first_name.map(String::from),
            last_name: row.last_name.map(String::from),
            date_of_birth: row.date_of_birth.map(NaiveDate::from),
            is_profile_completed: row.is_profile_completed.is_some_and(Flag::is_set),
            verified: row.verified.unwrap_or_default().0,
        }
    }
}

impl Store {
    /// The user with this id.
    pub async fn find_user(&self, id: UserId) -> Result<Option<User>> {
        let read = |ids: Vec<UserId>| async move {
            let rows = user::Entity::find().filter(user::Column::Id.is_in(ids)).all(&self.read).await.map_err(failure)?;
            Ok(rows.into_iter().map(|row| (row.id, User::from(row))).collect())
        };
        self.gathered.users.get(id, read).await
    }

    /// Those of some users who exist.
    pub async fn existing_users(&self, ids: &[UserId]) -> Result<HashSet<UserId>> {
        let found = user::Entity::find().select_only().column(user::Column::Id).filter(user::Column::Id.is_in(ids.iter().copied()));
        Ok(found.into_tuple().all(&self.read).await.map_err(failure)?.into_iter().collect())
    }

    /// The user with this e-mail address, which is given in lower case. One that the table cannot hold is nobody's.
    pub async fn find_user_by_email(&self, email: &str) -> Result<Option<User>> {
        let found = user::Entity::find().filter(user::Column::Email.eq(email)).one(&self.read).await;
        match found {
            Err(e) if is_unfit(&e) => Ok(None),
            found => Ok(found.map_err(failure)?.map(User::from)),
        }
    }

    /// A new user, unless the e-mail address is taken.
    pub fn new_user(&self, new: &NewUser) -> Insert {
        let now = self.kept(new.created_at);
        let mut row = vec![
            ("username", new.username.as_str().into()),
            ("email", new.email.as_str().into()),
            ("password", new.password_hash.as_str().into()),
            ("role", new.role.as_str().into()),
            ("isProfileCompleted", false.into()),
            ("verified", false.into()),
            ("created_at", now.into()),
            ("updated_at", now.into()),
        ];
        let profile = new.profile.iter().filter(|(name, _)| self.schema.profile.contains(name));
        row.extend(profile.map(|(name, text)| (*name, text.as_str().into())));
        Insert { user: NOBODY, table: "users", row, unless: Some(("email = ?", vec![new.email.as_str().into()])) }
    }
}

//! The queries on `users`.

use chrono::NaiveDate;
use entity::{Flag, UserId, user};
use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter};

use super::{Store, failure, is_duplicate, is_unfit};
use crate::clock::Timestamp;
use crate::error::{Error, Result};

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
    pub verified: bool,
}

/// A user to be.
#[expect(missing_docs, reason = "the columns speak for themselves")]
pub struct NewUser {
    pub username: String,
    pub email: String,
    pub password_hash: String,
    pub role: String,
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
            verified: row.verified.is_some_and(Flag::is_set),
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

    /// The user with this e-mail address, which is given in lower case. One that the table cannot hold is nobody's.
    pub async fn find_user_by_email(&self, email: &str) -> Result<Option<User>> {
        let found = user::Entity::find().filter(user::Column::Email.eq(email)).one(&self.read).await;
        match found {
            Err(e) if is_unfit(&e) => Ok(None),
            found => Ok(found.map_err(failure)?.map(User::from)),
        }
    }

    /// Adds a user; `Conflict` when the e-mail address is taken.
    pub async fn create_user(&self, new: NewUser) -> Result<UserId> {
        let now = self.kept(new.created_at);
        let row = user::ActiveModel {
            username: Set(Some(new.username.into())),
            email: Set(Some(new.email.into())),
            password: Set(Some(new.password_hash.into())),
            role: Set(Some(new.role.into())),
            is_profile_completed: Set(Some(false.into())),
            verified: Set(Some(false.into())),
            created_at: Set(Some(now.into())),
            updated_at: Set(Some(now.into())),
            ..Default::default()
        };
        match user::Entity::insert(row).exec(&self.write).await {
            Ok(done) => Ok(done.last_insert_id),
            Err(e) if is_duplicate(&e) => Err(Error::Conflict("Email is already registered")),
            Err(e) => Err(failure(e)),
        }
    }
}

//! `users`: the application's accounts; only the columns that tidings reads or writes.

#![expect(missing_docs, reason = "the columns are described in the migration and the wire types")]

use sea_orm::entity::prelude::*;

use crate::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "users")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: UserId,
    pub username: String,
    pub avatar: Option<String>,
    #[sea_orm(column_name = "firstName")]
    pub first_name: Option<String>,
    #[sea_orm(column_name = "lastName")]
    pub last_name: Option<String>,
    #[sea_orm(column_name = "dateOfBirth")]
    pub date_of_birth: Option<Date>,
    #[sea_orm(unique)]
    pub email: String,
    pub password: String,
    #[sea_orm(column_name = "isProfileCompleted")]
    pub is_profile_completed: Option<bool>,
    pub verified: Option<bool>,
    pub role: Option<String>,
    pub created_at: Option<DateTimeUtc>,
    pub updated_at: Option<DateTimeUtc>,
}

impl ActiveModelBehavior for ActiveModel {}

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
    pub username: Option<Text>,
    pub avatar: Option<Text>,
    #[sea_orm(column_name = "firstName")]
    pub first_name: Option<Text>,
    #[sea_orm(column_name = "lastName")]
    pub last_name: Option<Text>,
    #[sea_orm(column_name = "dateOfBirth")]
    pub date_of_birth: Option<Day>,
    #[sea_orm(unique)]
    pub email: Option<Text>,
    pub password: Option<Text>,
    #[sea_orm(column_name = "isProfileCompleted")]
    pub is_profile_completed: Option<Flag>,
    pub verified: Option<Flag>,
    pub role: Option<Text>,
    pub created_at: Option<Moment>,
    pub updated_at: Option<Moment>,
}

impl ActiveModelBehavior for ActiveModel {}

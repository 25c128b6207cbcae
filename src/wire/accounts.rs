//! The JSON of REST answers about accounts and users.

use entity::UserId;
use serde::Serialize;
use utoipa::ToSchema;

use crate::store::User;

/// 1 for travellers, 2 for agencies: G2 shows "new chat" only to these.
pub fn role_id(role: Option<&str>) -> Option<u8> {
    match role {
        Some("traveller") => Some(1),
        Some("agency") => Some(2),
        _ => None,
    }
}

/// The answer of `/api/auth/me`.
#[derive(Serialize, ToSchema)]
pub struct Me {
    user: Profile,
}

/// The caller's own account; its flags are 0 or 1 as in the legacy answer.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Profile {
    id: UserId,
    #[schema(example = "ann")]
    username: String,
    #[schema(example = "ann@example.com")]
    email: String,
    #[schema(required)]
    first_name: Option<String>,
    #[schema(required)]
    last_name: Option<String>,
    #[schema(required, value_type = Option<String>, format = Date)]
    date_of_birth: Option<chrono::NaiveDate>,
    #[schema(maximum = 1)]
    is_profile_completed: u8,
    #[schema(required, example = "traveller")]
    role: Option<String>,
    /// 1 for a traveller, 2 for an agency, else null.
    #[serde(rename = "role_id")]
    #[schema(required, example = 1)]
    role_id: Option<u8>,
    /// Above 0 an admin has let the account in, 0 it waits, below 0 it was rejected.
    verified: i64,
    #[schema(required)]
    avatar: Option<String>,
}

impl From<User> for Me {
    fn from(user: User) -> Self {
        Self {
            user: Profile {
                id: user.id,
                role_id: role_id(user.role.as_deref()),
                username: user.username,
                email: user.email,
                first_name: user.first_name,
                last_name: user.last_name,
                date_of_birth: user.date_of_birth,
                is_profile_completed: u8::from(user.is_profile_completed),
                role: user.role,
                verified: user.verified,
                avatar: user.avatar,
            },
        }
    }
}

/// The answer of register and login.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// For `Authorization: Bearer`, and for the `auth` of a socket. Missing when an admin has to let the account in first.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "eyJhbGciOiJIUzI1NiJ9.e30.c2ln")]
    token: Option<String>,
    user_id: UserId,
    #[schema(required, example = "traveller")]
    role: Option<String>,
    #[serde(rename = "role_id")]
    #[schema(required, example = 1)]
    role_id: Option<u8>,
    #[schema(example = "ann")]
    username: String,
    #[schema(example = "ann@example.com")]
    email: String,
    #[schema(maximum = 1)]
    is_profile_completed: u8,
}

impl Session {
    /// A login of a user.
    pub fn new(user: User, token: Option<String>) -> Self {
        Self {
            token,
            user_id: user.id,
            role_id: role_id(user.role.as_deref()),
            role: user.role,
            username: user.username,
            email: user.email,
            is_profile_completed: u8::from(user.is_profile_completed),
        }
    }
}

/// A user who was found by name.
#[derive(Serialize, ToSchema)]
#[expect(missing_docs, reason = "the names say it")]
pub struct FoundUser {
    pub id: UserId,
    #[schema(example = "ben")]
    pub username: String,
}

/// That a user was banned, or let in again.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the names say it")]
pub struct BanSet {
    #[schema(example = "User banned")]
    pub message: &'static str,
    pub user_id: UserId,
}

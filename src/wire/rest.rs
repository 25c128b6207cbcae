//! The JSON of REST answers and bodies that no event shares.

use entity::{ConversationId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{as_iso, inbound};
use crate::clock::Timestamp;
use crate::store::{InboxRow, User};

/// A conversation as its caller sees it.
#[derive(Serialize)]
pub struct ConversationJson<'a> {
    id: ConversationId,
    user1_id: UserId,
    user2_id: UserId,
    #[serde(serialize_with = "as_iso")]
    created_at: Timestamp,
    other_user_id: UserId,
    other_user_name: &'a str,
    other_user_avatar: Option<&'a str>,
    other_user_role: Option<&'a str>,
    last_message: Option<&'a str>,
    #[serde(serialize_with = "as_iso")]
    last_message_at: Timestamp,
    unread_count: i64,
}

/// What a user is called whose row is gone.
pub const NOBODY: &str = "Unknown user";

impl<'a> From<&'a InboxRow> for ConversationJson<'a> {
    fn from(row: &'a InboxRow) -> Self {
        Self {
            id: row.id,
            user1_id: row.user1,
            user2_id: row.user2,
            created_at: row.created_at,
            other_user_id: row.other,
            other_user_name: row.other_name.as_deref().unwrap_or(NOBODY),
            other_user_avatar: row.other_avatar.as_deref(),
            other_user_role: row.other_role.as_deref(),
            last_message: row.last_message.as_deref(),
            last_message_at: row.last_activity,
            unread_count: row.unread,
        }
    }
}

/// 1 for travellers, 2 for agencies: G2 shows "new chat" only to these.
pub fn role_id(role: Option<&str>) -> Option<u8> {
    match role {
        Some("traveller") => Some(1),
        Some("agency") => Some(2),
        _ => None,
    }
}

/// The answer of `/api/auth/me`; its flags are 0 or 1 as in the legacy answer.
pub fn me(user: &User) -> Value {
    json!({"user": {
        "id": user.id,
        "username": user.username,
        "email": user.email,
        "firstName": user.first_name,
        "lastName": user.last_name,
        "dateOfBirth": user.date_of_birth.map(|d| d.format("%Y-%m-%d").to_string()),
        "isProfileCompleted": u8::from(user.is_profile_completed),
        "role": user.role,
        "role_id": role_id(user.role.as_deref()),
        "verified": u8::from(user.verified),
        "avatar": user.avatar,
    }})
}

/// The answer of register and login.
pub fn session(user: &User, token: &str) -> Value {
    json!({
        "token": token,
        "userId": user.id,
        "role": user.role,
        "role_id": role_id(user.role.as_deref()),
        "username": user.username,
        "email": user.email,
        "isProfileCompleted": u8::from(user.is_profile_completed),
    })
}

/// An id in a body: a number or a decimal string.
#[derive(Deserialize)]
#[serde(untagged)]
pub enum IdJson {
    /// `7`
    Number(i64),
    /// `"7"`
    Text(String),
}

impl IdJson {
    /// The id, when it is one.
    pub fn get(&self) -> Option<i64> {
        match self {
            Self::Number(n) => inbound::decimal_id(&n.to_string()),
            Self::Text(t) => inbound::decimal_id(t),
        }
    }
}

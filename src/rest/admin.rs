//! Handlers by which admins ban users.

use axum::{Json, extract::State};
use entity::UserId;
use serde_json::{Value, json};

use super::extract::{Caller, Id};
use crate::error::Result;
use crate::socket::Context;

/// Bans a user: all sockets are closed, and no token is taken from then on.
pub async fn ban(State(api): State<Context>, Caller(actor): Caller, Id(id): Id) -> Result<Json<Value>> {
    api.chat.ban(&actor, UserId(id)).await?;
    api.hub.turn_out(UserId(id));
    Ok(Json(json!({"message": "User banned", "userId": id})))
}

/// Lets a user in again.
pub async fn unban(State(api): State<Context>, Caller(actor): Caller, Id(id): Id) -> Result<Json<Value>> {
    api.chat.unban(&actor, UserId(id)).await?;
    Ok(Json(json!({"message": "User unbanned", "userId": id})))
}

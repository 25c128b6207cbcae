//! Handlers by which admins ban users.

use axum::{Json, extract::State};
use entity::UserId;

use super::extract::{Caller, Id};
use crate::error::Result;
use crate::socket::Context;
use crate::wire::accounts::BanSet;

/// Bans a user: all sockets are closed, and no token is taken from then on.
#[utoipa::path(post, path = "/api/messaging/admin/users/{id}/ban", tag = "admins", params(("id" = UserId, Path)), responses(
    (status = 200, description = "Banned, or was so before", body = BanSet),
    (status = 400, description = "Oneself"),
))]
pub async fn ban(State(api): State<Context>, Caller(actor): Caller, Id(id): Id) -> Result<Json<BanSet>> {
    let user_id = UserId(id);
    api.chat.ban(&actor, user_id).await?;
    api.hub.turn_out(|user, since| api.chat.barred(user, since));
    Ok(Json(BanSet { message: "User banned", user_id }))
}

/// Lets a user in again.
#[utoipa::path(post, path = "/api/messaging/admin/users/{id}/unban", tag = "admins", params(("id" = UserId, Path)), responses(
    (status = 200, description = "Not banned any more, or never was", body = BanSet),
))]
pub async fn unban(State(api): State<Context>, Caller(actor): Caller, Id(id): Id) -> Result<Json<BanSet>> {
    let user_id = UserId(id);
    api.chat.unban(&actor, user_id).await?;
    Ok(Json(BanSet { message: "User unbanned", user_id }))
}

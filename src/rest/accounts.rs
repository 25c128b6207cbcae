//! Handlers of the built-in accounts.

use std::net::IpAddr;

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use utoipa::ToSchema;

use super::extract::{Attempt, Body, Caller};
use crate::chat::{LoginKind, NewAccount, Profile};
use crate::error::Result;
use crate::socket::Context;
use crate::wire::accounts::{Me, Session};

/// A new account.
#[derive(Deserialize, ToSchema)]
pub struct Register {
    #[serde(default)]
    #[schema(required, min_length = 1, max_length = 100, example = "ann")]
    username: String,
    #[serde(default)]
    #[schema(required, min_length = 3, max_length = 150, example = "ann@example.com")]
    email: String,
    /// At most 72 bytes.
    #[serde(default)]
    #[schema(required, min_length = 1, max_length = 72, example = "a long password")]
    password: String,
    /// `traveller` or `agency`; a traveller without.
    #[serde(default)]
    #[schema(example = "traveller")]
    role: String,
    /// As all that follows, what an agency says of itself: kept where an adopted database has a column for it.
    #[schema(max_length = 50, example = "+351 21 000 0000")]
    phone: Option<String>,
    #[schema(max_length = 255, example = "https://azores.example")]
    website: Option<String>,
    #[schema(max_length = 255, example = "Rua do Mar 7, Ponta Delgada")]
    address: Option<String>,
    #[schema(max_length = 4000, example = "Walks and whales")]
    description: Option<String>,
}

/// What an account is proven by.
#[derive(Deserialize, ToSchema)]
pub struct Login {
    #[serde(default)]
    #[schema(required, example = "ann@example.com")]
    email: String,
    #[serde(default)]
    #[schema(required, example = "a long password")]
    password: String,
}

/// Opens an account.
#[utoipa::path(post, path = "/api/auth/register", tag = "accounts", security(()), request_body = Register, responses(
    (status = 201, description = "The account, logged in; with an adopted database, an agency that an admin has to let in first has no token yet", body = Session),
    (status = 409, description = "The e-mail address is taken"),
))]
pub async fn register(State(api): State<Context>, _: Attempt, Body(body): Body<Register>) -> Result<Response> {
    let Register { username, email, password, role, phone, website, address, description } = body;
    let profile = Profile { phone, website, address, description };
    let account = NewAccount { username, email, password, role, profile };
    let (user, token) = api.chat.register(account).await?;
    Ok((StatusCode::CREATED, Json(Session::new(user, token))).into_response())
}

/// Logs in everybody but agencies.
#[utoipa::path(post, path = "/api/auth/traveller/login", tag = "accounts", security(()), request_body = Login, responses(
    (status = 200, description = "Logged in", body = Session),
    (status = 401, description = "Wrong, without saying what"),
    (status = 403, description = "The account is banned"),
))]
pub async fn login_traveller(State(api): State<Context>, Attempt(from): Attempt, body: Body<Login>) -> Result<Json<Session>> {
    login(api, LoginKind::Traveller, from, body).await
}

/// Logs in agencies.
#[utoipa::path(post, path = "/api/auth/agency/login", tag = "accounts", security(()), request_body = Login, responses(
    (status = 200, description = "Logged in", body = Session),
    (status = 401, description = "Wrong, without saying what"),
    (status = 403, description = "Banned, or, with an adopted database, not let in by an admin yet, or rejected"),
))]
pub async fn login_agency(State(api): State<Context>, Attempt(from): Attempt, body: Body<Login>) -> Result<Json<Session>> {
    login(api, LoginKind::Agency, from, body).await
}

async fn login(api: Context, kind: LoginKind, from: IpAddr, Body(body): Body<Login>) -> Result<Json<Session>> {
    let (user, token) = api.chat.login(kind, from, &body.email, body.password).await?;
    Ok(Json(Session::new(user, Some(token))))
}

/// The caller's own account.
#[utoipa::path(get, path = "/api/auth/me", tag = "accounts", responses((status = 200, description = "The account", body = Me)))]
pub async fn me(State(api): State<Context>, Caller(actor): Caller) -> Result<Json<Me>> {
    Ok(Json(api.chat.me(&actor).await?.into()))
}

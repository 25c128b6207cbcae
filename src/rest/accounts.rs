//! Handlers of the built-in accounts.

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::Value;

use super::extract::{Body, Caller, ClientAddress};
use crate::chat::{LoginKind, NewAccount};
use crate::error::Result;
use crate::socket::Context;
use crate::wire::rest;

#[derive(Deserialize)]
pub struct Register {
    #[serde(default)]
    username: String,
    #[serde(default)]
    email: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    role: String,
}

#[derive(Deserialize)]
pub struct Login {
    #[serde(default)]
    email: String,
    #[serde(default)]
    password: String,
}

/// Opens an account.
pub async fn register(State(api): State<Context>, ClientAddress(from): ClientAddress, Body(body): Body<Register>) -> Result<Response> {
    let account = NewAccount { username: body.username, email: body.email, password: body.password, role: body.role };
    let (user, token) = api.chat.register(from, account).await?;
    Ok((StatusCode::CREATED, Json(rest::session(&user, &token))).into_response())
}

/// Logs in everybody but agencies.
pub async fn login_traveller(State(api): State<Context>, from: ClientAddress, body: Body<Login>) -> Result<Json<Value>> {
    login(api, LoginKind::Traveller, from, body).await
}

/// Logs in agencies.
pub async fn login_agency(State(api): State<Context>, from: ClientAddress, body: Body<Login>) -> Result<Json<Value>> {
    login(api, LoginKind::Agency, from, body).await
}

async fn login(api: Context, kind: LoginKind, ClientAddress(from): ClientAddress, Body(body): Body<Login>) -> Result<Json<Value>> {
    let (user, token) = api.chat.login(from, kind, &body.email, body.password).await?;
    Ok(Json(rest::session(&user, &token)))
}

/// The caller's own account.
pub async fn me(State(api): State<Context>, Caller(actor): Caller) -> Result<Json<Value>> {
    Ok(Json(rest::me(&api.chat.me(&actor).await?)))
}

//! `tidings user` and `tidings token`: what an operator does for, or against, a user.

use std::time::Duration;

use clap::Subcommand;
use entity::UserId;
use tidings::store::{Store, ban, unban};
use tidings::{app, auth::Tokens, clock, config::Settings};

use super::say;

/// What to do.
#[derive(Subcommand)]
pub enum Action {
    /// Close all sockets of a user, and take no token of the user any more
    Ban {
        /// The user's id
        id: i64,
    },
    /// Let a user in again
    Unban {
        /// The user's id
        id: i64,
    },
}

/// Bans a user, or lets one in again.
pub async fn run(settings: &Settings, action: Action) -> Result<(), String> {
    let store = Store::open(&settings.database_url, &settings.database, false).await?;
    let (Action::Ban { id } | Action::Unban { id }) = action;
    let user = UserId(id);
    let outcome = match (store.find_user(user).await, action) {
        (Ok(None), _) => return Err(format!("There is no user {id}.")),
        (Err(e), _) => Err(e),
        (Ok(Some(_)), Action::Ban { .. }) => store.execute(ban(user, clock::now())).await.map(|()| "banned"),
        (Ok(Some(_)), Action::Unban { .. }) => store.execute(unban(user)).await.map(|()| "no longer banned"),
    };
    store.close().await;
    say(&format!("User {id} is {}.", outcome.map_err(|e| e.to_string())?));
    Ok(())
}

/// Prints a token for a user that there is, with the role that the user has unless another is asked for.
pub async fn print_token(settings: &Settings, user: i64, role: Option<String>, expires: Duration) -> Result<(), String> {
    let auth = &settings.auth;
    let known = Store::look_up_user(&settings.database_url, UserId(user)).await?.ok_or_else(|| format!("There is no user {user}."))?;
    let role = role.or(known.role);
    let tokens = Tokens::new(&app::secret(settings)?, auth.leeway, auth.require_expiry, &auth.admin_roles);
    say(&tokens.sign(UserId(user), role.as_deref(), expires).map_err(|e| e.to_string())?);
    Ok(())
}

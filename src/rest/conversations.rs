//! Handlers of conversations, their messages, and the search for users to talk to.

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use entity::{ConversationId, MessageId, UserId};
use serde::Deserialize;
use utoipa::ToSchema;

use super::extract::{Body, Caller, Id, Params};
use super::lists::Link;
use crate::error::{Error, Result};
use crate::socket::Context;
use crate::store::{self, InboxFilter};
use crate::wire;
use crate::wire::accounts::FoundUser;
use crate::wire::query::{History, Inbox, UserSearch};
use crate::wire::rest::{ConversationJson, Envelope, IdJson, MarkedRead, NOBODY, Page, UnreadCount};
use crate::wire::shapes::MessageJson;

/// With whom to talk.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Open {
    #[schema(required, nullable = false, value_type = IdJson)]
    other_user_id: Option<IdJson>,
}

/// Opens the conversation with a user, or finds it.
///
/// The caller's sockets hear `conversation-updated` about 150 ms later, those of the other user only when it is new.
#[utoipa::path(post, path = "/api/messaging/conversations", tag = "conversations", request_body = Open, responses(
    (status = 201, description = "A new conversation", body = ConversationJson),
    (status = 200, description = "The one that there is", body = ConversationJson),
    (status = 404, description = "There is no such user"),
))]
pub async fn open(State(api): State<Context>, Caller(actor): Caller, Body(body): Body<Open>) -> Result<Response> {
    let other = body.other_user_id.and_then(|id| id.get()).ok_or_else(|| Error::invalid("otherUserId must be a positive number"))?;
    let (row, is_new) = api.chat.open_conversation(&actor, UserId(other)).await?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(ConversationJson::from(&row))).into_response())
}

/// The inbox: the caller's conversations, newest activity first.
#[utoipa::path(get, path = "/api/messaging/conversations", tag = "conversations", params(Inbox), responses(
    (status = 200, description = "Conversations", body = [ConversationJson], headers(
        ("X-Has-More" = String, description = "`true` when there are older ones"),
        ("Link" = String, description = "Where they are, with `rel=\"prev\"`"),
    )),
))]
pub async fn list(State(api): State<Context>, Caller(actor): Caller, params: Params) -> Result<Response> {
    let before_id = params.id("before_id")?.map(ConversationId);
    let before = params.moment("before")?.map(|moment| (moment, before_id));
    let filter = InboxFilter { search: params.text("search").map(str::to_owned), before };
    let found = api.chat.inbox(&actor, filter, params.limit()?).await?;
    let rows: Vec<_> = found.rows.iter().map(ConversationJson::from).collect();
    let older = found.rows.last().filter(|_| found.has_more).map(|last| {
        let place = [("before", wire::iso(last.last_activity)), ("before_id", last.id.0.to_string())];
        Link::older(params.elsewhere("/api/messaging/conversations", &place))
    });
    Ok((older, Json(rows)).into_response())
}

/// A page of history, oldest message first: without bounds the newest.
#[utoipa::path(get, path = "/api/messaging/conversations/{id}/messages", tag = "conversations",
    params(("id" = ConversationId, Path), History),
    responses((status = 200, description = "Messages; with `envelope=1` an object that holds them", body = Page, headers(
        ("X-Has-More" = String, description = "`true` when there are more beyond this page"),
        ("Link" = String, description = "Where they are, with `rel=\"prev\"`, or `rel=\"next\"` after `after`"),
    ))),
)]
pub async fn messages(State(api): State<Context>, Caller(actor): Caller, Id(id): Id, params: Params) -> Result<Response> {
    let page = store::Page { before: params.id("before")?.map(MessageId), after: params.start("after")?.map(MessageId) };
    let limit = params.limit()?;
    let place = api.chat.require_participant(&actor, ConversationId(id)).await?;
    let found = api.chat.history(place, page, limit).await?;
    let messages: Vec<_> = found.rows.iter().map(|m| MessageJson::new(m, None)).collect();
    let path = format!("/api/messaging/conversations/{id}/messages");
    let more = Link::beyond(&params, &path, page.after.is_some(), &found, |message| message.id.0);
    let body = if params.text("envelope").is_some_and(|v| v == "1" || v == "true") {
        let name = api.chat.other_name(place).await?;
        let other_user_name = name.as_deref().unwrap_or(NOBODY).to_owned();
        Page::Envelope(Envelope { conversation_id: place.conversation, other_user_name, messages, has_more: found.has_more })
    } else {
        Page::Messages(messages)
    };
    Ok((more, Json(body)).into_response())
}

/// Marks everything that the caller received in a conversation as read.
///
/// Followers hear `message-read`; the caller's sockets elsewhere hear `conversation-updated` 150 ms later.
#[utoipa::path(method(post, put), path = "/api/messaging/conversations/{id}/mark-read", tag = "conversations",
    params(("id" = ConversationId, Path)), responses((status = 200, description = "Marked", body = MarkedRead)),
)]
pub async fn mark_read(State(api): State<Context>, Caller(actor): Caller, Id(id): Id) -> Result<Json<MarkedRead>> {
    let place = api.chat.require_participant(&actor, ConversationId(id)).await?;
    Ok(Json(api.chat.mark_read(place, None).await?.updated.into()))
}

/// How many messages the caller has not read.
#[utoipa::path(get, path = "/api/messaging/unread-count", tag = "conversations", responses(
    (status = 200, description = "The true number", body = UnreadCount),
))]
pub async fn unread_count(State(api): State<Context>, Caller(actor): Caller) -> Result<Json<UnreadCount>> {
    Ok(Json(UnreadCount { unread_count: api.chat.unread_count(&actor).await? }))
}

/// Users whose names contain a text: at most ten, never the caller.
#[utoipa::path(get, path = "/api/user/search", tag = "accounts", params(UserSearch), responses(
    (status = 200, description = "Users; none for a blank text", body = [FoundUser]),
))]
pub async fn search_users(State(api): State<Context>, Caller(actor): Caller, params: Params) -> Result<Json<Vec<FoundUser>>> {
    let users = api.chat.search_users(&actor, params.text("query").unwrap_or_default()).await?;
    Ok(Json(users.into_iter().map(|(id, username)| FoundUser { id, username }).collect()))
}

//! Handlers of conversations, their messages, and the search for users to talk to.

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use entity::{ConversationId, MessageId, UserId};
use serde::Deserialize;
use serde_json::{Value, json};

use super::extract::{Body, Caller, Id, Params};
use crate::chat::InboxQuery;
use crate::error::{Error, Result};
use crate::socket::Context;
use crate::store::Page;
use crate::wire::rest::{ConversationJson, IdJson, NOBODY};
use crate::wire::shapes::MessageJson;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Open {
    other_user_id: Option<IdJson>,
}

/// Opens the conversation with a user, or finds it.
pub async fn open(State(api): State<Context>, Caller(actor): Caller, Body(body): Body<Open>) -> Result<Response> {
    let other = body.other_user_id.and_then(|id| id.get()).ok_or_else(|| Error::invalid("otherUserId must be a positive number"))?;
    let (row, is_new) = api.chat.open_conversation(&actor, UserId(other)).await?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(ConversationJson::from(&row))).into_response())
}

/// The inbox.
pub async fn list(State(api): State<Context>, Caller(actor): Caller, params: Params) -> Result<Response> {
    let before =
        params.moment("before")?.map(|moment| Ok::<_, Error>((moment, params.id("before_id")?.map(ConversationId)))).transpose()?;
    let query = InboxQuery { search: params.text("search").map(str::to_owned), before, limit: params.limit()? };
    let rows = api.chat.inbox(&actor, query).await?;
    Ok(Json(rows.iter().map(ConversationJson::from).collect::<Vec<_>>()).into_response())
}

/// A page of history.
pub async fn messages(State(api): State<Context>, Caller(actor): Caller, Id(id): Id, params: Params) -> Result<Response> {
    let page = Page { before: params.id("before")?.map(MessageId), after: params.id("after")?.map(MessageId), limit: params.limit()? };
    let place = api.chat.require_participant(&actor, ConversationId(id)).await?;
    let (rows, has_more) = api.chat.history(place, page).await?;
    let messages: Vec<_> = rows.iter().map(|m| MessageJson::new(m, None)).collect();
    let mut response = if params.text("envelope").is_some_and(|v| v == "1" || v == "true") {
        let name = api.chat.other_name(place).await?;
        let name = name.as_deref().unwrap_or(NOBODY);
        Json(json!({"conversationId": id, "otherUserName": name, "messages": messages, "hasMore": has_more})).into_response()
    } else {
        Json(messages).into_response()
    };
    if has_more {
        let (relation, bound, at) = if page.after.is_some() { ("next", "after", rows.last()) } else { ("prev", "before", rows.first()) };
        let limit = params.text("limit").map(|n| format!("&limit={n}")).unwrap_or_default();
        let at = at.map_or(0, |m| m.id.0);
        let link = format!("</api/messaging/conversations/{id}/messages?{bound}={at}{limit}>; rel=\"{relation}\"");
        response.headers_mut().insert("x-has-more", axum::http::HeaderValue::from_static("true"));
        if let Ok(link) = link.parse() {
            response.headers_mut().insert(axum::http::header::LINK, link);
        }
    }
    Ok(response)
}

/// Marks everything in a conversation as read.
pub async fn mark_read(State(api): State<Context>, Caller(actor): Caller, Id(id): Id) -> Result<Json<Value>> {
    let place = api.chat.require_participant(&actor, ConversationId(id)).await?;
    let marked = api.chat.mark_read(place, None).await?;
    Ok(Json(json!({"message": "Messages marked as read", "updated": marked.updated})))
}

/// How many messages the caller has not read.
pub async fn unread_count(State(api): State<Context>, Caller(actor): Caller) -> Result<Json<Value>> {
    Ok(Json(json!({"unreadCount": api.chat.unread_count(&actor).await?})))
}

/// Users whose names contain a text.
pub async fn search_users(State(api): State<Context>, Caller(actor): Caller, params: Params) -> Result<Json<Value>> {
    let users = api.chat.search_users(&actor, params.text("query").unwrap_or_default()).await?;
    Ok(Json(users.into_iter().map(|(id, username)| json!({"id": id, "username": username})).collect()))
}

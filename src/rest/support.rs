//! Handlers of support tickets.

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use entity::{Category, Priority, Status, SupportMessageId, TicketId};
use serde::Deserialize;
use utoipa::ToSchema;

use super::extract::{Body, Caller, Id, Params};
use super::lists::Link;
use crate::chat::{Outgoing, TicketChange};
use crate::error::{Error, Result};
use crate::limits::Limited;
use crate::socket::Context;
use crate::store::jobs::{Done, SupportWritten};
use crate::store::{TicketFilter, TicketPage};
use crate::wire::query::{OwnTickets, TicketMessages, Tickets};
use crate::wire::rest::{Changed, NamedTicket, Responded, TicketDetails};
use crate::wire::shapes::{SupportMessageJson, TicketJson};

/// A new ticket.
#[derive(Deserialize, ToSchema)]
#[schema(as = NewTicket)]
pub struct Create {
    #[schema(required, nullable = false, min_length = 1, example = "A refund")]
    subject: Option<String>,
    #[schema(required, nullable = false, min_length = 1, example = "My ferry was cancelled.")]
    description: Option<String>,
    /// `general` (also without), `booking`, `destination` or `complaint`, in any case.
    #[schema(example = "booking")]
    category: Option<String>,
}

/// An admin's reply, and what becomes of the ticket.
#[derive(Deserialize, ToSchema)]
#[schema(as = Reply)]
pub struct Respond {
    /// Or `message`; one of the two is required.
    #[schema(min_length = 1, example = "It is on its way.")]
    message_text: Option<String>,
    message: Option<String>,
    /// A status; without, `open` becomes `in_progress`.
    #[serde(rename = "newStatus")]
    #[schema(example = "resolved")]
    new_status: Option<String>,
}

/// What to change of a ticket; at least one of the two is required.
#[derive(Deserialize, ToSchema)]
#[schema(as = TicketChange)]
pub struct Change {
    /// `open`, `in_progress`, `resolved` or `closed`, in any case.
    #[schema(example = "closed")]
    status: Option<String>,
    /// `low`, `medium` or `high`, in any case.
    #[schema(example = "low")]
    priority: Option<String>,
}

fn statuses() -> String {
    Status::ALL.iter().map(|s| s.as_str()).collect::<Vec<_>>().join(", ")
}

fn categories() -> String {
    Category::ALL.iter().map(|c| c.as_str()).collect::<Vec<_>>().join(", ")
}

fn priorities() -> String {
    Priority::ALL.iter().map(|p| p.as_str()).collect::<Vec<_>>().join(", ")
}

fn word<T>(text: Option<&str>, name: &str, parse: fn(&str) -> Option<T>, allowed: fn() -> String) -> Result<Option<T>> {
    text.map(|text| parse(text).ok_or_else(|| Error::invalid(format!("{name} must be one of {}", allowed())))).transpose()
}

/// Opens a ticket.
///
/// Admins hear `ticket-updated` with `created: true`.
#[utoipa::path(post, path = "/api/messaging/support/tickets", tag = "support", request_body = Create, responses(
    (status = 201, description = "The ticket", body = TicketJson),
))]
pub async fn create(State(api): State<Context>, Caller(actor): Caller, Body(body): Body<Create>) -> Result<Response> {
    let category = word(body.category.as_deref(), "category", Category::parse, categories)?.unwrap_or(Category::General);
    let (subject, description) = (body.subject.unwrap_or_default(), body.description.unwrap_or_default());
    let ticket = api.chat.create_ticket(&actor, subject, description, category).await?;
    Ok((StatusCode::CREATED, Json(TicketJson::from(&ticket))).into_response())
}

/// The caller's tickets, newest first.
#[utoipa::path(get, path = "/api/messaging/support/tickets", tag = "support", params(OwnTickets), responses(
    (status = 200, description = "Tickets", body = [TicketJson], headers(
        ("X-Has-More" = String, description = "`true` when there are older ones"),
        ("Link" = String, description = "Where they are, with `rel=\"prev\"`"),
    )),
))]
pub async fn list_own(State(api): State<Context>, Caller(actor): Caller, params: Params) -> Result<Response> {
    let found = api.chat.own_tickets(&actor, params.id("before")?.map(TicketId), params.limit()?).await?;
    let older = Link::beyond_tickets(&params, "/api/messaging/support/tickets", &found);
    Ok((older, Json(found.rows.iter().map(|(ticket, _)| TicketJson::from(ticket)).collect::<Vec<_>>())).into_response())
}

/// All tickets, newest first, for admins.
#[utoipa::path(get, path = "/api/messaging/support/tickets/admin/all", tag = "admins", params(Tickets), responses(
    (status = 200, description = "Tickets with the names of their owners", body = [NamedTicket], headers(
        ("X-Has-More" = String, description = "`true` when there are older ones"),
        ("Link" = String, description = "Where they are, with `rel=\"prev\"`"),
    )),
))]
pub async fn list_all(State(api): State<Context>, Caller(actor): Caller, params: Params) -> Result<Response> {
    api.chat.require_admin(&actor)?;
    let filter = TicketFilter {
        owner: None,
        status: params.word("status", Status::parse, &statuses())?,
        category: params.word("category", Category::parse, &categories())?,
        before: params.id("before")?.map(TicketId),
    };
    let found = api.chat.all_tickets(&actor, filter, params.limit()?).await?;
    let older = Link::beyond_tickets(&params, "/api/messaging/support/tickets/admin/all", &found);
    let named = found.rows.iter().map(|(ticket, name)| NamedTicket { ticket: ticket.into(), user_name: name.as_deref() });
    Ok((older, Json(named.collect::<Vec<_>>())).into_response())
}

/// A ticket with its messages, oldest first, for its owner and for admins: without bounds the newest.
#[utoipa::path(get, path = "/api/messaging/support/tickets/{id}", tag = "support", params(("id" = TicketId, Path), TicketMessages),
    responses((status = 200, description = "The ticket", body = TicketDetails, headers(
        ("X-Has-More" = String, description = "`true` when there are more messages beyond this page"),
        ("Link" = String, description = "Where they are, with `rel=\"prev\"`, or `rel=\"next\"` after `after`"),
    ))),
)]
pub async fn details(State(api): State<Context>, Caller(actor): Caller, Id(id): Id, params: Params) -> Result<Response> {
    let (before, after) = (params.id("before")?.map(SupportMessageId), params.start("after")?.map(SupportMessageId));
    let limit = params.limit()?;
    let (access, ticket) = api.chat.require_ticket(&actor, TicketId(id)).await?;
    let found = api.chat.support_messages(access, TicketPage { before, after }, limit).await?;
    let path = format!("/api/messaging/support/tickets/{id}");
    let more = Link::beyond(&params, &path, after.is_some(), &found, |message| message.id.0);
    let messages = found.rows.iter().map(|m| SupportMessageJson::new(m, None)).collect();
    Ok((more, Json(TicketDetails { ticket: TicketJson::from(&ticket), messages })).into_response())
}

/// An admin's reply.
///
/// Followers hear `support-message-received`; owner, followers and admins hear `ticket-updated` when the status changes.
#[utoipa::path(post, path = "/api/messaging/support/tickets/{id}/respond", tag = "admins", params(("id" = TicketId, Path)),
    request_body = Respond,
    responses((status = 200, description = "The reply", body = Responded), (status = 409, description = "The ticket is closed")),
)]
pub async fn respond(State(api): State<Context>, Caller(actor): Caller, Id(id): Id, Body(body): Body<Respond>) -> Result<Response> {
    api.chat.require_admin(&actor)?;
    api.chat.limit(Limited::Send, &actor)?;
    let status = word(body.new_status.as_deref(), "newStatus", Status::parse, statuses)?;
    let (access, _) = api.chat.require_ticket(&actor, TicketId(id)).await?;
    let text = body.message_text.or(body.message).unwrap_or_default();
    let change = TicketChange { status, priority: None };
    let (tell, told) = tokio::sync::oneshot::channel();
    let done = Done::new(move |outcome: Result<SupportWritten>| drop(tell.send(outcome)));
    api.chat.send_support(&actor, access, Outgoing { text, ..Outgoing::default() }, change, done).await;
    let written = told.await.map_err(Error::internal)??;
    Ok(Json(Responded::from(&written)).into_response())
}

/// Sets status or priority, for admins.
///
/// Owner, followers and admins hear `ticket-updated`.
#[utoipa::path(method(put, patch), path = "/api/messaging/support/tickets/{id}/status", tag = "admins", params(("id" = TicketId, Path)),
    request_body = Change,
    responses((status = 200, description = "The ticket as it is now", body = Changed)),
)]
pub async fn change(State(api): State<Context>, Caller(actor): Caller, Id(id): Id, Body(body): Body<Change>) -> Result<Response> {
    api.chat.require_admin(&actor)?;
    let change = TicketChange {
        status: word(body.status.as_deref(), "status", Status::parse, statuses)?,
        priority: word(body.priority.as_deref(), "priority", Priority::parse, priorities)?,
    };
    if change.status.is_none() && change.priority.is_none() {
        return Err(Error::invalid("status or priority is required"));
    }
    let ticket = api.chat.change_ticket(&actor, TicketId(id), change).await?;
    Ok(Json(Changed::from(TicketJson::from(&ticket))).into_response())
}

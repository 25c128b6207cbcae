//! Handlers of support tickets.

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use entity::{Category, Priority, Status, TicketId};
use serde::Deserialize;
use serde_json::{Value, json};

use super::extract::{Body, Caller, Id, Params};
use crate::chat::{Outgoing, TicketChange};
use crate::error::{Error, Result};
use crate::socket::Context;
use crate::store::TicketFilter;
use crate::store::writer::{Done, SupportWritten};
use crate::wire::shapes::{SupportMessageJson, TicketJson};

#[derive(Deserialize)]
pub struct Create {
    subject: Option<String>,
    description: Option<String>,
    category: Option<String>,
}

#[derive(Deserialize)]
pub struct Respond {
    message_text: Option<String>,
    message: Option<String>,
    #[serde(rename = "newStatus")]
    new_status: Option<String>,
}

#[derive(Deserialize)]
pub struct Change {
    status: Option<String>,
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
pub async fn create(State(api): State<Context>, Caller(actor): Caller, Body(body): Body<Create>) -> Result<Response> {
    let category = word(body.category.as_deref(), "category", Category::parse, categories)?.unwrap_or(Category::General);
    let (subject, description) = (body.subject.unwrap_or_default(), body.description.unwrap_or_default());
    let ticket = api.chat.create_ticket(&actor, subject, description, category).await?;
    Ok((StatusCode::CREATED, Json(TicketJson::from(&ticket))).into_response())
}

/// The caller's tickets.
pub async fn list_own(State(api): State<Context>, Caller(actor): Caller) -> Result<Json<Value>> {
    let tickets = api.chat.own_tickets(&actor).await?;
    Ok(Json(tickets.iter().map(|t| json!(TicketJson::from(t))).collect()))
}

/// All tickets, for admins.
pub async fn list_all(State(api): State<Context>, Caller(actor): Caller, params: Params) -> Result<Json<Value>> {
    api.chat.require_admin(&actor)?;
    let filter = TicketFilter {
        owner: None,
        status: params.word("status", Status::parse, &statuses())?,
        category: params.word("category", Category::parse, &categories())?,
        before: params.id("before")?.map(TicketId),
        limit: params.limit()?,
    };
    let rows = api.chat.all_tickets(&actor, filter).await?;
    let with_name = |(ticket, name)| {
        let mut fields = json!(TicketJson::from(ticket));
        if let Some(fields) = fields.as_object_mut() {
            fields.insert("user_name".into(), json!(name));
        }
        fields
    };
    Ok(Json(rows.iter().map(|(ticket, name)| with_name((ticket, name))).collect()))
}

/// A ticket with its messages.
pub async fn details(State(api): State<Context>, Caller(actor): Caller, Id(id): Id) -> Result<Json<Value>> {
    let (access, ticket) = api.chat.require_ticket(&actor, TicketId(id)).await?;
    let messages = api.chat.support_messages(access).await?;
    let mut fields = json!(TicketJson::from(&ticket));
    if let Some(fields) = fields.as_object_mut() {
        fields.insert("messages".into(), messages.iter().map(|m| json!(SupportMessageJson::new(m, None))).collect());
    }
    Ok(Json(fields))
}

/// An admin's reply.
pub async fn respond(State(api): State<Context>, Caller(actor): Caller, Id(id): Id, Body(body): Body<Respond>) -> Result<Json<Value>> {
    api.chat.require_admin(&actor)?;
    let status = word(body.new_status.as_deref(), "newStatus", Status::parse, statuses)?;
    let (access, _) = api.chat.require_ticket(&actor, TicketId(id)).await?;
    let text = body.message_text.or(body.message).unwrap_or_default();
    let change = TicketChange { status, priority: None };
    let (tell, told) = tokio::sync::oneshot::channel();
    let done = Done::new(move |outcome: Result<SupportWritten>| drop(tell.send(outcome)));
    api.chat.send_support(&actor, access, Outgoing { text, ..Outgoing::default() }, change, done).await;
    let written = told.await.map_err(Error::internal)??;
    Ok(Json(json!({
        "success": true,
        "message": "Response added to ticket",
        "ticket": {"id": written.ticket.id, "status": written.ticket.status},
        "response": written.message.as_ref().map(|stored| SupportMessageJson::new(&stored.row, None)),
    })))
}

/// Sets status or priority.
pub async fn change(State(api): State<Context>, Caller(actor): Caller, Id(id): Id, Body(body): Body<Change>) -> Result<Json<Value>> {
    api.chat.require_admin(&actor)?;
    let change = TicketChange {
        status: word(body.status.as_deref(), "status", Status::parse, statuses)?,
        priority: word(body.priority.as_deref(), "priority", Priority::parse, priorities)?,
    };
    if change.status.is_none() && change.priority.is_none() {
        return Err(Error::invalid("status or priority is required"));
    }
    let ticket = api.chat.change_ticket(&actor, TicketId(id), change).await?;
    Ok(Json(json!({"message": "Ticket updated successfully", "ticket": TicketJson::from(&ticket)})))
}

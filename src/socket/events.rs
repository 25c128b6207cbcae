//! What happens on each event: one arm each, the table of contents of the sockets. Rules are the chat's.

use std::sync::Arc;

use entity::UserId;
use futures_util::future::try_join_all;
use tokio::time::Instant;
use tracing::Instrument;

use super::conn::{Conn, Incoming};
use super::recovery::{self, Following};
use super::{Context, depart};
use crate::auth::Actor;
use crate::chat::{Chat, Outgoing, Room};
use crate::clock;
use crate::error::{Error, Result};
use crate::limits::Limited;
use crate::store::jobs::Done;
use crate::wire::inbound::{self, ClientEvent, Reference};
use crate::wire::outbound::{self, ack};

/// Handles one event of a socket, and answers it when that was asked for.
pub async fn handle(context: &Context, conn: &Arc<Conn>, incoming: Incoming) {
    let (asked, event) = Asked::of(&incoming);
    if conn.actor.is_none()
        && let Err(limited) = context.chat.limit_guest(conn.id)
    {
        return refuse(context, conn, &asked, &limited);
    }
    let event = match (event, &conn.actor) {
        (Ok(ClientEvent::UserOnline(user)), None) => return claim(context, conn, user, &asked).await,
        (_, None) => Err(Error::Unauthorized("Authentication token is required")),
        (event, Some(_)) => event,
    };
    let outcome = match (event, &conn.actor) {
        (Ok(event), Some(actor)) => {
            let span = tracing::debug_span!("event", name = asked.reference.name.as_str(), socket = conn.id.0, user = actor.id.0);
            dispatch(context, conn, actor, event, &asked).instrument(span).await
        }
        (Err(error), _) => Err(error),
        (Ok(_), None) => return,
    };
    match outcome {
        Ok(Answer::Now(array)) => answer(context, conn, array, &asked),
        Ok(Answer::Ignored(outcome)) => context.metrics.event_failed(asked.reference.name.as_str(), outcome),
        Ok(Answer::Later) => {}
        Err(error) => {
            refuse(context, conn, &asked, &error);
            // An authenticated socket is unauthorized when its user is gone. The refusal goes first: nothing reaches a disconnected one.
            if let (Error::Unauthorized(_), Some(actor)) = (&error, &conn.actor) {
                context.hub.expel_user(actor.id);
            }
        }
    }
}

/// An event, as far as its answer must know it.
#[derive(Clone)]
struct Asked {
    reference: Reference,
    ack: Option<i64>,
    began: Instant,
}

impl Asked {
    fn of(incoming: &Incoming) -> (Self, Result<ClientEvent>) {
        let (reference, event) = inbound::parse(incoming.packet.as_str());
        (Self { reference, ack: incoming.ack, began: clock::instant() }, event)
    }
}

/// How an event is answered.
enum Answer {
    Now(String),
    /// By whoever stores it.
    Later,
    /// Not at all: nobody asked. It is counted as this.
    Ignored(&'static str),
}

async fn dispatch(context: &Context, conn: &Arc<Conn>, actor: &Actor, event: ClientEvent, asked: &Asked) -> Result<Answer> {
    let chat = &context.chat;
    crate::faults::strike("event");
    // Before anything is read or written: what is refused costs no more than its refusal, and counts all the same.
    let is_send = matches!(event, ClientEvent::SendMessage { .. } | ClientEvent::SendSupportMessage { .. });
    if let Err(limited) = chat.limit(if is_send { Limited::Send } else { Limited::Event }, actor) {
        return if matches!(event, ClientEvent::Typing { .. }) && asked.ack.is_none() {
            Ok(Answer::Ignored(crate::wire::error::code(&limited)))
        } else {
            Err(limited)
        };
    }
    chat.require_present(actor).await?;
    match event {
        ClientEvent::UserOnline(_) => chat.tell_online_contacts(actor.id, conn.id),
        ClientEvent::JoinConversation(ids) => {
            let places = try_join_all(ids.into_iter().map(|id| chat.require_participant_lately(actor, id))).await?;
            let rooms: Vec<Room> = places.iter().map(|place| Room::Conversation(place.conversation)).collect();
            follow(context, conn, &rooms).await?;
            places.into_iter().for_each(|place| chat.tell_who_types(place, conn.id));
        }
        ClientEvent::LeaveConversation(ids) => {
            let rooms: Vec<Room> = ids.iter().copied().map(Room::Conversation).collect();
            // Whoever is in a room may leave it, also one that has become others' since.
            for (id, _) in ids.into_iter().zip(&rooms).filter(|(_, room)| !conn.follows(**room)) {
                chat.require_participant_lately(actor, id).await?;
            }
            if context.hub.unfollow(conn, &rooms) {
                context.hub.drop_draft(conn);
                recovery::remember(context, conn).await;
            }
        }
        ClientEvent::SendMessage { conversation, text, temp_id } => {
            let place = chat.require_participant_lately(actor, conversation).await?;
            context.hub.send_draft(conn, conversation);
            if join_implicitly(context, conn, Room::Conversation(conversation)).await? {
                chat.tell_who_types(place, conn.id);
            }
            let message = Outgoing { from: Some(conn.id), text, temp_id };
            let echoed = message.temp_id.clone();
            let (context, conn, asked) = (context.clone(), conn.clone(), asked.clone());
            let done = Done::new(move |outcome: Result<_>| match outcome {
                Ok(stored) if asked.ack.is_some() => answer(&context, &conn, ack::message(&stored, echoed.as_ref()), &asked),
                Ok(_) => context.metrics.event_done(asked.reference.name.number()),
                Err(error) => refuse(&context, &conn, &asked, &error),
            });
            Chat::send(chat, actor, place, message, done).await;
            return Ok(Answer::Later);
        }
        ClientEvent::Typing { room: Room::Conversation(id), is_typing } => {
            let place = chat.require_participant_lately(actor, id).await?;
            if is_typing {
                if join_implicitly(context, conn, Room::Conversation(id)).await? {
                    chat.tell_who_types(place, conn.id);
                }
                context.hub.start_draft(conn, id);
            }
            chat.type_in(actor, place, conn.id, is_typing);
        }
        ClientEvent::Typing { room: Room::Ticket(id), is_typing } => {
            let (access, _) = chat.require_ticket(actor, id).await?;
            chat.type_in_ticket(actor, access, conn.id, is_typing);
        }
        ClientEvent::MarkAsRead { message, conversation } => {
            let conversation = match (conversation, message) {
                (Some(id), _) => id,
                (None, Some(message)) => chat.conversation_of(message).await?,
                (None, None) => return Err(Error::invalid("messageId or conversationId is required")),
            };
            let place = chat.require_participant_lately(actor, conversation).await?;
            return Ok(Answer::Now(ack::marked(&chat.mark_read(place, message).await?)));
        }
        ClientEvent::JoinSupport(ids) => {
            let found = try_join_all(ids.into_iter().map(|id| chat.require_ticket(actor, id))).await?;
            let rooms: Vec<Room> = found.iter().map(|(access, _)| Room::Ticket(access.ticket)).collect();
            follow(context, conn, &rooms).await?;
            found.into_iter().for_each(|(access, _)| chat.tell_who_types_in_ticket(actor, access, conn.id));
        }
        ClientEvent::SendSupportMessage { ticket, text, temp_id } => {
            let (access, _) = chat.require_ticket(actor, ticket).await?;
            let message = Outgoing { from: Some(conn.id), text, temp_id };
            let echoed = message.temp_id.clone();
            let (context, conn, asked) = (context.clone(), conn.clone(), asked.clone());
            let done = Done::new(move |outcome: Result<_>| match outcome {
                Ok(written) if asked.ack.is_some() => answer(&context, &conn, ack::support_message(&written, echoed.as_ref()), &asked),
                Ok(_) => context.metrics.event_done(asked.reference.name.number()),
                Err(error) => refuse(&context, &conn, &asked, &error),
            });
            Chat::send_support(chat, actor, access, message, Default::default(), done).await;
            return Ok(Answer::Later);
        }
        ClientEvent::Unknown => {
            return if asked.ack.is_some() { Err(Error::invalid("There is no such event")) } else { Ok(Answer::Ignored("ignored")) };
        }
    }
    Ok(Answer::Now(ack::ok()))
}

/// The socket has exactly these rooms of their kind open. It enters them before their newest messages are read: of what is stored meanwhile,
/// nothing is in neither.
async fn follow(context: &Context, conn: &Arc<Conn>, rooms: &[Room]) -> Result<()> {
    let following: Vec<Following> = rooms.iter().map(|room| Following::new(*room)).collect();
    let entered = context.hub.follow(conn, &following);
    if let Err(error) = settle(context, conn, &entered).await {
        context.hub.unfollow(conn, &entered);
        return Err(error);
    }
    if context.hub.leave_others(conn, rooms) || !entered.is_empty() {
        context.hub.drop_draft(conn);
        recovery::remember(context, conn).await;
    }
    Ok(())
}

/// Finds out where rooms stand that the socket has just entered.
pub async fn settle(context: &Context, conn: &Conn, rooms: &[Room]) -> Result<()> {
    let newest = rooms.iter().map(|room| context.chat.newest_in(*room));
    for (room, newest) in rooms.iter().zip(try_join_all(newest).await?) {
        context.hub.settle(conn, *room, newest);
    }
    Ok(())
}

/// Who types or sends somewhere evidently has it open; what is open already stays as it is. True when it was not.
async fn join_implicitly(context: &Context, conn: &Arc<Conn>, room: Room) -> Result<bool> {
    if conn.follows(room) {
        return Ok(false);
    }
    follow(context, conn, &[room]).await?;
    Ok(true)
}

/// A guest says who it is. Nothing is answered: it learns nothing, least of all whether it was believed.
async fn claim(context: &Context, conn: &Arc<Conn>, user: Option<UserId>, asked: &Asked) {
    if let Some(user) = user
        && context.chat.claim(conn.id, user, conn.visitor)
    {
        adopt(context, conn, user).await;
    }
    answer(context, conn, ack::ok(), asked);
}

/// A guest counts as a user from now on, unless it has claimed another meanwhile or the user is banned.
pub async fn adopt(context: &Context, conn: &Arc<Conn>, user: UserId) {
    let (chat, since) = (&context.chat, clock::instant());
    let Ok(Some(name)) = chat.name_of(user).await else { return };
    let may = || chat.barred(user, since).is_none() && chat.settle_claim(conn.id, user, conn.visitor);
    let Some(over) = context.hub.add_guest(conn, user, may) else { return };
    for (user, other) in over {
        if other.id != conn.id {
            chat.withdraw_claim(other.id, other.visitor);
        }
        chat.depart(user, other.id);
    }
    chat.arrive(user, &name.into(), conn.id).await;
    recovery::remember(context, conn).await;
    if std::mem::take(&mut conn.state().missed_nudge) {
        conn.send(&[outbound::bare_nudge()]).ok();
    }
    if conn.is_gone() {
        depart(context, conn);
    }
    if conn.user() != Some(user) {
        chat.depart(user, conn.id);
    }
}

fn answer(context: &Context, conn: &Arc<Conn>, array: String, asked: &Asked) {
    context.metrics.event_done(asked.reference.name.number());
    acknowledge(context, conn, array, asked);
}

fn acknowledge(context: &Context, conn: &Arc<Conn>, array: String, asked: &Asked) {
    if asked.ack.is_some_and(|id| conn.ack(array, id).is_err()) {
        context.hub.cut(conn);
    }
}

/// Refuses an event that was never handled.
pub fn refuse_unread(context: &Context, conn: &Arc<Conn>, incoming: &Incoming, error: &Error) {
    refuse(context, conn, &Asked::of(incoming).0, error);
}

/// Tells a socket that its event failed: by `error`, by `message-failed` for a send, and by the ack if one was asked for.
fn refuse(context: &Context, conn: &Arc<Conn>, asked: &Asked, error: &Error) {
    let (event, code) = (asked.reference.name.as_str(), crate::wire::error::code(error));
    context.metrics.event_failed(event, code);
    if let Some(suppressed) = conn.tally.fail()
        && context.hub.lines.may_add(conn.visitor.address)
    {
        let (socket, user) = (conn.id.0, conn.user().map(|user| user.0));
        let microseconds = u64::try_from(asked.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        match error {
            Error::Internal(cause) => tracing::error!(event, socket, user, microseconds, suppressed, %cause, "an event failed"),
            _ => tracing::info!(event, code, socket, user, microseconds, suppressed, "an event was refused"),
        }
    }
    acknowledge(context, conn, ack::failed(error), asked);
    if conn.send(&outbound::failure(error, &asked.reference)).is_err() {
        context.hub.cut(conn);
    }
}

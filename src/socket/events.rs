//! What happens on each event: one arm each, the table of contents of the sockets. Rules are the chat's.

use std::sync::Arc;

use entity::UserId;

use super::conn::{Conn, Incoming};
use super::recovery::{self, Following};
use super::{Context, depart};
use crate::auth::Actor;
use crate::chat::{Chat, Fact, Outgoing, Room};
use crate::error::{Error, Result};
use crate::limits::Limited;
use crate::store::writer::Done;
use crate::wire::inbound::{self, ClientEvent, Reference};
use crate::wire::outbound::{self, ack};

/// Handles one event of a socket, and answers it when that was asked for.
pub async fn handle(context: &Context, conn: &Arc<Conn>, incoming: Incoming) {
    let (reference, event) = inbound::parse(incoming.packet.as_str());
    if conn.actor.is_none()
        && let Err(limited) = context.chat.limit_guest(conn.id)
    {
        return refuse(context, conn, &reference, incoming.ack, &limited);
    }
    let event = match (event, &conn.actor) {
        (Ok(ClientEvent::UserOnline(user)), None) => return claim(context, conn, user, incoming.ack).await,
        (_, None) => Err(Error::Unauthorized("Authentication token is required")),
        (event, Some(_)) => event,
    };
    let outcome = match (event, &conn.actor) {
        (Ok(event), Some(actor)) => dispatch(context, conn, actor, event, &reference, incoming.ack).await,
        (Err(error), _) => Err(error),
        (Ok(_), None) => return,
    };
    match outcome {
        Ok(Answer::Now(array)) => answer(context, conn, array, incoming.ack),
        Ok(Answer::Later | Answer::Nothing) => {}
        Err(error) => {
            refuse(context, conn, &reference, incoming.ack, &error);
            // An authenticated socket is unauthorized when its user is gone. The refusal goes first: nothing reaches a disconnected one.
            if let (Error::Unauthorized(_), Some(actor)) = (&error, &conn.actor) {
                expel(context, actor.id);
            }
        }
    }
}

/// How an event is answered.
enum Answer {
    Now(String),
    /// By whoever stores it.
    Later,
    /// Not at all, unless an ack was asked for.
    Nothing,
}

async fn dispatch(
    context: &Context,
    conn: &Arc<Conn>,
    actor: &Actor,
    event: ClientEvent,
    reference: &Reference,
    ack_id: Option<i64>,
) -> Result<Answer> {
    let chat = &context.chat;
    chat.require_present(actor).await?;
    if !matches!(event, ClientEvent::SendMessage { .. } | ClientEvent::SendSupportMessage { .. })
        && let Err(limited) = chat.limit(Limited::Event, actor)
    {
        return if matches!(event, ClientEvent::Typing { .. }) && ack_id.is_none() { Ok(Answer::Nothing) } else { Err(limited) };
    }
    match event {
        ClientEvent::UserOnline(_) => chat.tell_online_contacts(actor.id, conn.id),
        ClientEvent::JoinConversation(ids) => {
            let mut places = Vec::with_capacity(ids.len());
            for id in ids {
                places.push(chat.require_participant(actor, id).await?);
            }
            let rooms: Vec<Room> = places.iter().map(|place| Room::Conversation(place.conversation)).collect();
            follow(context, conn, &rooms).await?;
            places.into_iter().for_each(|place| chat.tell_who_types(place, conn.id));
        }
        ClientEvent::LeaveConversation(ids) => {
            for id in &ids {
                chat.require_participant(actor, *id).await?;
            }
            let rooms: Vec<Room> = ids.into_iter().map(Room::Conversation).collect();
            if context.hub.unfollow(conn, &rooms) {
                recovery::remember(context, conn).await;
            }
        }
        ClientEvent::SendMessage { conversation, text, temp_id } => {
            context.hub.busy(conn);
            let place = chat.require_participant(actor, conversation).await?;
            if join_implicitly(context, conn, Room::Conversation(conversation)).await? {
                chat.tell_who_types(place, conn.id);
            }
            let message = Outgoing { from: Some(conn.id), text, temp_id };
            let echoed = message.temp_id.clone();
            let (context, conn, reference) = (context.clone(), conn.clone(), reference.clone());
            let done = Done::new(move |outcome: Result<_>| match outcome {
                Ok(stored) if ack_id.is_some() => answer(&context, &conn, ack::message(&stored, echoed.as_ref()), ack_id),
                Ok(_) => {}
                Err(error) => refuse(&context, &conn, &reference, ack_id, &error),
            });
            Chat::send(chat, actor, place, message, done).await;
            return Ok(Answer::Later);
        }
        ClientEvent::Typing { room: Room::Conversation(id), is_typing } => {
            let place = chat.require_participant(actor, id).await?;
            if is_typing {
                context.hub.busy(conn);
                if join_implicitly(context, conn, Room::Conversation(id)).await? {
                    chat.tell_who_types(place, conn.id);
                }
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
            let place = chat.require_participant(actor, conversation).await?;
            return Ok(Answer::Now(ack::marked(&chat.mark_read(place, message).await?)));
        }
        ClientEvent::JoinSupport(ids) => {
            for id in &ids {
                chat.require_ticket(actor, *id).await?;
            }
            let rooms: Vec<Room> = ids.iter().copied().map(Room::Ticket).collect();
            follow(context, conn, &rooms).await?;
            ids.into_iter().for_each(|id| chat.tell_who_types_in_ticket(actor, id, conn.id));
        }
        ClientEvent::SendSupportMessage { ticket, text, temp_id } => {
            let (access, _) = chat.require_ticket(actor, ticket).await?;
            let message = Outgoing { from: Some(conn.id), text, temp_id };
            let echoed = message.temp_id.clone();
            let (context, conn, reference) = (context.clone(), conn.clone(), reference.clone());
            let done = Done::new(move |outcome: Result<_>| match outcome {
                Ok(written) if ack_id.is_some() => answer(&context, &conn, ack::support_message(&written, echoed.as_ref()), ack_id),
                Ok(_) => {}
                Err(error) => refuse(&context, &conn, &reference, ack_id, &error),
            });
            Chat::send_support(chat, actor, access, message, Default::default(), done).await;
            return Ok(Answer::Later);
        }
        ClientEvent::Unknown => {
            return if ack_id.is_some() { Err(Error::invalid("There is no such event")) } else { Ok(Answer::Nothing) };
        }
    }
    Ok(Answer::Now(ack::ok()))
}

/// The socket has exactly these rooms of their kind open.
async fn follow(context: &Context, conn: &Arc<Conn>, rooms: &[Room]) -> Result<()> {
    let mut following = Vec::with_capacity(rooms.len());
    for room in rooms {
        following.push(Following::new(*room, context.chat.newest_in(*room).await?));
    }
    let holds = recovery::hold(conn);
    if context.hub.follow(conn, &following, true) {
        recovery::remember(context, conn).await;
    } else if holds {
        context.hub.release(conn);
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
async fn claim(context: &Context, conn: &Arc<Conn>, user: Option<UserId>, ack_id: Option<i64>) {
    if let Some(user) = user.filter(|_| conn.state().guest_of.is_none())
        && context.chat.claim(conn.id, user, conn.visitor)
    {
        adopt(context, conn, user).await;
    }
    answer(context, conn, ack::ok(), ack_id);
}

/// A guest counts as a user from now on.
pub async fn adopt(context: &Context, conn: &Arc<Conn>, user: UserId) {
    let Ok(Some(name)) = context.chat.name_of(user).await else { return };
    if context.hub.add_guest(conn, user) {
        context.chat.arrive(user, &name.into(), conn.id).await;
        recovery::remember(context, conn).await;
        if conn.is_gone() {
            depart(context, conn);
        }
    }
}

/// All sockets of a user who no longer exists, on every node.
fn expel(context: &Context, user: UserId) {
    context.outbox.share(Fact::Expelled(user));
    context.hub.expel_user(user);
}

fn answer(context: &Context, conn: &Arc<Conn>, array: String, ack_id: Option<i64>) {
    if ack_id.is_some_and(|id| conn.ack(array, id).is_err()) {
        context.hub.cut(conn);
    }
}

/// Refuses an event that was never handled.
pub fn refuse_unread(context: &Context, conn: &Arc<Conn>, incoming: &Incoming, error: &Error) {
    let (reference, _) = inbound::parse(incoming.packet.as_str());
    refuse(context, conn, &reference, incoming.ack, error);
}

/// Tells a socket that its event failed: by `error`, by `message-failed` for a send, and by the ack if one was asked for.
fn refuse(context: &Context, conn: &Arc<Conn>, reference: &Reference, ack_id: Option<i64>, error: &Error) {
    match error {
        Error::Internal(cause) => tracing::error!(socket = conn.id.0, %cause, "an event failed"),
        _ => tracing::debug!(socket = conn.id.0, code = crate::wire::error::code(error), "an event was refused"),
    }
    answer(context, conn, ack::failed(error), ack_id);
    if conn.send(&outbound::failure(error, reference)).is_err() {
        context.hub.cut(conn);
    }
}

//! Support: tickets, their messages, and the state machine of a ticket's status.

use std::sync::Arc;

use entity::{Category, Priority, Status, TicketId, UserId};

use super::outbox::TicketNews;
use super::{Audience, Chat, Event, MessageText, Outgoing, Room, SocketId, TempId, text};
use crate::auth::Actor;
use crate::clock;
use crate::error::{Error, Result};
use crate::store::jobs::{Done, Inserted, Job, SendKey, SupportWrite, SupportWritten};
use crate::store::{Listed, NamedTicket, SupportMessage, Ticket, TicketFilter, TicketPage};

/// The proof that a user may see a ticket and write in it.
#[derive(Clone, Copy, Debug)]
pub struct TicketAccess {
    /// Which ticket.
    pub ticket: TicketId,
    /// Whose it is.
    pub owner: UserId,
    /// Whether the user acts as an admin.
    pub as_admin: bool,
}

/// What an admin changes by hand.
#[derive(Clone, Copy, Debug, Default)]
#[expect(missing_docs, reason = "the wire contract names the fields")]
pub struct TicketChange {
    pub status: Option<Status>,
    pub priority: Option<Priority>,
}

/// The longest subject and description, in code points.
const SUBJECT: usize = 255;
const DESCRIPTION: usize = 20_000;
/// So many tickets come when no limit is given.
const TICKETS: u64 = 1000;

/// The state machine, whole: the status after a message. Admins may set any status by hand.
///
/// | before        | an admin writes | the owner writes |
/// |---------------|-----------------|------------------|
/// | `open`        | `in_progress`   | `open`           |
/// | `in_progress` | `in_progress`   | `in_progress`    |
/// | `resolved`    | `resolved`      | `open`           |
/// | `closed`      | refused         | refused          |
/// | unknown word  | as it is        | as it is         |
fn after_message(before: Option<Status>, by_admin: bool) -> Result<Option<Status>> {
    match (before, by_admin) {
        (Some(Status::Closed), _) => Err(Error::TicketClosed),
        (Some(Status::Open), true) => Ok(Some(Status::InProgress)),
        (Some(Status::Resolved), false) => Ok(Some(Status::Open)),
        (other, _) => Ok(other),
    }
}

impl Chat {
    /// Who: an admin. Refused: `forbidden`.
    pub fn require_admin(&self, actor: &Actor) -> Result<()> {
        if actor.is_admin { Ok(()) } else { Err(Error::Forbidden("Admin access required")) }
    }

    /// Who: the owner or an admin. Refused: `not_found`, `forbidden`.
    pub async fn require_ticket(&self, actor: &Actor, id: TicketId) -> Result<(TicketAccess, Ticket)> {
        let ticket = self.store.find_ticket(id).await?.ok_or(Error::NotFound("Ticket not found"))?;
        if ticket.owner != actor.id && !actor.is_admin {
            return Err(Error::Forbidden("You do not have access to this ticket"));
        }
        Ok((TicketAccess { ticket: id, owner: ticket.owner, as_admin: actor.is_admin }, ticket))
    }

    /// Opens a ticket of the caller. Told: every admin.
    pub async fn create_ticket(
        self: &Arc<Self>,
        actor: &Actor,
        subject: String,
        description: String,
        category: Category,
    ) -> Result<Ticket> {
        let now = self.store.kept(clock::now());
        let mut ticket = Ticket {
            id: TicketId(0),
            owner: actor.id,
            subject: text::field(subject, "Subject", SUBJECT)?,
            description: text::field(description, "Description", DESCRIPTION)?,
            category: category.as_str().to_owned(),
            status: Status::Open.as_str().to_owned(),
            priority: Priority::Medium.as_str().to_owned(),
            created_at: now,
            updated_at: now,
        };
        let (chat, new) = (Arc::clone(self), ticket.clone());
        let told = move |outcome: &Result<Inserted>| {
            if let Ok(row) = outcome {
                chat.outbox.tell(Audience::Admins, Event::Ticket(Ticket { id: TicketId(row.id), ..new }, TicketNews::Created));
            }
        };
        ticket.id = TicketId(self.writer.insert(ticket.insert(), told).await?.id);
        Ok(ticket)
    }

    /// The caller's tickets, newest first.
    pub async fn own_tickets(&self, actor: &Actor, before: Option<TicketId>, limit: Option<u64>) -> Result<Listed<NamedTicket>> {
        let filter = TicketFilter { owner: Some(actor.id), before, ..Default::default() };
        self.store.tickets(filter, self.bound(limit, TICKETS)).await
    }

    /// All tickets, newest first, with their owners' names. Who: an admin.
    pub async fn all_tickets(&self, actor: &Actor, filter: TicketFilter, limit: Option<u64>) -> Result<Listed<NamedTicket>> {
        self.require_admin(actor)?;
        self.store.tickets(filter, self.bound(limit, TICKETS)).await
    }

    /// A page of a ticket's messages, oldest first, and whether there is more.
    pub async fn support_messages(&self, access: TicketAccess, page: TicketPage, limit: Option<u64>) -> Result<Listed<SupportMessage>> {
        self.store.support_messages(access.ticket, access.owner, page, self.bound(limit, self.settings.messages.history_limit)).await
    }

    /// Sends a message in a ticket, as its owner or as an admin, which was counted when it came. Refused: what is blank or too long, and a closed ticket.
    /// Told, after the commit: the followers and the sending socket; of a changed status everybody whom the ticket concerns.
    pub async fn send_support(
        self: &Arc<Self>,
        actor: &Actor,
        access: TicketAccess,
        message: Outgoing,
        change: TicketChange,
        done: Done<SupportWritten>,
    ) {
        let Outgoing { from, text, temp_id } = message;
        let text = match MessageText::new(text, self.settings.messages.max_length) {
            Ok(text) => text.into_inner(),
            Err(e) => return done.tell(Err(e)),
        };
        let nonce = temp_id.as_ref().and_then(|t| t.nonce.as_deref());
        let key = nonce.map(|nonce| SendKey::new("ticket", access.ticket.0, actor.id, nonce, &text));
        let write = self.write(actor, access, Some((text, key)), change);
        self.end_typing(actor, Room::Ticket(access.ticket));
        let chat = Arc::clone(self);
        let told = Done::new(move |outcome: Result<SupportWritten>| {
            if let Ok(written) = &outcome {
                chat.announce(written, from, temp_id);
            }
            done.tell(outcome);
        });
        self.writer.submit(Job::Support(write, told)).await;
    }

    /// Sets status or priority. Who: an admin. Told, when something changed: everybody whom the ticket concerns.
    pub async fn change_ticket(self: &Arc<Self>, actor: &Actor, id: TicketId, change: TicketChange) -> Result<Ticket> {
        self.require_admin(actor)?;
        let (access, _) = self.require_ticket(actor, id).await?;
        let write = self.write(actor, access, None, change);
        let chat = Arc::clone(self);
        let told = move |outcome: &Result<SupportWritten>| {
            if let Ok(written) = outcome {
                chat.announce(written, None, None);
            }
        };
        Ok(self.writer.perform(|done| Job::Support(write, done), told).await?.ticket)
    }

    fn write(&self, actor: &Actor, access: TicketAccess, message: Option<(String, Option<SendKey>)>, change: TicketChange) -> SupportWrite {
        SupportWrite {
            ticket: access.ticket,
            sender: actor.id,
            is_admin: access.as_admin,
            message,
            status: change.status,
            priority: change.priority,
            accepted: clock::instant(),
            after_message,
        }
    }

    fn announce(&self, written: &SupportWritten, from: Option<SocketId>, temp_id: Option<TempId>) {
        if let Some(stored) = &written.message {
            let event = Event::SupportMessage { message: stored.row.clone(), owner: written.ticket.owner, temp_id, after: stored.after };
            match (stored.fresh, from) {
                (true, from) => self.outbox.tell(Audience::RoomAnd(Room::Ticket(written.ticket.id), from), event),
                (false, Some(from)) => self.outbox.tell_here(Audience::Socket(from), event),
                (false, None) => {}
            }
        }
        if written.changed {
            let audience = Audience::OwnerAndAdmins(written.ticket.owner);
            self.outbox.tell(audience, Event::Ticket(written.ticket.clone(), TicketNews::Changed));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_follows_its_state_machine() {
        use Status::{Closed, InProgress, Open, Resolved};
        for (before, by_admin, after) in [
            (Open, true, Some(InProgress)),
            (Open, false, Some(Open)),
            (InProgress, true, Some(InProgress)),
            (InProgress, false, Some(InProgress)),
            (Resolved, true, Some(Resolved)),
            (Resolved, false, Some(Open)),
            (Closed, true, None),
            (Closed, false, None),
        ] {
            assert_eq!(after_message(Some(before), by_admin).ok().flatten(), after, "{before:?}, admin: {by_admin}");
        }
        assert_eq!(after_message(None, true).expect("an unknown status is left alone"), None);
    }
}

//! The unclear case: the connection died while the server was told to commit. Nobody is answered before the tables have been asked what became
//! of the transaction. It is all or nothing, so one row of it tells.

use entity::{conversation, message, support_message, support_ticket};
use sea_orm::{DatabaseTransaction, DbErr, EntityTrait, QuerySelect};

use super::writer::{Outcome, Stored};
use super::{Message, Store, SupportMessage, Ticket};

impl Store {
    /// Whether the transaction that had these outcomes was committed. Its server may still be busy with it, so that a row which it had locked
    /// is locked first: that waits for its end.
    pub(super) async fn is_committed(&self, outcomes: &[Outcome]) -> Result<bool, DbErr> {
        let tx = self.write.begin().await?;
        let found = self.write.within(find_any(&tx, outcomes)).await?;
        self.write.within(tx.rollback()).await?;
        Ok(found)
    }
}

/// Looks for the first outcome that left something to be found.
async fn find_any(tx: &DatabaseTransaction, outcomes: &[Outcome]) -> Result<bool, DbErr> {
    for outcome in outcomes {
        match outcome {
            Outcome::Message(Stored { row, fresh: true, .. }) => {
                conversation::Entity::find_by_id(row.conversation).lock_exclusive().one(tx).await?;
                let found = message::Entity::find_by_id(row.id).one(tx).await?.map(Message::from);
                // The reader may have been quick.
                return Ok(found.is_some_and(|found| Message { is_read: row.is_read, read_at: row.read_at, ..found } == *row));
            }
            Outcome::Support(Ok(written)) => {
                let ticket = support_ticket::Entity::find_by_id(written.ticket.id).lock_exclusive().one(tx).await?.map(Ticket::from);
                if let Some(Stored { row, fresh: true, .. }) = &written.message {
                    let found = support_message::Entity::find_by_id(row.id).one(tx).await?.map(SupportMessage::from);
                    return Ok(found.as_ref() == Some(row));
                }
                if written.changed {
                    return Ok(ticket.as_ref() == Some(&written.ticket));
                }
            }
            Outcome::Read(marked) => {
                if let Some(last) = marked.messages.last() {
                    let found = message::Entity::find_by_id(*last).lock_exclusive().one(tx).await?.map(Message::from);
                    return Ok(found.is_some_and(|found| found.is_read));
                }
            }
            Outcome::Message(_) | Outcome::Support(Err(_)) | Outcome::Nothing => {}
        }
    }
    Ok(false)
}

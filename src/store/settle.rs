//! The unclear case: the connection died while the server was told to commit. Nobody is answered before the tables have been asked what became
//! of the transaction. It is all or nothing, so one row of it tells.

use sea_orm::DbErr;

use super::inserts::is_inserted;
use super::jobs::{Job, Stored};
use super::write::Transaction;
use super::writer::Outcome;
use super::writes::{find_message, find_support_message, find_ticket, lock_conversation};
use super::{Message, Store};

impl Store {
    /// Whether the transaction in which these jobs had these outcomes was committed. Its server may still be busy with it, so that a row which it had locked
    /// is locked first: that waits for its end.
    pub(super) async fn is_committed(&self, jobs: &[Job], outcomes: &[Outcome]) -> Result<bool, DbErr> {
        let tx = self.write.begin().await?;
        let found = self.write.within(find_any(&tx, jobs, outcomes)).await?;
        self.write.within(tx.rollback()).await?;
        Ok(found)
    }
}

/// Looks for the first outcome that left something to be found.
async fn find_any(tx: &Transaction, jobs: &[Job], outcomes: &[Outcome]) -> Result<bool, DbErr> {
    for (job, outcome) in jobs.iter().zip(outcomes) {
        match outcome {
            Outcome::Message(Stored { row, fresh: true, .. }) => {
                lock_conversation(tx, row.conversation).await?;
                let found = find_message(tx, row.id).await?;
                // The reader may have been quick.
                return Ok(found.is_some_and(|found| Message { is_read: row.is_read, read_at: row.read_at, ..found } == *row));
            }
            Outcome::Support(Ok(written)) => {
                let ticket = find_ticket(tx, written.ticket.id).await?;
                if let Some(Stored { row, fresh: true, .. }) = &written.message {
                    let found = find_support_message(tx, "id = ?", row.id.into()).await?;
                    return Ok(found.as_ref() == Some(row));
                }
                if written.changed {
                    return Ok(ticket.as_ref() == Some(&written.ticket));
                }
            }
            Outcome::Read(piece) => {
                if let Some(last) = piece.marked.messages.last() {
                    let found = find_message(tx, *last).await?;
                    return Ok(found.is_some_and(|found| found.is_read));
                }
            }
            Outcome::Inserted(inserted) => {
                if let Job::Insert(insert, _) = job
                    && inserted.is_new
                {
                    return is_inserted(tx, insert, inserted.id).await;
                }
            }
            Outcome::Message(_) | Outcome::Support(Err(_)) | Outcome::Nothing => {}
        }
    }
    Ok(false)
}

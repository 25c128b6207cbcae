//! The queries on `recovery_sessions`. Sessions are saved by the `writer`, in the order of the messages.

use entity::{UserId, recovery_session};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, sea_query::Expr};

use super::{Store, failure};
use crate::clock::Timestamp;
use crate::error::Result;

/// What a socket followed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the field comments of `socket::recovery` say it")]
pub struct Session {
    pub pid: String,
    pub user: UserId,
    pub follows: String,
    pub used_at: Timestamp,
}

impl Store {
    /// The session with this private id.
    pub async fn find_session(&self, pid: &str) -> Result<Option<Session>> {
        let read = |pids: Vec<String>| async move {
            let rows = recovery_session::Entity::find().filter(recovery_session::Column::Pid.is_in(pids)).all(&self.read).await;
            let session = |r: recovery_session::Model| Session { pid: r.pid, user: r.user_id, follows: r.follows, used_at: r.used_at };
            Ok(rows.map_err(failure)?.into_iter().map(|row| (row.pid.clone(), session(row))).collect())
        };
        self.gathered.sessions.get(pid.to_owned(), read).await
    }

    /// Removes the sessions that nobody has used since `moment`.
    pub async fn forget_sessions(&self, moment: Timestamp) -> Result<()> {
        let stale = recovery_session::Entity::delete_many().filter(recovery_session::Column::UsedAt.lt(moment));
        stale.exec(&self.write).await.map_err(failure)?;
        Ok(())
    }

    /// Removes a session.
    pub async fn end_session(&self, pid: &str) -> Result<()> {
        recovery_session::Entity::delete_by_id(pid).exec(&self.write).await.map_err(failure)?;
        Ok(())
    }

    /// Notes that sessions are in use.
    pub async fn touch_sessions(&self, pids: &[String], now: Timestamp) -> Result<()> {
        for some in pids.chunks(500) {
            recovery_session::Entity::update_many()
                .col_expr(recovery_session::Column::UsedAt, Expr::value(now))
                .filter(recovery_session::Column::Pid.is_in(some))
                .exec(&self.write)
                .await
                .map_err(failure)?;
        }
        Ok(())
    }
}

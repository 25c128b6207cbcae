//! The queries on `recovery_sessions`, and what the `writer` does there.

use entity::{UserId, recovery_session};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QuerySelect};

use super::jobs::{Execute, NOBODY};
use super::write::marks;
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

    /// Some of the sessions that nobody has used since `moment`.
    pub async fn stale_sessions(&self, moment: Timestamp) -> Result<Vec<String>> {
        let stale = recovery_session::Entity::find().filter(recovery_session::Column::UsedAt.lt(moment)).limit(AT_ONCE as u64);
        let pids = stale.select_only().column(recovery_session::Column::Pid).into_tuple().all(&self.read).await;
        pids.map_err(failure)
    }
}

/// How many sessions one statement names at most.
pub const AT_ONCE: usize = 500;

impl Session {
    /// Saves it in the place of its former self.
    pub fn save(&self) -> Execute {
        let values = vec![self.pid.as_str().into(), self.user.into(), self.follows.clone().into(), self.used_at.into()];
        let insert = "INSERT INTO recovery_sessions (pid, user_id, follows, used_at) VALUES (?, ?, ?, ?)";
        let delete = "DELETE FROM recovery_sessions WHERE pid = ?";
        let statements = vec![(delete.to_owned(), vec![self.pid.as_str().into()]), (insert.to_owned(), values)];
        Execute { user: self.user, statements }
    }

    /// Removes a session of a user.
    pub fn end(user: UserId, pid: &str) -> Execute {
        Execute { user, statements: vec![("DELETE FROM recovery_sessions WHERE pid = ?".to_owned(), vec![pid.into()])] }
    }

    /// Removes those of these sessions, at most [`AT_ONCE`], that nobody has used since `moment`.
    pub fn forget(pids: &[String], moment: Timestamp) -> Execute {
        Self::about("DELETE FROM recovery_sessions WHERE used_at < ?", moment, pids)
    }

    /// Notes that sessions, at most [`AT_ONCE`], are in use.
    pub fn touch(pids: &[String], now: Timestamp) -> Execute {
        Self::about("UPDATE recovery_sessions SET used_at = ? WHERE TRUE", now, pids)
    }

    fn about(sql: &str, moment: Timestamp, pids: &[String]) -> Execute {
        let values = std::iter::once(moment.into()).chain(pids.iter().map(|pid| pid.as_str().into())).collect();
        Execute { user: NOBODY, statements: vec![(format!("{sql} AND pid IN ({})", marks(pids.len())), values)] }
    }
}

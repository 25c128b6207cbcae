//! Whether the database can be used, as an operator asks: what the last writes have found, and a probe for when there were none. What a
//! single failure means stands in `failure`.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use sea_orm::{ConnectionTrait, DbBackend, DbErr};
use tokio::time::Instant;

use super::connections::away;
use super::failure::{AWAY, DAMAGED, describe, hindrance, is_away};
use super::{Store, sqlite};
use crate::clock;

/// For how long what was found holds.
const RECENT: Duration = Duration::from_secs(1);
/// A probe is shared by all who ask within this time: nobody can keep the database busy by asking.
const SHARED: Duration = Duration::from_millis(500);
/// How long the database may take to answer a probe.
const PATIENCE: Duration = Duration::from_millis(1200);

/// A write of nothing, which a server that is read-only refuses.
const NOTHING: &str = "DELETE FROM recovery_sessions WHERE 1 = 0";

/// What was found.
#[derive(Default)]
pub struct Health {
    writes: Mutex<Writes>,
    probed: tokio::sync::Mutex<Option<(Instant, Result<(), &'static str>)>>,
}

#[derive(Default)]
struct Writes {
    last_success: Option<Instant>,
    last_failure: Option<(Instant, &'static str)>,
    /// Whether the log says that the database cannot be written.
    is_told: bool,
}

impl Health {
    /// Takes note of what became of a write, and has the log say when the database can no longer be written, and when it can again.
    pub fn note<T>(&self, outcome: &Result<T, DbErr>) {
        let mut writes = self.writes.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok(_) => {
                (writes.last_success, writes.last_failure) = (Some(clock::instant()), None);
                if std::mem::take(&mut writes.is_told) {
                    tracing::info!("the database can be written again");
                }
            }
            Err(e) if is_away(e) => {
                let known = writes.last_failure.filter(|(at, _)| at.elapsed() < RECENT).map(|(_, reason)| reason);
                let reason = Some(hindrance(e)).filter(|reason| *reason != AWAY).or(known).unwrap_or(AWAY);
                writes.last_failure = Some((clock::instant(), reason));
                // Damage is told by `failure`, once, whoever finds it, and that a server is away by its `connections`.
                if reason != DAMAGED && reason != AWAY && !std::mem::replace(&mut writes.is_told, true) {
                    tracing::error!(reason, cause = %describe(e), "the database cannot be written");
                }
            }
            Err(_) => {}
        }
    }

    /// What the last write has found, when it was a moment ago.
    fn lately(&self) -> Option<Result<(), &'static str>> {
        let writes = self.writes.lock().unwrap_or_else(PoisonError::into_inner);
        let failure = writes.last_failure.filter(|(at, _)| at.elapsed() < RECENT).map(|(_, reason)| Err(reason));
        failure.or(writes.last_success.filter(|at| at.elapsed() < RECENT).map(|_| Ok(())))
    }
}

impl Store {
    /// What is known without asking.
    pub fn found_lately(&self) -> Option<Result<(), &'static str>> {
        if self.read.is_away() || self.write.connections().is_away() { Some(Err(AWAY)) } else { self.health.lately() }
    }

    /// How often connections to the database's server were lost and made anew.
    pub fn reconnections(&self) -> u64 {
        self.read.renewals() + self.write.connections().renewals()
    }

    /// Whether the database answers and can be written: SQLite's disk may be full, and a server may be the primary no longer.
    ///
    /// # Errors
    /// What hinders it, in a word for the operator.
    pub async fn ping(&self) -> Result<(), &'static str> {
        let mut probed = self.health.probed.lock().await;
        if let Some((at, outcome)) = *probed
            && at.elapsed() < SHARED
        {
            return outcome;
        }
        let probe = tokio::time::timeout(PATIENCE, self.probe());
        let outcome = match probe.await {
            // A write that found nobody is older news than this answer; one that found a full disk is not.
            Ok(Ok(())) => self.health.lately().filter(|lately| *lately != Err(AWAY)).unwrap_or(Ok(())),
            Ok(Err(e)) => Err(hindrance(&e)),
            Err(_) => Err("no answer"),
        };
        *probed = Some((clock::instant(), outcome));
        outcome
    }

    async fn probe(&self) -> Result<(), DbErr> {
        self.read.execute_unprepared("SELECT 1").await?;
        // What is written goes by connections of its own, which may still be on their way back.
        if self.write.connections().is_away() {
            return Err(away());
        }
        if self.health.lately() == Some(Ok(())) {
            return Ok(());
        }
        if self.backend() == DbBackend::Sqlite {
            let outcome = sqlite::write_nothing(&self.write).await;
            self.health.note(&outcome);
            return outcome;
        }
        let outcome = self.write.execute_unprepared(NOTHING).await.map(drop);
        // A success says nothing of the server's disk, for which a write may have failed.
        match outcome {
            Ok(()) => self.write.connections().note_written(),
            Err(_) => self.health.note(&outcome),
        }
        outcome
    }
}

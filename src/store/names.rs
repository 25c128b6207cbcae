//! The search for users by a part of their name. No database folds names as another does, and none has an index for the middle of a text; so
//! the folded names are kept here, some 50 bytes for a user, and a search goes through them: a million in some hundredths of a second, beside
//! which the database answers others. New users are found at once. In a table of more than [`SLICE`] users a name that the old backend has
//! changed is found when all are read again, which takes a twentieth of the time at most: after some seconds for each 100 000 users.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use entity::{Text, UserId, user};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use tokio::sync::Mutex;

use super::{Store, failure};
use crate::clock;
use crate::error::{Error, Result};
use crate::folding::{Sought, fold};

/// So many names are read by one statement; where there are no more, they are read for each search.
const SLICE: usize = 5000;
/// So many users are found at most.
const FOUND: usize = 10;
/// All are read again after so many times the time that it took.
const PAUSE: u32 = 20;
/// When nobody has searched for so long, the names are forgotten.
const UNUSED: Duration = Duration::from_secs(600);

/// The names of all users.
#[derive(Default)]
pub struct Names(Mutex<Option<Index>>);

struct Index {
    /// In the order of their ids.
    folded: Arc<Vec<(UserId, Box<str>)>>,
    read: Instant,
    took: Duration,
    used: Instant,
}

/// Who matches, the shortest names first.
fn matches(folded: &[(UserId, Box<str>)], sought: &Sought, except: UserId) -> Vec<UserId> {
    let mut best: Vec<(usize, &str, UserId)> = Vec::new();
    for (id, name) in folded.iter().filter(|(id, name)| *id != except && sought.is_in_folded(name)) {
        let candidate = (name.chars().count(), &**name, *id);
        let at = best.partition_point(|found| *found <= candidate);
        if at < FOUND {
            best.insert(at, candidate);
            best.truncate(FOUND);
        }
    }
    best.into_iter().map(|(_, _, id)| id).collect()
}

impl Store {
    /// At most ten users whose name contains `text`, the best matches first, without `except`.
    pub async fn search_users(&self, text: &str, except: UserId) -> Result<Vec<(UserId, String)>> {
        let folded = self.names().await?;
        let sought = Arc::new(Sought::new(text));
        let found = {
            let sought = sought.clone();
            tokio::task::spawn_blocking(move || matches(&folded, &sought, except)).await.map_err(Error::internal)?
        };
        // At most ten ids. Who is gone or has another name since is not shown.
        let rows = user::Entity::find().filter(user::Column::Id.is_in(found)).all(&self.read).await.map_err(failure)?;
        let mut users: Vec<_> =
            rows.into_iter().map(|row| (row.id, row.username.unwrap_or_default().0)).filter(|(_, name)| sought.is_in(name)).collect();
        users.sort_by_cached_key(|(id, name)| (name.chars().count(), name.clone(), *id));
        Ok(users)
    }

    /// The folded names, with those of users who are new.
    async fn names(&self) -> Result<Arc<Vec<(UserId, Box<str>)>>> {
        let mut names = self.names.0.lock().await;
        let index = match names.take().filter(|index| index.folded.len() > SLICE) {
            Some(mut index) => {
                let newest = index.folded.last().map_or(0, |(id, _)| id.0);
                let new = self.names_after(newest).await?;
                if !new.is_empty() {
                    Arc::make_mut(&mut index.folded).extend(new);
                }
                Index { used: now(), ..index }
            }
            None => self.read_names().await?,
        };
        Ok(names.insert(index).folded.clone())
    }

    async fn read_names(&self) -> Result<Index> {
        let began = now();
        let folded = Arc::new(self.names_after(0).await?);
        Ok(Index { folded, read: now(), took: began.elapsed(), used: now() })
    }

    /// The folded names of the users with higher ids than this one: a slice at a time, so that nobody waits for all of it.
    async fn names_after(&self, mut newest: i64) -> Result<Vec<(UserId, Box<str>)>> {
        let mut all = Vec::new();
        loop {
            let sql = format!("SELECT id, username FROM users WHERE id > ? ORDER BY id LIMIT {SLICE}");
            let rows = self.rows(&sql, vec![newest.into()]).await?;
            for row in &rows {
                let id: UserId = row.try_get_by_index(0).map_err(failure)?;
                let name: Option<Text> = row.try_get_by_index(1).map_err(failure)?;
                all.push((id, fold(&name.unwrap_or_default().0).into()));
                newest = id.0;
            }
            if rows.len() < SLICE {
                return Ok(all);
            }
        }
    }

    /// Reads the names again when that is due, or forgets them when nobody asks. To be called now and then.
    pub async fn renew_names(&self) -> Result<()> {
        let is_due = match &mut *self.names.0.lock().await {
            unused @ Some(_) if unused.as_ref().is_some_and(|index| index.used.elapsed() > UNUSED) => {
                *unused = None;
                false
            }
            Some(index) => index.folded.len() > SLICE && index.read.elapsed() > index.took * PAUSE,
            None => false,
        };
        if is_due {
            // Meanwhile the search goes on with those that there are.
            let fresh = self.read_names().await?;
            if let Some(index) = &mut *self.names.0.lock().await {
                *index = Index { used: index.used, ..fresh };
            }
        }
        Ok(())
    }
}

fn now() -> Instant {
    clock::instant().into_std()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ten_shortest_names_are_found_and_never_oneself() {
        let names: Vec<(UserId, Box<str>)> =
            (1..=100).map(|n| (UserId(n), format!("ann{}", "x".repeat(100 - n as usize)).into())).collect();
        let found = matches(&names, &Sought::new("ANN"), UserId(95));
        assert_eq!(found.iter().map(|id| id.0).collect::<Vec<_>>(), [100, 99, 98, 97, 96, 94, 93, 92, 91, 90]);
        assert_eq!(matches(&names, &Sought::new("bob"), UserId(1)), []);
    }
}

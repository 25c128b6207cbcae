//! The id of the database itself, by which the nodes of one server know each other from those of another one. A copy of a database has the same
//! one, until its row is deleted.

use sea_orm::ConnectionTrait;

use super::jobs::{Execute, NOBODY};
use super::{Store, connect, driver_url, failure, statement};
use crate::auth::random_hex;
use crate::error::{Error, Result};

const SELECT: &str = "SELECT value FROM database_identity WHERE id = 1";

impl Store {
    /// The id of the database, made when it has none. Nodes that make one at the same moment have the same.
    pub async fn identity(&self) -> Result<String> {
        if let Some(known) = self.find_identity().await? {
            return Ok(known);
        }
        let insert = "INSERT INTO database_identity (id, value) VALUES (1, ?)".to_owned();
        let made = self.execute(Execute { user: NOBODY, statements: vec![(insert, vec![random_hex::<16>().into()])] }).await;
        match self.find_identity().await? {
            Some(known) => Ok(known),
            None => Err(made.err().unwrap_or(Error::Unavailable)),
        }
    }

    async fn find_identity(&self) -> Result<Option<String>> {
        let rows = self.rows(SELECT, Vec::new()).await?;
        rows.first().map(|row| row.try_get_by_index(0)).transpose().map_err(failure)
    }

    /// The id of a database that no server need run on, if it has one. Changes nothing, and creates nothing.
    pub async fn look_up_identity(url: &str) -> Option<String> {
        let one = connect::open_read_only(&driver_url(url), connect::START).await.ok()??;
        let row = one.query_one_raw(statement(&one, SELECT, Vec::new())).await;
        one.close().await.ok();
        row.ok().flatten()?.try_get_by_index(0).ok()
    }
}

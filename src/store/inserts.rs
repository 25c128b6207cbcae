//! What the general jobs of the writer do to the database: rows of any table, and statements. The others stand in `writes`.

use sea_orm::{DbErr, Value};

use super::jobs::{Execute, Insert, Inserted};
use super::write::Transaction;

/// Inserts a row, unless one that serves as well is there.
pub(super) async fn apply_insert(tx: &Transaction, insert: &Insert) -> Result<Inserted, DbErr> {
    if let Some((which, values)) = &insert.unless {
        let sql = format!("SELECT id FROM {} WHERE {which} ORDER BY id LIMIT 1", insert.table);
        if let Some(row) = tx.rows(&sql, values.clone()).await?.first() {
            return Ok(Inserted { id: row.get(0)?, is_new: false });
        }
    }
    let names = insert.row.iter().map(|(name, _)| tx.quoted(name)).collect::<Vec<_>>().join(", ");
    let values = insert.row.iter().map(|(_, value)| value.clone()).collect();
    let ids = tx.insert(&format!("{} ({names})", insert.table), vec![values]).await?;
    Ok(Inserted { id: ids.first().copied().ok_or(DbErr::RecordNotInserted)?, is_new: true })
}

/// Whether a row that was inserted is there, once no other transaction that may have inserted it is under way.
pub(super) async fn is_inserted(tx: &Transaction, insert: &Insert, id: i64) -> Result<bool, DbErr> {
    tx.wait_for_inserts(insert.table).await?;
    let known = insert.row.iter().filter(|(_, value)| *value != value.as_null());
    let (which, mut values): (Vec<String>, Vec<Value>) =
        known.map(|(name, value)| (format!(" AND {} = ?", tx.quoted(name)), value.clone())).unzip();
    values.insert(0, id.into());
    let sql = format!("SELECT id FROM {} WHERE id = ?{}{}", insert.table, which.concat(), tx.for_update());
    Ok(!tx.rows(&sql, values).await?.is_empty())
}

/// Runs statements one after the other.
pub(super) async fn apply_statements(tx: &Transaction, execute: &Execute) -> Result<(), DbErr> {
    for (sql, values) in &execute.statements {
        tx.run(sql, values.clone()).await?;
    }
    Ok(())
}

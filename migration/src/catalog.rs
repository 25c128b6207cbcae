//! What a database has, as it says itself: tables, their columns and their indexes. An adopted one may have them in forms of its own.

use sea_orm_migration::SchemaManager;
use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend, DbErr, QueryResult, Statement};

/// All tables of a database.
pub struct Catalog {
    /// What kind of database it is.
    pub backend: DbBackend,
    tables: Vec<Table>,
    /// Whether `Users` and `users` are the same table.
    folds_tables: bool,
}

/// A table.
pub struct Table {
    /// Its name, as it was given.
    pub name: String,
    /// Its columns.
    pub columns: Vec<Column>,
    /// Its indexes.
    pub indexes: Vec<Index>,
}

/// A column.
pub struct Column {
    /// Its name, as it was given.
    pub name: String,
    /// Its type, in the database's words.
    pub kind: String,
    /// How many bytes its longest text has, where the database counts them.
    pub bytes: Option<i64>,
    /// Whether a row cannot be inserted without a value for it.
    pub is_required: bool,
}

/// An index.
pub struct Index {
    name: String,
    is_unique: bool,
    /// Its columns; nothing for an expression, a part of a column, or a part of the rows.
    columns: Vec<Option<String>>,
}

const MYSQL: [&str; 2] = [
    "SELECT CAST(table_name AS CHAR), CAST(column_name AS CHAR), CAST(column_type AS CHAR), CAST(character_octet_length AS SIGNED), \
     CAST(is_nullable = 'NO' AND column_default IS NULL AND extra NOT LIKE '%auto_increment%' AND extra NOT LIKE '%GENERATED%' AS SIGNED) \
     FROM information_schema.columns WHERE table_schema = DATABASE() ORDER BY table_name, ordinal_position",
    "SELECT CAST(table_name AS CHAR), CAST(index_name AS CHAR), CAST(non_unique = 0 AS SIGNED), \
     CAST(CASE WHEN sub_part IS NULL THEN column_name END AS CHAR) \
     FROM information_schema.statistics WHERE table_schema = DATABASE() ORDER BY table_name, index_name, seq_in_index",
];

const POSTGRES: [&str; 2] = [
    "SELECT c.relname::text, a.attname::text, format_type(a.atttypid, a.atttypmod)::text, NULL::bigint, \
     (a.attnotnull AND NOT a.atthasdef AND a.attidentity = '')::int::bigint \
     FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
     WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema()) \
     ORDER BY c.relname, a.attnum",
    "SELECT t.relname::text, i.relname::text, x.indisunique::int::bigint, (CASE WHEN x.indpred IS NULL THEN a.attname END)::text \
     FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class t ON t.oid = x.indrelid \
     CROSS JOIN LATERAL unnest(x.indkey) WITH ORDINALITY k(attnum, place) \
     LEFT JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = k.attnum \
     WHERE t.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema()) ORDER BY t.relname, i.relname, k.place",
];

const SQLITE: [&str; 2] = [
    "SELECT m.name, c.name, c.type, NULL, c.\"notnull\" AND c.dflt_value IS NULL AND c.pk = 0 AND c.hidden = 0 \
     FROM sqlite_master m, pragma_table_xinfo(m.name) c WHERE m.type IN ('table', 'view') ORDER BY m.name, c.cid",
    "SELECT m.name, l.name, l.\"unique\", CASE WHEN l.partial THEN NULL ELSE c.name END \
     FROM sqlite_master m, pragma_index_list(m.name) l, pragma_index_info(l.name) c WHERE m.type = 'table' ORDER BY m.name, l.name, c.seqno",
];

impl Catalog {
    /// Looks at the database.
    pub async fn read(m: &SchemaManager<'_>) -> Result<Self, DbErr> {
        let backend = m.get_database_backend();
        let rows = async |sql: &str| m.get_connection().query_all_raw(Statement::from_string(backend, sql)).await;
        let [columns, indexes] = match backend {
            DbBackend::MySql => MYSQL,
            DbBackend::Postgres => POSTGRES,
            _ => SQLITE,
        };
        let folds_tables = match backend {
            DbBackend::MySql => {
                let row = rows("SELECT CAST(@@lower_case_table_names <> 0 AS SIGNED)").await?;
                row.first().map_or(Ok(0), |row| row.try_get_by_index::<i64>(0))? == 1
            }
            backend => backend == DbBackend::Sqlite,
        };
        let mut tables: Vec<Table> = Vec::new();
        for row in rows(columns).await? {
            let name: String = row.try_get_by_index(0)?;
            if tables.last().is_none_or(|table| table.name != name) {
                tables.push(Table { name, columns: Vec::new(), indexes: Vec::new() });
            }
            if let Some(table) = tables.last_mut() {
                table.columns.push(column(&row)?);
            }
        }
        for row in rows(indexes).await? {
            let (table, name): (String, String) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
            let Some(table) = tables.iter_mut().find(|t| t.name == table) else { continue };
            if table.indexes.last().is_none_or(|index| index.name != name) {
                table.indexes.push(Index { name, is_unique: row.try_get_by_index::<i64>(2)? == 1, columns: Vec::new() });
            }
            if let Some(index) = table.indexes.last_mut() {
                index.columns.push(row.try_get_by_index(3)?);
            }
        }
        Ok(Self { backend, tables, folds_tables })
    }

    /// The table with this name.
    pub fn table(&self, name: &str) -> Option<&Table> {
        let is_it = |table: &&Table| if self.folds_tables { table.name.eq_ignore_ascii_case(name) } else { table.name == name };
        self.tables.iter().find(is_it)
    }

    /// A table that has this name in other letters, which makes it another table here.
    pub fn misspelt(&self, name: &str) -> Option<&Table> {
        if self.table(name).is_some() { None } else { self.tables.iter().find(|table| table.name.eq_ignore_ascii_case(name)) }
    }

    /// The column of a table.
    pub fn column(&self, table: &str, name: &str) -> Option<&Column> {
        self.table(table)?.columns.iter().find(|column| self.is_column(&column.name, name))
    }

    /// Whether the table has an index of this name, or one of the same columns under another.
    pub fn has_index(&self, table: &str, name: &str, is_unique: bool, columns: &[&str]) -> bool {
        let Some(table) = self.table(table) else { return false };
        table.indexes.iter().any(|index| {
            let mut pairs = index.columns.iter().zip(columns);
            let has_same = index.columns.len() == columns.len()
                && pairs.all(|(has, wanted)| has.as_ref().is_some_and(|has| self.is_column(has, wanted)));
            index.name.eq_ignore_ascii_case(name) || has_same && (index.is_unique || !is_unique)
        })
    }

    fn is_column(&self, name: &str, wanted: &str) -> bool {
        if self.backend == DbBackend::Postgres { name == wanted } else { name.eq_ignore_ascii_case(wanted) }
    }
}

fn column(row: &QueryResult) -> Result<Column, DbErr> {
    Ok(Column {
        name: row.try_get_by_index(1)?,
        kind: row.try_get_by_index::<String>(2)?.to_ascii_lowercase(),
        bytes: row.try_get_by_index(3)?,
        is_required: row.try_get_by_index::<i64>(4)? == 1,
    })
}

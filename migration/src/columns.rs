//! The few column and table forms in which the databases differ.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

use crate::catalog::Catalog;

/// A moment in UTC, to the millisecond at least; null when not given.
pub fn moment(m: &SchemaManager, name: &'static str) -> ColumnDef {
    let mut column = ColumnDef::new(name);
    match m.get_database_backend() {
        DbBackend::MySql => column.custom("datetime(3)").null(),
        _ => column.timestamp_with_time_zone().null(),
    };
    column
}

/// Text without a length worth naming.
pub fn long_text(m: &SchemaManager, name: &'static str) -> ColumnDef {
    let mut column = ColumnDef::new(name);
    match m.get_database_backend() {
        DbBackend::MySql => column.custom("longtext").not_null(),
        _ => column.text().not_null(),
    };
    column
}

/// The key of a repeatable send: 32 visible characters of ASCII, or null.
pub fn send_key(m: &SchemaManager) -> ColumnDef {
    let mut column = ColumnDef::new("send_key");
    match m.get_database_backend() {
        DbBackend::MySql => column.custom("char(32) character set ascii collate ascii_bin").null(),
        _ => column.string_len(32).null(),
    };
    column
}

/// A column whose values are those of another table's `id`: a foreign key wants both of one type, and an adopted table has its own.
pub fn reference(catalog: &Catalog, name: &'static str, table: &str) -> ColumnDef {
    let mut column = ColumnDef::new(name);
    match catalog.column(table, "id") {
        Some(id) if catalog.backend != DbBackend::Sqlite => column.custom(Alias::new(id.kind.as_str())).not_null(),
        _ => column.big_integer().not_null(),
    };
    column
}

/// Makes MariaDB and MySQL store any script and emoji, and compare texts by their bytes as the others do. The row format is that of today, also
/// where the server's default is an old one, in which no index may be longer than 767 bytes.
pub fn utf8(backend: DbBackend, mut table: TableCreateStatement) -> TableCreateStatement {
    if backend == DbBackend::MySql {
        table.engine("InnoDB").character_set("utf8mb4").collate("utf8mb4_bin").extra("ROW_FORMAT=DYNAMIC");
    }
    table
}

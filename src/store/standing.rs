//! How the tables stand, for an operator: to the steps of this program, to what a server does with them, and their rows to each other. Nothing
//! is changed.

use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, DbErr, Statement};

use super::examine::value;
use super::{failure::describe, trial};
use crate::finding::Finding;

const SCHEMA: &str = "migrations";
const TABLES: &str = "tables";
const ROWS: &str = "rows";

/// So many rows are looked through.
const MOST: i64 = 2_000_000;

/// Looks at the tables of a database.
pub async fn examine(one: &DatabaseConnection) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Err(e) = look(one, &mut findings).await {
        findings.push(Finding::problem(SCHEMA, describe(&e), "see to the database first"));
    }
    findings
}

async fn look(one: &DatabaseConnection, findings: &mut Vec<Finding>) -> Result<(), DbErr> {
    let faults = migration::faults(one).await?;
    let is_usable = faults.is_empty();
    findings.extend(faults.into_iter().map(|fault| Finding::problem(TABLES, fault.found, fault.advice)));
    if one.get_database_backend() == DbBackend::MySql {
        mysql(one, findings).await?;
    }
    let standings = match migration::status(one).await {
        Err(e) if e.to_string().contains("is missing") => {
            let advice = "run the version of tidings that took it, or a newer one";
            findings.push(Finding::problem(SCHEMA, "a step has been taken that this version does not know", advice));
            return Ok(());
        }
        standings => standings?,
    };
    let pending: Vec<&str> = standings.iter().filter(|s| s.would_add.is_some()).map(|s| s.step.as_str()).collect();
    if !pending.is_empty() {
        let advice = "make a backup, see by `tidings migrate --status` what they add, then run `tidings migrate`; or start the server, which does it";
        findings.push(Finding::warning(SCHEMA, format!("pending: {}", pending.join(", ")), advice));
        if let Some(lacking) = lacking_rights(one).await? {
            let advice =
                "let an administrator run `tidings migrate` with a DATABASE_URL that has them: to serve, the rights to rows are enough";
            findings.push(Finding::problem(SCHEMA, format!("steps are pending, and this user {lacking}"), advice));
        }
        return Ok(());
    }
    findings.push(Finding::ok(SCHEMA, format!("all {} steps are taken", standings.len())));
    // A file was opened to be read only: whether it can be written is seen by its rights.
    if is_usable && one.get_database_backend() != DbBackend::Sqlite {
        let sentences = trial::try_all(one).await?;
        let advice = "without it the server does not start";
        findings.extend(sentences.into_iter().map(|sentence| Finding::problem(TABLES, sentence.trim_end_matches('.'), advice)));
    }
    if is_usable { orphans(one, findings).await } else { Ok(()) }
}

/// Character sets that cannot hold every text, and engines that cannot take a write back.
async fn mysql(one: &DatabaseConnection, findings: &mut Vec<Finding>) -> Result<(), DbErr> {
    let list = |what: &str, from: &str| {
        format!(
            "SELECT CAST(GROUP_CONCAT(DISTINCT {what} SEPARATOR ', ') AS CHAR) FROM information_schema.{from} AND table_schema = DATABASE()"
        )
    };
    const OURS: &str = "table_name IN ('users', 'conversations', 'messages', 'support_tickets', 'support_messages')";
    let narrow = format!(
        "columns WHERE {OURS} AND character_set_name <> 'utf8mb4' AND column_name IN ('message_text', 'subject', 'description', 'username', \
         'email')"
    );
    let columns = list("CONCAT(table_name, '.', column_name, ' (', character_set_name, ')')", &narrow);
    if let Some(columns) = value::<Option<String>>(one, &columns).await? {
        let tables: String = value(one, &list("CONCAT('ALTER TABLE ', table_name, ' CONVERT TO CHARACTER SET utf8mb4')", &narrow)).await?;
        findings.push(Finding::warning(TABLES, format!("no emoji can be stored in {columns}"), format!("after a backup: {tables}")));
    }
    let old = format!("tables WHERE {OURS} AND engine <> 'InnoDB'");
    if let Some(tables) = value::<Option<String>>(one, &list("CONCAT(table_name, ' (', engine, ')')", &old)).await? {
        let alter: String = value(one, &list("CONCAT('ALTER TABLE ', table_name, ' ENGINE=InnoDB')", &old)).await?;
        let found = format!("what is written to {tables} may be half done after a failure");
        findings.push(Finding::warning(TABLES, found, format!("after a backup: {alter}")));
    }
    Ok(())
}

/// What a user lacks who would take the steps, as far as the server tells.
async fn lacking_rights(one: &DatabaseConnection) -> Result<Option<String>, DbErr> {
    match one.get_database_backend() {
        DbBackend::MySql => {
            let rows = one.query_all_raw(Statement::from_string(DbBackend::MySql, "SHOW GRANTS")).await?;
            let grants = rows.iter().map(|row| row.try_get_by_index(0)).collect::<Result<Vec<String>, _>>()?;
            let database: Option<String> = value(one, "SELECT DATABASE()").await?;
            let lacking = not_granted(&grants, &database.unwrap_or_default());
            Ok((!lacking.is_empty()).then(|| format!("may not {}", lacking.join(", "))))
        }
        DbBackend::Postgres => {
            if !value::<Option<bool>>(one, "SELECT has_schema_privilege(current_schema(), 'CREATE')").await?.unwrap_or(false) {
                return Ok(Some("may not make tables (GRANT CREATE ON SCHEMA)".to_owned()));
            }
            let others = "SELECT string_agg(relname::text, ', ') FROM pg_class WHERE relkind IN ('r', 'p') AND NOT pg_has_role(relowner, 'USAGE') \
                          AND relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema()) AND relname IN ('users', \
                          'conversations', 'messages', 'support_tickets', 'support_messages')";
            Ok(value::<Option<String>>(one, others).await?.map(|tables| format!("does not own {tables}")))
        }
        _ => Ok(None),
    }
}

/// Which of the rights to change a schema no grant gives. What a role gives is not known.
fn not_granted(grants: &[String], database: &str) -> Vec<&'static str> {
    let mut lacking = vec!["CREATE", "ALTER", "INDEX"];
    for grant in grants {
        let Some((rights, rest)) = grant.trim_start_matches("GRANT ").split_once(" ON ") else { return Vec::new() };
        let scope = rest.split(" TO ").next().unwrap_or_default().replace(['`', '\\'], "");
        if scope == "*.*" || scope == format!("{database}.*") || scope.contains('%') {
            let has = |right: &str| rights == "ALL PRIVILEGES" || rights.split(", ").any(|granted| granted == right);
            lacking.retain(|right| !has(right));
        }
    }
    lacking
}

/// Rows that nobody is shown.
async fn orphans(one: &DatabaseConnection, findings: &mut Vec<Finding>) -> Result<(), DbErr> {
    let rows = migration::rows(one, "messages").await?.max(migration::rows(one, "support_messages").await?);
    if rows > MOST {
        findings.push(Finding::ok(ROWS, format!("too many to be looked through: about {rows}")));
        return Ok(());
    }
    let gone = |of: &str, by: &str, to: &str| format!("SELECT COUNT(*) FROM {of} m LEFT JOIN {to} p ON p.id = m.{by} WHERE p.id IS NULL");
    let stranger = "SELECT COUNT(*) FROM messages m JOIN conversations c ON c.id = m.conversation_id \
                    WHERE m.receiver_id <> c.user1_id AND m.receiver_id <> c.user2_id";
    let advice = "nothing needs to be done; to be rid of them, delete them after a backup";
    for (sql, what) in [
        (gone("messages", "conversation_id", "conversations"), "messages whose conversation is gone: nobody is shown or counted them"),
        (gone("support_messages", "ticket_id", "support_tickets"), "support messages whose ticket is gone: nobody is shown them"),
        (stranger.to_owned(), "messages to a user who has no part in their conversation: nobody is counted them"),
    ] {
        let count: i64 = value(one, &sql).await?;
        if count > 0 {
            findings.push(Finding::warning(ROWS, format!("{count} {what}"), advice));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rights_to_change_a_schema_are_read_from_the_grants() {
        let lacking = |grants: &[&str]| not_granted(&grants.iter().map(|g| (*g).to_owned()).collect::<Vec<_>>(), "my_trips");
        let rows = "GRANT SELECT, INSERT, UPDATE, DELETE ON `my\\_trips`.* TO `app`@`%`";
        assert_eq!(lacking(&["GRANT USAGE ON *.* TO `app`@`%`", rows]), ["CREATE", "ALTER", "INDEX"]);
        assert_eq!(lacking(&["GRANT ALL PRIVILEGES ON `my_trips`.* TO `app`@`%`"]), [] as [&str; 0]);
        assert_eq!(lacking(&["GRANT CREATE, ALTER ON `my_trips`.* TO `app`@`%`"]), ["INDEX"]);
        assert_eq!(lacking(&["GRANT ALL PRIVILEGES ON `other`.* TO `app`@`%`"]), ["CREATE", "ALTER", "INDEX"]);
        assert_eq!(lacking(&["GRANT `role` TO `app`@`%`", rows]), [] as [&str; 0]);
    }
}

//! What a server does to each table, tried on no row: whether the columns are there and can be compared, and whether the database's user may.
//! Nothing is changed.

use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, DbErr, Statement};

use super::failure::{describe, is_denied};

/// A table, the columns that the server writes or compares, and what it does to its rows.
struct Use {
    table: &'static str,
    columns: &'static str,
    acts: &'static [&'static str],
}

/// `users` is the application's: that registrations are written there is optional.
const USES: [Use; 8] = [
    Use { table: "users", columns: "username, email, password, verified, role", acts: &["SELECT"] },
    Use { table: "conversations", columns: "user1_id, user2_id, created_at, last_message_at", acts: &["SELECT", "INSERT", "UPDATE"] },
    Use {
        table: "messages",
        columns: "conversation_id, sender_id, receiver_id, message_text, is_read, read_at, created_at, send_key",
        acts: &["SELECT", "INSERT", "UPDATE"],
    },
    Use {
        table: "support_tickets",
        columns: "user_id, subject, description, category, status, priority, created_at, updated_at",
        acts: &["SELECT", "INSERT", "UPDATE"],
    },
    Use {
        table: "support_messages",
        columns: "ticket_id, sender_id, message_text, is_admin, created_at, send_key",
        acts: &["SELECT", "INSERT"],
    },
    Use { table: "recovery_sessions", columns: "pid, user_id, follows, used_at", acts: &["SELECT", "INSERT", "UPDATE", "DELETE"] },
    Use { table: "banned_users", columns: "user_id, banned_at", acts: &["SELECT", "INSERT", "DELETE"] },
    Use { table: "database_identity", columns: "id, value", acts: &["SELECT", "INSERT"] },
];

/// What the server cannot do, in a sentence for each table that says what to do.
///
/// # Errors
/// When the database does not answer.
pub async fn try_all(one: &DatabaseConnection) -> Result<Vec<String>, DbErr> {
    let backend = one.get_database_backend();
    let mut sentences = Vec::new();
    let has_trips = migration::has_column(one, "conversations", "trip_id").await?;
    for Use { table, columns, acts } in USES {
        let columns = if has_trips && table == "conversations" { format!("{columns}, trip_id") } else { columns.to_owned() };
        for act in acts {
            let Err(e) = one.execute_raw(Statement::from_string(backend, on_no_row(act, table, &columns))).await else { continue };
            let advice = if is_denied(&e) {
                format!("let an administrator GRANT {} ON {table} TO the user of DATABASE_URL", acts.join(", "))
            } else {
                "compare the table with docs/legacy-schema.sql".to_owned()
            };
            sentences.push(format!("The table {table} cannot be used ({}): {advice}.", describe(&e).trim_end_matches('.')));
            break;
        }
    }
    if backend == DbBackend::Postgres {
        // No row, no number: inserting none does not tell.
        let sql = "SELECT string_agg(s::text, ', ') FROM (SELECT pg_get_serial_sequence(t, 'id') s FROM unnest(ARRAY['conversations', 'messages', \
                    'support_tickets', 'support_messages']) t) q WHERE s IS NOT NULL AND NOT has_sequence_privilege(s, 'USAGE')";
        let row = one.query_one_raw(Statement::from_string(backend, sql)).await?;
        if let Some(sequences) = row.map(|row| row.try_get_by_index::<Option<String>>(0)).transpose()?.flatten() {
            sentences
                .push(format!("No ids can be made: let an administrator GRANT USAGE ON SEQUENCE {sequences} TO the user of DATABASE_URL."));
        }
    }
    Ok(sentences)
}

fn on_no_row(act: &str, table: &str, columns: &str) -> String {
    let first = columns.split(',').next().unwrap_or_default();
    match act {
        "INSERT" => format!("INSERT INTO {table} ({columns}) SELECT {columns} FROM {table} WHERE 1 = 0"),
        "UPDATE" => format!("UPDATE {table} SET {first} = {first} WHERE 1 = 0"),
        "DELETE" => format!("DELETE FROM {table} WHERE 1 = 0"),
        _ => format!("SELECT {columns} FROM {table} WHERE 1 = 0"),
    }
}

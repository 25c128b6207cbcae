//! A legacy database, filled with rows of every odd kind that years of use leave behind.

use super::{Database, database};

/// The tables as the legacy backend made them.
const SCHEMA: &str = include_str!("../../../docs/legacy-schema.sql");

/// Who is in it. The ids are the rows'.
pub const ANN: i64 = 1;
/// Has a user name and texts of 4-byte characters.
pub const BOB: i64 = 2;
/// An agency that no admin has verified; the password is [`PASSWORD`].
pub const AGENCY: i64 = 3;
/// Has all that may be null as null.
pub const NULLS: i64 = 4;
/// Takes part in 2 000 conversations.
pub const BUSY: i64 = 5;
/// An agency that an admin has verified.
pub const VERIFIED: i64 = 6;
/// Whose messages are there, and who is not.
pub const GONE: i64 = 999;
/// Of the two agencies.
pub const PASSWORD: &str = "legacy password";

/// The conversation of Ann and Bob, in the order of new rows.
pub const ANN_BOB: i64 = 1;
/// Of the agency and Ann: an old row, the higher id first.
pub const AGENCY_ANN: i64 = 2;
/// Of Ann and the one who is gone.
pub const ANN_GONE: i64 = 3;
/// Of Ann and the one of nulls: no date at all.
pub const UNDATED: i64 = 4;
/// The users with whom the busy one talks are those from this id on.
pub const CROWD: i64 = 1000;
/// How many they are.
pub const CROWD_SIZE: i64 = 2000;

/// A legacy database on MySQL if that is under test, else on MariaDB; nothing, and a printed reason, when there is no server to have it.
pub async fn database() -> Option<Database> {
    database_of(SCHEMA).await
}

/// The tables alone, drifted: `drift` is told the statements that make them, and returns others.
pub async fn tables(drift: impl Fn(&str) -> String) -> Option<Database> {
    empty(&drift(SCHEMA)).await
}

async fn empty(schema: &str) -> Option<Database> {
    let (Some(server), _) = database::mysql_or_mariadb() else {
        database::absent("there is no MariaDB (TIDINGS_TEST_MARIADB)");
        return None;
    };
    let database = Database::on(&server).await;
    for statement in schema.split(";\n").filter(|s| !s.trim().is_empty()) {
        database.run(statement).await;
    }
    Some(database)
}

async fn database_of(schema: &str) -> Option<Database> {
    let database = empty(schema).await?;
    people(&database).await;
    conversations(&database).await;
    messages(&database).await;
    tickets(&database).await;
    Some(database)
}

async fn people(database: &Database) {
    let hash = bcrypt::hash(PASSWORD, 4).expect("a password is hashed");
    let users = [
        format!("({ANN}, 'ann', 'Ann@Example.Test', '{hash}', 0, 1, 'traveller', '1999-12-31', '/a.png')"),
        format!("({BOB}, '🦜 bob Ж', 'bob@example.test', '{hash}', 1, 1, 'traveller', NULL, NULL)"),
        format!("({AGENCY}, 'agency', 'agency@example.test', '{hash}', 0, NULL, 'agency', NULL, NULL)"),
        format!("({NULLS}, 'nulls', 'nulls@example.test', '{hash}', NULL, NULL, NULL, NULL, NULL)"),
        format!("({BUSY}, 'busy', 'busy@example.test', '{hash}', 1, 1, 'traveller', NULL, NULL)"),
        format!("({VERIFIED}, 'verified', 'verified@example.test', '{hash}', 1, 1, 'agency', NULL, NULL)"),
    ];
    let into = "INSERT INTO users (id, username, email, password, verified, isProfileCompleted, role, dateOfBirth, avatar) VALUES";
    database.run(&format!("{into} {}", users.join(", ")).replace("isProfileCompleted", "\"isProfileCompleted\"")).await;
    rows(database, "INSERT INTO users (id, username, email, password) VALUES", |n| {
        format!("({}, 'crowd', 'crowd{n}@example.test', '-')", CROWD + n)
    })
    .await;
}

async fn conversations(database: &Database) {
    let into = "INSERT INTO conversations (id, user1_id, user2_id, trip_id, created_at, last_message_at) VALUES";
    let moment = "'2024-02-29 23:59:59'";
    let pairs = [
        format!("({ANN_BOB}, {ANN}, {BOB}, 7, {moment}, {moment})"),
        format!("({AGENCY_ANN}, {AGENCY}, {ANN}, 0, {moment}, NULL)"),
        format!("({ANN_GONE}, {ANN}, {GONE}, 0, {moment}, {moment})"),
        format!("({UNDATED}, {ANN}, {NULLS}, 0, NULL, NULL)"),
    ];
    database.run(&format!("{into} {}", pairs.join(", "))).await;
    // Every other one in the order of old rows.
    rows(database, into, |n| {
        let (low, high) = if n % 2 == 0 { (BUSY, CROWD + n) } else { (CROWD + n, BUSY) };
        format!("({}, {low}, {high}, {n}, {moment}, {moment})", 100 + n)
    })
    .await;
}

async fn messages(database: &Database) {
    let into = "INSERT INTO messages (conversation_id, sender_id, receiver_id, message_text, is_read, read_at, created_at) VALUES";
    let moment = "'2024-02-29 23:59:59'";
    let all = [
        format!("({ANN_BOB}, {BOB}, {ANN}, 'first', 1, {moment}, '2024-02-28 00:00:00')"),
        format!("({ANN_BOB}, {BOB}, {ANN}, '👩‍👩‍👧‍👦 𝔘𝔫𝔦 \u{202e}rtl', 0, NULL, {moment})"),
        format!("({ANN_BOB}, {BOB}, {ANN}, 'a null flag is unread', NULL, NULL, {moment})"),
        format!("({ANN_BOB}, {ANN}, {BOB}, 'read, nobody knows when', 1, NULL, NULL)"),
        format!("({ANN_BOB}, {ANN}, {BOB}, 'of the same second', 0, NULL, {moment})"),
        format!("({ANN_GONE}, {GONE}, {ANN}, 'from one who is gone', 0, NULL, {moment})"),
    ];
    database.run(&format!("{into} {}", all.join(", "))).await;
    for copy in 0..2 {
        rows(database, into, |n| format!("({}, {}, {BUSY}, 'message {copy} of {n}', {copy}, NULL, {moment})", 100 + n, CROWD + n)).await;
    }
}

async fn tickets(database: &Database) {
    let tickets = [
        format!("(1, {ANN}, 'odd case', 'd', 'Booking', 'In Progress', 'HIGH', '2024-01-01 00:00:01', NULL)"),
        format!("(2, {ANN}, 'nulls', 'd', NULL, NULL, NULL, NULL, NULL)"),
        format!("(3, {ANN}, 'unknown', 'd', 'Weather', 'Escalated', 'urgent!', '2024-01-01 00:00:03', '2024-01-01 00:00:04')"),
        format!("(4, {GONE}, 'of one who is gone', '🎫', 'general', 'open', 'low', '2024-01-01 00:00:04', '2024-01-01 00:00:04')"),
    ];
    let into = "INSERT INTO support_tickets (id, user_id, subject, description, category, status, priority, created_at, updated_at) VALUES";
    database.run(&format!("{into} {}", tickets.join(", "))).await;
    let messages = [
        format!("(1, {ANN}, 'help 🆘', 0, '2024-01-01 00:00:01')"),
        format!("(1, {GONE}, 'a null flag', NULL, NULL)"),
        format!("(1, {GONE}, 'from an admin who is gone', 1, '2024-01-01 00:00:01')"),
    ];
    let into = "INSERT INTO support_messages (ticket_id, sender_id, message_text, is_admin, created_at) VALUES";
    database.run(&format!("{into} {}", messages.join(", "))).await;
}

/// As many rows as the crowd is large.
async fn rows(database: &Database, into: &str, row: impl Fn(i64) -> String) {
    let all: Vec<String> = (0..CROWD_SIZE).map(row).collect();
    for some in all.chunks(500) {
        database.run(&format!("{into} {}", some.join(", "))).await;
    }
}

/// The legacy backend stores a message in two statements, and knows nothing of columns that others added.
pub async fn send(database: &Database, conversation: i64, sender: i64, receiver: i64, text: &str) {
    let text = database.quoted(text);
    database
        .run(&format!(
            "INSERT INTO messages (conversation_id, sender_id, receiver_id, message_text) VALUES ({conversation}, {sender}, {receiver}, {text})"
        ))
        .await;
    database.run(&format!("UPDATE conversations SET last_message_at = NOW() WHERE id = {conversation}")).await;
}

/// What the schema is: a line for each column, index column and foreign key.
pub async fn schema(database: &Database) -> Vec<String> {
    let mut lines = Vec::new();
    for sql in [
        "SELECT CONCAT_WS(' ', 'column', table_name, column_name, column_type, is_nullable, IFNULL(column_default, '-'), extra, \
         IFNULL(collation_name, '-'), IFNULL(generation_expression, '-')) FROM information_schema.columns WHERE table_schema = DATABASE()",
        "SELECT CONCAT_WS(' ', 'index', table_name, index_name, non_unique, seq_in_index, column_name) FROM information_schema.statistics \
         WHERE table_schema = DATABASE()",
        "SELECT CONCAT_WS(' ', 'foreign key', table_name, constraint_name, referenced_table_name, delete_rule, update_rule) \
         FROM information_schema.referential_constraints WHERE constraint_schema = DATABASE()",
        "SELECT CONCAT_WS(' ', 'table', table_name, engine, table_collation) FROM information_schema.tables WHERE table_schema = DATABASE()",
    ] {
        lines.extend(database.all::<String>(sql).await);
    }
    lines.sort();
    lines
}

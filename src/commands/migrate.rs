//! `tidings migrate`: the schema brought up to date, or what that would do.

use tidings::{config::Settings, store::Store};

use super::say;

/// Takes the pending steps, which the log tells one by one; or, with `status`, changes nothing and says which they are.
pub async fn run(settings: &Settings, status: bool) -> Result<(), String> {
    if !status {
        Store::open(&settings.database_url, &settings.database, settings.redis_url.is_some()).await?.close().await;
        say("The schema is up to date.");
        return Ok(());
    }
    let (steps, faults) = Store::status(&settings.database_url).await?;
    for step in steps {
        say(&format!("{} {}", if step.would_add.is_some() { "pending" } else { "applied" }, step.step));
        for addition in step.would_add.into_iter().flatten() {
            say(&format!("        would add {addition}"));
        }
    }
    for fault in faults {
        say(&format!("no server starts: {fault}"));
    }
    Ok(())
}

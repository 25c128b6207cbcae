//! `tidings serve`: the server, until it is told to stop.

use tidings::{app::Server, config::Settings};

use super::{reachable, say, until_told_to_stop};

/// Serves.
pub async fn run(settings: Settings) -> Result<(), String> {
    let database = settings.sqlite_file().map_or_else(|| "the configured server".to_owned(), |file| file.display().to_string());
    let server = Server::start(settings).await?;
    let (address, curl) = (server.address, reachable(server.address));
    if let Some(address) = server.metrics_address {
        tracing::info!(%address, "metrics have a port of their own");
    }
    say(&format!(
        "tidings listens on http://{address}\ndatabase: {database}\n\
         try: curl http://{curl}/readyz, and `tidings demo` for users and commands to play with"
    ));
    server.run(until_told_to_stop()).await?;
    tracing::info!("stopping");
    tokio::select! {
        () = server.stop() => {}
        () = until_told_to_stop() => {}
    }
    Ok(())
}

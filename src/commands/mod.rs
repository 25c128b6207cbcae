//! The commands of the command line, a file each, and what they share: how they speak, and when they stop.

use std::io::Write;

pub mod backup;
pub mod config;
pub mod demo;
pub mod doctor;
pub mod migrate;
pub mod serve;
pub mod user;

/// Prints lines, if anybody reads them: a server goes on when nobody does.
fn say(lines: &str) {
    writeln!(std::io::stdout(), "{lines}").ok();
}

/// An address as a client on this machine reaches it.
fn reachable(address: std::net::SocketAddr) -> String {
    if address.ip().is_unspecified() { format!("localhost:{}", address.port()) } else { address.to_string() }
}

/// Waits for SIGTERM or Ctrl-C.
#[cfg(unix)]
async fn until_told_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

#[cfg(not(unix))]
async fn until_told_to_stop() {
    tokio::signal::ctrl_c().await.ok();
}

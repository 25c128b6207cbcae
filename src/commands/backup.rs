//! `tidings backup`: a copy of the SQLite database, with how far it is.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tidings::store::Store;

use super::{say, until_told_to_stop};

/// Copies; a signal ends it early.
pub async fn run(url: String, file: PathBuf) -> Result<(), String> {
    let stop = Arc::new(AtomicBool::new(false));
    let (stopping, target) = (stop.clone(), file.clone());
    let mut copying = tokio::task::spawn_blocking(move || {
        let mut last = None;
        Store::back_up(&url, &target, &stopping, |percent| {
            if last.replace(percent) != Some(percent) {
                say(&format!("copied {percent} %"));
            }
        })
    });
    let outcome = tokio::select! {
        outcome = &mut copying => outcome,
        () = until_told_to_stop() => {
            stop.store(true, Ordering::Relaxed);
            copying.await
        }
    };
    let backup = outcome.map_err(|e| e.to_string())??;
    say(&format!("{} is a backup of {} bytes, checked and whole. To restore it: {}", file.display(), backup.bytes, backup.restore));
    Ok(())
}

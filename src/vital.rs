//! The tasks without which a server is none: the writer, the watches, the line to the other nodes. One that panics ends the process, with an
//! error, so that whoever supervises it starts it again; a server that hangs on without them would be worse.

use std::{future::Future, sync::Arc};

use tokio::{runtime::Handle, sync::watch, task::JoinHandle};

/// Starts such tasks, and knows the first that has died.
#[derive(Clone)]
pub struct Vital(Arc<watch::Sender<Option<&'static str>>>);

impl Default for Vital {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }
}

impl Vital {
    /// Starts a task. It may end; it may not panic.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        tokio::spawn(self.watched(name, task))
    }

    /// Starts a task that blocks, on a thread of its own.
    pub fn spawn_thread(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let (task, runtime) = (self.watched(name, task), Handle::current());
        std::thread::spawn(move || runtime.block_on(task));
    }

    fn watched(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) -> impl Future<Output = ()> + Send + 'static {
        let watched = Watched { name, died: self.0.clone() };
        async move {
            task.await;
            drop(watched);
        }
    }

    /// Waits until one has died, and tells which.
    pub async fn died(&self) -> &'static str {
        let mut died = self.0.subscribe();
        let name = died.wait_for(Option::is_some).await.ok().and_then(|name| *name);
        name.unwrap_or_default()
    }
}

struct Watched {
    name: &'static str,
    died: Arc<watch::Sender<Option<&'static str>>>,
}

impl Drop for Watched {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.died.send_if_modified(|died| died.is_none() && died.replace(self.name).is_none());
        }
    }
}

//! A wire to a database server that breaks at a COMMIT.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use sea_orm::DbBackend;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::{DEADLINE, DatabaseServer};

/// A wire to a database server that breaks, once, at the next COMMIT.
pub struct Wire {
    address: SocketAddr,
    backend: DbBackend,
    breaks: Arc<AtomicU8>,
}

/// When a [`Wire`] breaks.
#[derive(Clone, Copy, Debug)]
pub enum Break {
    /// The server never hears of the COMMIT.
    Before = 1,
    /// The server does it, and its answer is lost.
    After = 2,
}

impl Wire {
    /// A wire to a server.
    pub async fn to(server: &DatabaseServer) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it has an address");
        let (breaks, port) = (Arc::new(AtomicU8::new(0)), server.port);
        let when = breaks.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, port, when.clone()));
            }
        });
        Self { address, backend: server.backend, breaks }
    }

    /// The server's URL by way of this wire.
    pub fn url(&self) -> String {
        DatabaseServer::url_at(self.backend, self.address.port())
    }

    /// The next COMMIT breaks it.
    pub fn break_at_commit(&self, when: Break) {
        self.breaks.store(when as u8, Ordering::SeqCst);
    }

    /// Waits until a COMMIT has broken it.
    pub async fn broken(&self) {
        let commit = async {
            while self.breaks.load(Ordering::SeqCst) != 0 {
                tokio::task::yield_now().await;
            }
        };
        timeout(DEADLINE, commit).await.expect("something is committed");
    }
}

async fn carry(mut client: TcpStream, port: u16, breaks: Arc<AtomicU8>) {
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    let (mut asked, mut answered) = (vec![0; 65536], vec![0; 65536]);
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let Ok(n @ 1..) = read else { return };
                // Not the words "READ COMMITTED" of a new connection.
                let is_commit = asked[..n].strip_suffix(b"\0").unwrap_or(&asked[..n]).ends_with(b"COMMIT");
                let breaks = if is_commit { breaks.swap(0, Ordering::SeqCst) } else { 0 };
                if breaks == Break::Before as u8 {
                    return;
                }
                if server.write_all(&asked[..n]).await.is_err() {
                    return;
                }
                if breaks == Break::After as u8 {
                    // The answer says that it is done; nobody is told.
                    timeout(DEADLINE, server.read(&mut answered)).await.expect("the server answers").ok();
                    return;
                }
            }
            read = server.read(&mut answered) => {
                let Ok(n @ 1..) = read else { return };
                if client.write_all(&answered[..n]).await.is_err() {
                    return;
                }
            }
        }
    }
}

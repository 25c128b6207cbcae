//! What an application does with sessions.

use std::sync::Arc;

use bytes::Bytes;
use engineioxide_core::Str;

use crate::socket::{DisconnectReason, Socket};

/// Receives what happens to sessions. The methods run on the tasks of the connections and must not block.
pub trait EngineIoHandler: std::fmt::Debug + Send + Sync + 'static {
    /// What the application keeps with each session.
    type Data: Default + Send + Sync + 'static;

    /// A session has begun.
    fn on_connect(self: Arc<Self>, socket: Arc<Socket<Self::Data>>);

    /// A session is over. Called once for each that has begun.
    fn on_disconnect(&self, socket: Arc<Socket<Self::Data>>, reason: DisconnectReason);

    /// A text message has come.
    fn on_message(self: &Arc<Self>, msg: Str, socket: Arc<Socket<Self::Data>>);

    /// A binary message has come.
    fn on_binary(self: &Arc<Self>, data: Bytes, socket: Arc<Socket<Self::Data>>);
}

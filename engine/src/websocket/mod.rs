//! The websocket transport.

mod connection;
mod frames;
pub mod handshake;
mod session;

pub use session::{Probing, begin, upgrade};

//! The websocket transport.

mod connection;
mod frames;
#[cfg(test)]
mod frames_at_random;
pub mod handshake;
mod session;

pub use session::{Probing, begin, upgrade};

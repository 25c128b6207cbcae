#![doc = include_str!("../README.md")]

mod clock;
pub mod config;
mod engine;
pub mod handler;
mod packets;
mod polling;
mod queue;
pub mod service;
pub mod socket;
pub mod transport;
mod websocket;

pub use engineioxide_core::{ProtocolVersion, Str, TransportType};
pub use socket::{DisconnectReason, Socket};
pub use transport::{FirstMessages, Transport};

#[doc(hidden)]
#[cfg(feature = "__test_harness")]
pub use engineioxide_core::{OpenPacket, Packet, PacketParseError};

//! tidings: a Socket.IO-compatible messaging server. The binary in `main.rs` is a thin command line over this library.

pub mod app;
pub mod auth;
pub mod chat;
pub mod clock;
pub mod cluster;
pub mod config;
mod cors;
pub mod error;
mod faults;
pub mod finding;
mod folding;
pub mod limits;
pub mod logging;
pub mod metrics;
pub mod origin;
pub mod panics;
mod passwords;
mod proxy;
mod rest;
mod socket;
pub mod store;
pub mod system;
pub mod vital;
pub mod wire;

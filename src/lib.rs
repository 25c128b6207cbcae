//! tidings: a Socket.IO-compatible messaging server. The binary in `main.rs` is a thin command line over this library.

pub mod app;
pub mod auth;
pub mod chat;
pub mod clock;
mod cluster;
pub mod config;
pub mod error;
pub mod limits;
pub mod origin;
mod proxy;
mod rest;
mod socket;
pub mod store;
pub mod wire;

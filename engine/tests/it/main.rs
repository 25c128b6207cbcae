//! The engine behind a real HTTP server, with real clients, over connections in memory: by the clock of the runtime, which stands still while
//! anybody works.

mod closing;
mod polling;
mod support;
mod upgrading;
mod upgrading_at_random;
mod websockets;

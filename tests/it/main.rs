//! The integration tests: each starts the real server on a free port over a fresh database, and talks to it by REST and websocket only.

mod accounts;
mod adopted;
mod architecture;
mod connecting;
mod conversations;
mod guests;
mod history;
mod joins;
mod matrix;
mod messages;
mod nudges;
mod order;
mod origins;
mod outage;
mod polling;
mod presence;
mod readme;
mod reads;
mod recovery;
mod robustness;
mod soak;
mod support;
mod ticket_messages;
mod tickets;
mod typing;

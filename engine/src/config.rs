//! Settings of a server, with the defaults of the official one.

use std::{borrow::Cow, time::Duration};

use engineioxide_core::TransportType;

/// The settings.
#[derive(Debug, Clone)]
pub struct EngineIoConfig {
    /// Requests for this path and those below are answered, all others passed on. `/engine.io`.
    pub req_path: Cow<'static, str>,
    /// How long after the handshake or the last pong a client is pinged. 25 s.
    pub ping_interval: Duration,
    /// How long a client may take to answer a ping. 20 s.
    pub ping_timeout: Duration,
    /// How long a websocket may take to become the transport of a polling session. 10 s.
    pub upgrade_timeout: Duration,
    /// How many emits may wait for a client, each with what is attached to it. 128.
    pub max_buffer_size: usize,
    /// How many bytes the body of a POST may have, and about how many one of a poll's response has. 100 kB.
    pub max_payload: u64,
    /// Not used: what is read from websockets passes through a buffer that all connections of a thread share.
    pub ws_read_buffer_size: usize,
    /// How many bytes a websocket message may have. 64 MiB.
    pub ws_max_message_size: usize,
    /// How many bytes a websocket frame may have. 16 MiB.
    pub ws_max_frame_size: usize,
    /// The allowed transports: a bit for each.
    pub transports: u8,
}

impl Default for EngineIoConfig {
    fn default() -> Self {
        Self {
            req_path: "/engine.io".into(),
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(20),
            upgrade_timeout: Duration::from_secs(10),
            max_buffer_size: 128,
            max_payload: 100_000,
            ws_read_buffer_size: 4096,
            ws_max_message_size: 64 << 20,
            ws_max_frame_size: 16 << 20,
            transports: TransportType::Polling as u8 | TransportType::Websocket as u8,
        }
    }
}

impl EngineIoConfig {
    /// Starts from the defaults.
    pub fn builder() -> EngineIoConfigBuilder {
        EngineIoConfigBuilder::new()
    }

    /// Whether a transport is allowed.
    pub fn allowed_transport(&self, transport: TransportType) -> bool {
        self.transports & transport as u8 != 0
    }
}

/// Sets one after the other.
#[derive(Debug, Clone, Default)]
pub struct EngineIoConfigBuilder {
    config: EngineIoConfig,
}

/// A method for each setting that is set as it is.
macro_rules! setters {
    ($($name:ident: $kind:ty),* $(,)?) => {
        $(
            #[doc = concat!("Sets [`", stringify!($name), "`](EngineIoConfig::", stringify!($name), ").")]
            pub fn $name(mut self, $name: $kind) -> Self {
                self.config.$name = $name;
                self
            }
        )*
    };
}

impl EngineIoConfigBuilder {
    /// Starts from the defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets [`req_path`](EngineIoConfig::req_path).
    pub fn req_path(mut self, req_path: impl Into<Cow<'static, str>>) -> Self {
        self.config.req_path = req_path.into();
        self
    }

    setters! {
        ping_interval: Duration,
        ping_timeout: Duration,
        upgrade_timeout: Duration,
        max_buffer_size: usize,
        max_payload: u64,
        ws_read_buffer_size: usize,
        ws_max_message_size: usize,
        ws_max_frame_size: usize,
    }

    /// Sets [`transports`](EngineIoConfig::transports).
    pub fn transports<const N: usize>(mut self, transports: [TransportType; N]) -> Self {
        self.config.transports = transports.into_iter().fold(0, |all, one| all | one as u8);
        self
    }

    /// The settings.
    pub fn build(self) -> EngineIoConfig {
        self.config
    }
}

//! REST requests on one connection that is kept open, and nothing more of HTTP than the servers of this benchmark answer.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};

use crate::swarm::number_in;

/// A connection to a server.
pub struct Rest {
    stream: TcpStream,
    server: SocketAddr,
    buffer: Vec<u8>,
}

impl Rest {
    /// Connects.
    pub fn connect(server: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(server)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(Self { stream, server, buffer: Vec::new() })
    }

    /// The body of the answer to a GET request, which must succeed.
    pub fn get(&mut self, path: &str, token: &str) -> Result<&[u8]> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\n\r\n", self.server);
        self.stream.write_all(request.as_bytes())?;
        self.buffer.clear();
        let mut scratch = [0; 64 * 1024];
        loop {
            let n = self.stream.read(&mut scratch)?;
            ensure!(n > 0, "the server closed the connection of a request for {path}");
            self.buffer.extend_from_slice(scratch.get(..n).unwrap_or_default());
            let Some(end) = memchr::memmem::find(&self.buffer, b"\r\n\r\n").map(|at| at + 4) else { continue };
            let head = String::from_utf8_lossy(self.buffer.get(..end).unwrap_or_default()).to_ascii_lowercase();
            if !head.starts_with("http/1.1 200") {
                bail!("{path} was answered: {}", String::from_utf8_lossy(&self.buffer));
            }
            let length = head.split("content-length:").nth(1).map(|v| v.trim_start()).and_then(|v| number_in(v.as_bytes()));
            let length = usize::try_from(length.context("an answer says how long it is")?)?;
            if self.buffer.len() >= end + length {
                return self.buffer.get(end..end + length).context("a body");
            }
        }
    }
}

//! The least of an HTTP client: it sends any bytes as a request, also such as no library would make, and reads the answer.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::Scene;
use crate::support::DEADLINE;

/// A connection that is opened anew when the server has closed it.
pub struct Raw<'a> {
    scene: &'a Scene,
    stream: Option<TcpStream>,
}

/// An answer: its status, head and body.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl<'a> Raw<'a> {
    pub fn new(scene: &'a Scene) -> Self {
        Self { scene, stream: None }
    }

    /// The TCP connection, for those who speak no HTTP on it.
    pub async fn connect(scene: &Scene) -> TcpStream {
        let stream = TcpStream::connect(scene.app.address).await.expect("the server accepts");
        stream.set_nodelay(true).expect("a socket");
        // What is thrown away shall not wait for its port.
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("a socket");
        stream
    }

    /// Sends a request; nothing when the server closed the connection instead of an answer. With `whole` the client says that no more
    /// will come, and keeps the connection for no other request.
    pub async fn send(&mut self, request: &[u8], has_body: bool, whole: bool) -> Option<Reply> {
        let kept = self.stream.is_some();
        let reply = self.try_send(request, has_body, whole).await;
        if reply.is_none() && kept {
            // It may have been closed while it was idle.
            return self.try_send(request, has_body, whole).await;
        }
        reply
    }

    async fn try_send(&mut self, request: &[u8], has_body: bool, whole: bool) -> Option<Reply> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => Self::connect(self.scene).await,
        };
        let (mut ear, mut mouth) = stream.split();
        let say = async {
            // The server may answer, and close, before it has read everything.
            mouth.write_all(request).await.ok();
            if whole {
                mouth.shutdown().await.ok();
            }
        };
        let hear = async {
            let mut bytes = Vec::new();
            let head = loop {
                if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                    if bytes.starts_with(b"HTTP/1.1 100") {
                        bytes.drain(..end + 4);
                        continue;
                    }
                    break String::from_utf8_lossy(&bytes[..end]).into_owned();
                }
                if ear.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                    return None;
                }
            };
            let mut body = bytes.split_off(head.len() + 4);
            let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_else(|| panic!("no status: {head}"));
            let header =
                |name: &str| head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix(name).map(|v| v.trim().to_owned()));
            let length = header("content-length:").and_then(|n| n.parse::<usize>().ok()).unwrap_or(0);
            while has_body && body.len() < length {
                if ear.read_buf(&mut body).await.unwrap_or(0) == 0 {
                    break;
                }
            }
            let ends = header("connection:").is_some_and(|value| value == "close") || status == 101;
            Some((Reply { status, head, body }, ends))
        };
        let both = async {
            tokio::pin!(say, hear);
            tokio::select! {
                heard = &mut hear => heard,
                () = &mut say => hear.await,
            }
        };
        let text = || String::from_utf8_lossy(&request[..request.len().min(600)]).into_owned();
        let (reply, ends) = timeout(3 * DEADLINE, both).await.unwrap_or_else(|_| panic!("no answer to {}", text()))?;
        if !ends && !whole && has_body {
            self.stream = Some(stream);
        }
        Some(reply)
    }
}

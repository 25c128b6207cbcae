//! WebSocket frames as a client writes and reads them, and no more of the protocol than the servers use: whole text frames, ping, close.

/// Appends a text frame. Clients must mask; with a key of zeros the bytes stay as they are, and the server has the same work.
pub fn write_text(out: &mut Vec<u8>, text: &[u8]) {
    write(out, 0x81, text);
}

/// Appends a pong.
pub fn write_pong(out: &mut Vec<u8>, payload: &[u8]) {
    write(out, 0x8a, payload);
}

fn write(out: &mut Vec<u8>, first: u8, payload: &[u8]) {
    out.push(first);
    match payload.len() {
        n @ 0..=125 => out.push(0x80 | n as u8),
        n @ 126..=0xffff => {
            out.push(0xfe);
            out.extend_from_slice(&(n as u16).to_be_bytes());
        }
        n => {
            out.push(0xff);
            out.extend_from_slice(&(n as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(payload);
}

/// What kind of frame it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A whole text message.
    Text,
    /// The server pings.
    Ping,
    /// The server closes.
    Close,
    /// A pong, or what the servers of this benchmark do not send.
    Other,
}

/// The first frame in `bytes`: its kind, its payload, and how many bytes it takes; nothing when it is not all there.
pub fn read(bytes: &[u8]) -> Option<(Kind, &[u8], usize)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    let (at, length) = match second & 0x7f {
        126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (10, usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?),
        n => (2, usize::from(n)),
    };
    let payload = bytes.get(at..at + length)?;
    let kind = match first {
        0x81 => Kind::Text,
        0x89 => Kind::Ping,
        0x88 => Kind::Close,
        _ => Kind::Other,
    };
    Some((kind, payload, at + length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_every_length_are_read_when_they_are_whole() {
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            let text = vec![b'x'; length];
            let mut masked = Vec::new();
            write_text(&mut masked, &text);
            // As a server would write it: without the mask bit and the key.
            let head = masked.len() - length - 4;
            let mut frame = masked[..head].to_vec();
            frame[1] &= 0x7f;
            frame.extend_from_slice(&text);
            assert_eq!(read(&frame), Some((Kind::Text, text.as_slice(), frame.len())));
            assert_eq!(read(&frame[..frame.len() - 1]), None);
        }
    }
}

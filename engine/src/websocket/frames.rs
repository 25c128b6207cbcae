//! Websocket frames, as RFC 6455 has them: reading the client's, writing ours. The headers are tungstenite's; a connection keeps nothing between
//! two frames, but for what came of one.

use std::io::Cursor;
use std::ops::ControlFlow;

use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

/// What a client sends.
#[derive(Debug, PartialEq)]
pub enum Event<'a> {
    /// A text message.
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
    /// A message that is too long; no more is read.
    TooLong,
    /// A ping, to be answered with the same bytes.
    Ping(&'a [u8]),
    /// The end.
    Close,
}

/// The client does not speak the protocol.
#[derive(Debug, PartialEq)]
pub struct Violation;

/// How long a message and a frame may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// All frames of a message.
    pub message: usize,
    /// One frame.
    pub frame: usize,
}

/// Reads frames from bytes as they come.
#[derive(Default)]
pub struct Reader {
    /// What came of a frame.
    partial: Vec<u8>,
    /// What came of a message of several frames, and whether it is text.
    message: Option<(bool, Vec<u8>)>,
    /// Something is left that was not looked at.
    is_left: bool,
    is_deaf: bool,
}

type Sink<'a> = dyn FnMut(Event<'_>) -> ControlFlow<()> + 'a;

/// A control frame has no more.
const LONGEST_CONTROL: u64 = 125;

impl Reader {
    /// Reads on in what was left when the sink had enough. True when it has enough again.
    pub fn resume(&mut self, limits: Limits, sink: &mut Sink<'_>) -> Result<bool, Violation> {
        if !std::mem::take(&mut self.is_left) {
            return Ok(false);
        }
        let mut bytes = std::mem::take(&mut self.partial);
        self.read(&mut bytes, limits, sink)
    }

    /// Reads what came. True when the sink has enough.
    pub fn push(&mut self, bytes: &mut [u8], limits: Limits, sink: &mut Sink<'_>) -> Result<bool, Violation> {
        if self.partial.is_empty() {
            return self.read(bytes, limits, sink);
        }
        let mut all = std::mem::take(&mut self.partial);
        all.extend_from_slice(bytes);
        if header(&all)?
            .is_some_and(|(_, start, len)| (all.len() as u64) < (start as u64).saturating_add(len) && len <= limits.frame as u64)
        {
            self.partial = all;
            return Ok(false);
        }
        self.read(&mut all, limits, sink)
    }

    /// Whether nothing is kept.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.partial.capacity() == 0 && self.message.is_none()
    }

    fn read(&mut self, mut bytes: &mut [u8], limits: Limits, sink: &mut Sink<'_>) -> Result<bool, Violation> {
        while !self.is_deaf {
            let Some((header, start, len)) = header(bytes)? else { break };
            let most = limits.frame.min(limits.message.saturating_sub(self.message.as_ref().map_or(0, |(_, so_far)| so_far.len())));
            if matches!(header.opcode, OpCode::Data(_)) && len > most as u64 {
                self.is_deaf = true;
                return Ok(sink(Event::TooLong).is_break());
            }
            let Some(end) = usize::try_from(len).ok().and_then(|len| start.checked_add(len)).filter(|end| *end <= bytes.len()) else {
                break;
            };
            let (frame, rest) = bytes.split_at_mut(end);
            let payload = &mut frame[start..];
            unmask(payload, header.mask.ok_or(Violation)?);
            bytes = rest;
            if self.frame(&header, payload, sink)?.is_break() {
                self.is_left = !bytes.is_empty();
                self.partial = bytes.to_vec();
                return Ok(true);
            }
        }
        if !self.is_deaf && !bytes.is_empty() {
            self.partial = bytes.to_vec();
        }
        Ok(false)
    }

    fn frame(&mut self, header: &FrameHeader, payload: &[u8], sink: &mut Sink<'_>) -> Result<ControlFlow<()>, Violation> {
        let (is_text, before) = match header.opcode {
            OpCode::Control(Control::Ping) => return Ok(sink(Event::Ping(payload))),
            OpCode::Control(Control::Close) => return Ok(sink(Event::Close)),
            OpCode::Control(_) => return Ok(ControlFlow::Continue(())),
            OpCode::Data(Data::Continue) => {
                let (is_text, mut before) = self.message.take().ok_or(Violation)?;
                before.extend_from_slice(payload);
                (is_text, Some(before))
            }
            OpCode::Data(_) if self.message.is_some() => return Err(Violation),
            OpCode::Data(kind) => (kind == Data::Text, None),
        };
        if !header.is_final {
            self.message = Some((is_text, before.unwrap_or_else(|| payload.to_vec())));
            return Ok(ControlFlow::Continue(()));
        }
        let message = before.as_deref().unwrap_or(payload);
        Ok(sink(if is_text { Event::Text(std::str::from_utf8(message).map_err(|_| Violation)?) } else { Event::Binary(message) }))
    }
}

/// The header that bytes begin with, where its payload begins, and how long that is.
fn header(bytes: &[u8]) -> Result<Option<(FrameHeader, usize, u64)>, Violation> {
    let mut cursor = Cursor::new(bytes);
    let Some((header, len)) = FrameHeader::parse(&mut cursor).map_err(|_| Violation)? else { return Ok(None) };
    let is_reserved = matches!(header.opcode, OpCode::Data(Data::Reserved(_)) | OpCode::Control(Control::Reserved(_)));
    let is_odd_control = matches!(header.opcode, OpCode::Control(_)) && (!header.is_final || len > LONGEST_CONTROL);
    if header.rsv1 || header.rsv2 || header.rsv3 || header.mask.is_none() || is_reserved || is_odd_control {
        return Err(Violation);
    }
    Ok(Some((header, usize::try_from(cursor.position()).unwrap_or(usize::MAX), len)))
}

fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    for (n, byte) in payload.iter_mut().enumerate() {
        *byte ^= mask[n & 3];
    }
}

/// Adds a frame of two parts, which make one payload.
pub fn write(out: &mut Vec<u8>, opcode: OpCode, first: &[u8], second: &[u8]) {
    let len = first.len() + second.len();
    out.reserve(len + 10);
    let header = FrameHeader { opcode, ..FrameHeader::default() };
    // Writing to a Vec cannot fail.
    header.format(len as u64, out).ok();
    out.extend_from_slice(first);
    out.extend_from_slice(second);
}

/// Adds a text frame.
pub fn write_text(out: &mut Vec<u8>, kind: &str, text: &str) {
    write(out, OpCode::Data(Data::Text), kind.as_bytes(), text.as_bytes());
}

/// Adds a close frame.
pub fn write_close(out: &mut Vec<u8>, code: u16) {
    write(out, OpCode::Control(Control::Close), &code.to_be_bytes(), &[]);
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { message: 1000, frame: 600 };

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![first];
        match payload.len() {
            len @ 0..=125 => frame.push(0x80 | len as u8),
            len => frame.extend([0x80 | 126, (len >> 8) as u8, len as u8]),
        }
        frame.extend([1, 2, 3, 4]);
        frame.extend(payload.iter().enumerate().map(|(n, byte)| byte ^ [1, 2, 3, 4][n & 3]));
        frame
    }

    fn read(chunks: impl IntoIterator<Item = Vec<u8>>) -> (Vec<String>, Result<(), Violation>, Reader) {
        let (mut reader, mut events) = (Reader::default(), Vec::new());
        for mut chunk in chunks {
            let mut sink = |event: Event<'_>| {
                events.push(format!("{event:?}"));
                ControlFlow::Continue(())
            };
            if let Err(violation) = reader.push(&mut chunk, LIMITS, &mut sink) {
                return (events, Err(violation), reader);
            }
        }
        (events, Ok(()), reader)
    }

    #[test]
    fn messages_come_out_whole_however_they_are_cut() {
        let mut all = frame(0x81, b"4hello");
        all.extend(frame(0x01, b"4a"));
        all.extend(frame(0x89, b"ping"));
        all.extend(frame(0x00, b"b"));
        all.extend(frame(0x80, &[b'c'; 300]));
        all.extend(frame(0x82, &[0, 255]));
        all.extend(frame(0x88, &[3, 232]));
        let long = format!("4ab{}", "c".repeat(300));
        let expected = [Event::Text("4hello"), Event::Ping(b"ping"), Event::Text(&long), Event::Binary(&[0, 255]), Event::Close]
            .map(|event| format!("{event:?}"));
        for size in [1, 2, 3, 7, 100, 1000] {
            let (events, result, reader) = read(all.chunks(size).map(<[u8]>::to_vec));
            assert_eq!((events.as_slice(), result), (expected.as_slice(), Ok(())), "{size}");
            assert!(reader.is_empty(), "{size}");
        }
    }

    #[test]
    fn a_sink_that_has_enough_gets_the_rest_later() {
        let mut reader = Reader::default();
        let mut bytes = [frame(0x81, b"5"), frame(0x81, b"4a"), frame(0x81, b"4b")].concat();
        let mut events = Vec::new();
        let mut one = |event: Event<'_>| {
            events.push(format!("{event:?}"));
            ControlFlow::Break(())
        };
        assert_eq!(reader.push(&mut bytes, LIMITS, &mut one), Ok(true));
        assert_eq!(reader.resume(LIMITS, &mut one), Ok(true));
        assert_eq!(reader.resume(LIMITS, &mut one), Ok(true));
        assert_eq!(reader.resume(LIMITS, &mut one), Ok(false));
        assert_eq!(events, ["5", "4a", "4b"].map(|text| format!("{:?}", Event::Text(text))));
        assert!(reader.is_empty());
    }

    #[test]
    fn what_is_no_frame_of_a_client_is_refused_and_what_is_too_long_is_not_kept() {
        let mut unmasked = frame(0x81, b"4");
        unmasked[1] &= 0x7f;
        for wrong in [
            unmasked,
            frame(0xc1, b"4"),
            frame(0x83, b""),
            frame(0x80, b""),
            frame(0x09, b""),
            frame(0x89, &[0; 126]),
            frame(0x81, &[0xff]),
        ] {
            assert_eq!(read([wrong.clone()]).1, Err(Violation), "{wrong:?}");
        }
        let parts = [frame(0x01, &[b'4'; 600]), frame(0x00, &[b'4'; 401])];
        let endless = [&[0x81; 1][..], &[0xff; 9], &[0; 4]].concat();
        for (long, size) in [(frame(0x81, &[b'4'; 601]), 50), (parts.concat(), 50), (endless, 7)] {
            let (events, result, reader) = read(long.chunks(size).map(<[u8]>::to_vec));
            assert_eq!((events, result), (vec!["TooLong".to_owned()], Ok(())));
            assert!(reader.partial.is_empty());
        }
    }
}

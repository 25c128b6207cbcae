//! Texts that are checked by construction, and the mark by which a client recognises its own send.

use serde::{Deserialize, Serialize};

use super::SocketId;
use crate::error::{Error, Result};

/// What a message says: not blank, without NUL, within the limit. Kept as sent, not trimmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageText(String);

impl MessageText {
    /// Checks a text against a limit in Unicode code points.
    pub fn new(text: String, max: usize) -> Result<Self> {
        if text.trim().is_empty() {
            return Err(Error::EmptyMessage);
        }
        check(&text, "Message", max, Error::MessageTooLong(max))?;
        Ok(Self(text))
    }

    /// The text.
    pub fn into_inner(self) -> String {
        self.0
    }
}

/// Checks a field of a ticket; `what` names it in the refusal.
pub(super) fn field(text: String, what: &'static str, max: usize) -> Result<String> {
    if text.trim().is_empty() {
        return Err(Error::invalid(format!("{what} is required")));
    }
    check(&text, what, max, Error::invalid(format!("{what} is longer than {max} characters")))?;
    Ok(text)
}

fn check(text: &str, what: &str, max: usize, too_long: Error) -> Result<()> {
    // A code point takes at most four bytes and at least one: counting is only needed in between.
    if text.len() > max && text.chars().count() > max {
        return Err(too_long);
    }
    if text.contains('\0') {
        return Err(Error::invalid(format!("{what} contains a NUL character")));
    }
    Ok(())
}

/// A message on its way in.
#[derive(Clone, Debug, Default)]
pub struct Outgoing {
    /// The socket that sends it, which hears of it wherever it is.
    pub from: Option<SocketId>,
    /// What it says, unchecked.
    pub text: String,
    /// The client's mark.
    pub temp_id: Option<TempId>,
}

/// The client's own mark of a send: echoed to it, and the identity of the send when it is a string long enough to be unique.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TempId {
    /// As the client wrote it, to be echoed: the text of a JSON string or number.
    pub echo: Box<str>,
    /// The string, when it is one of 12 to 64 characters.
    pub nonce: Option<Box<str>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_counted_in_code_points_and_kept_as_sent() {
        assert_eq!(MessageText::new(" hi ".into(), 4).expect("fits").into_inner(), " hi ");
        assert!(MessageText::new("👋🏽👋🏽".into(), 4).is_ok());
        assert!(matches!(MessageText::new("👋🏽👋🏽!".into(), 4), Err(Error::MessageTooLong(4))));
        assert!(matches!(MessageText::new("\u{3000}\t".into(), 4), Err(Error::EmptyMessage)));
        assert!(matches!(MessageText::new("a\0".into(), 4), Err(Error::Invalid(_))));
    }
}

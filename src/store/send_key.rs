//! By what a repeated send is recognised.

use entity::UserId;
use sha2::{Digest, Sha256};

/// Identifies a send of one user in one place, so that a repetition is recognised: how its nonce begins, and a digest of all that must be
/// equal. A client's nonces mostly begin with the time (`temp-<milliseconds>`, UUIDv7, ULID), so that the keys of one time lie side by side
/// in their index, and a batch of messages writes few of its pages; after a digest alone, each message writes one of its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SendKey(pub(super) String);

/// So much of a key is the beginning of the nonce, and so much the digest, at six bits each.
const HALF: usize = 16;
const SYMBOLS: &[u8; 64] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~";

impl SendKey {
    /// The key of a send. `place` tells direct messages and tickets apart.
    pub fn new(place: &str, id: i64, sender: UserId, nonce: &str, text: &str) -> Self {
        let mut hash = Sha256::new();
        for part in [place.as_bytes(), &id.to_be_bytes(), &sender.0.to_be_bytes(), nonce.as_bytes(), text.as_bytes()] {
            hash.update(part.len().to_be_bytes());
            hash.update(part);
        }
        let beginning = nonce.bytes().map(|byte| if byte.is_ascii_graphic() { byte } else { b'.' });
        let digest = hash.finalize();
        let symbols = digest.iter().filter_map(|byte| SYMBOLS.get(usize::from(byte & 63)).copied());
        Self(beginning.chain(std::iter::repeat(b'.')).take(HALF).chain(symbols.take(HALF)).map(char::from).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_one_time_lie_side_by_side_and_differ_in_all_that_makes_a_send() {
        let key = |id, sender, nonce: &str, text| SendKey::new("conversation", id, UserId(sender), nonce, text).0;
        let one = key(1, 2, "temp-1700000000123", "hello");
        assert_eq!((one.len(), one.get(..HALF)), (32, Some("temp-17000000001")));
        assert_eq!(one, key(1, 2, "temp-1700000000123", "hello"));
        assert!(one < key(9, 9, "temp-1700000000200", "a tenth of a second later"));
        let ticket = SendKey::new("ticket", 1, UserId(2), "temp-1700000000123", "hello").0;
        let others = [key(2, 2, "temp-1700000000123", "hello"), key(1, 3, "temp-1700000000123", "hello"), ticket];
        let nearly = [key(1, 2, "temp-1700000000124", "hello"), key(1, 2, "temp-1700000000123", "hello ")];
        assert!(others.iter().chain(&nearly).all(|other| *other != one));
        let odd = key(1, 2, "\u{1f30d} \n\0\u{7f}abcdefg", "hello");
        assert!(odd.len() == 32 && odd.bytes().all(|byte| byte.is_ascii_graphic()), "{odd}");
        assert_eq!(key(1, 2, "twelve chars", "hello").get(..HALF), Some("twelve.chars...."));
    }
}

//! What nodes tell each other: JSON in a frame that is versioned, and that nobody can make without the secret and the id of the database. When it
//! is told is not decided here.

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::chat::{Audience, Event, Fact, NodeId};

/// What goes to the other nodes.
#[derive(Serialize)]
pub enum Outgoing<'a> {
    Tell(&'a Audience, &'a Event),
    Know(&'a Fact),
    /// A request to be told all that one must know.
    Hello,
    Bye,
}

/// The same, as it arrives.
#[derive(Deserialize)]
pub enum Incoming {
    Tell(Audience, Event),
    Know(Fact),
    Hello,
    Bye,
}

/// Items of one node, in their order. A number that is left out is a frame that was lost.
#[derive(Deserialize)]
pub struct Frame {
    pub node: NodeId,
    pub number: u64,
    pub items: Vec<Box<RawValue>>,
}

/// Signs the frames of a node, and verifies those of others. On the wire: a byte for the version, the MAC (HMAC-SHA256) of that and the JSON, the
/// JSON.
pub struct Seal(Hmac<Sha256>);

/// Why a frame is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It was not made by a node of this server.
    Forged,
    /// It was, by a node of another version.
    Version,
}

/// The form of frames and items. A change that other versions cannot read makes it another number.
const VERSION: u8 = 1;
const MAC_BYTES: usize = 32;

impl Seal {
    /// The seal of the nodes that have this secret, over the database with this id.
    pub fn new(secret: &str, database: &str) -> Self {
        let parts = ["frames between nodes of tidings", database, secret];
        let key = parts.iter().fold(Sha256::new(), |hash, part| hash.chain_update(part).chain_update([0])).finalize();
        #[expect(clippy::expect_used, reason = "a key may have any length")]
        Self(Hmac::new_from_slice(&key).expect("a key"))
    }

    /// A frame that holds a text.
    pub fn seal(&self, json: &str) -> Vec<u8> {
        let mac = self.mac(VERSION, json.as_bytes()).finalize().into_bytes();
        [&[VERSION], &mac[..], json.as_bytes()].concat()
    }

    /// The text of a frame.
    pub fn open<'a>(&self, frame: &'a [u8]) -> Result<&'a [u8], Refused> {
        let (version, rest) = frame.split_first().ok_or(Refused::Forged)?;
        let (mac, json) = rest.split_first_chunk::<MAC_BYTES>().ok_or(Refused::Forged)?;
        self.mac(*version, json).verify_slice(mac).map_err(|_| Refused::Forged)?;
        if *version == VERSION { Ok(json) } else { Err(Refused::Version) }
    }

    fn mac(&self, version: u8, json: &[u8]) -> Hmac<Sha256> {
        self.0.clone().chain_update([version]).chain_update(json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_opened_by_the_nodes_of_its_server_alone_and_only_as_it_was_made() {
        let (seal, text) = (Seal::new("secret", "database"), "{\"node\":1}");
        let frame = seal.seal(text);
        assert_eq!(seal.open(&frame), Ok(text.as_bytes()));
        for other in [Seal::new("another", "database"), Seal::new("secret", "another"), Seal::new("", "databasesecret")] {
            assert_eq!(other.open(&frame), Err(Refused::Forged));
        }
        for at in 0..frame.len() {
            let mut changed = frame.clone();
            changed[at] ^= 1;
            assert_eq!(seal.open(&changed), Err(Refused::Forged), "byte {at}");
        }
        for forged in [&b""[..], b"{\"node\":1,\"number\":1,\"items\":[]}", &frame[..frame.len() - 1], &frame[..MAC_BYTES]] {
            assert_eq!(seal.open(forged), Err(Refused::Forged));
        }
        let mac = seal.mac(VERSION + 1, text.as_bytes()).finalize().into_bytes();
        let newer = [&[VERSION + 1], &mac[..], text.as_bytes()].concat();
        assert_eq!(seal.open(&newer), Err(Refused::Version), "one of ours, of another version");
    }
}

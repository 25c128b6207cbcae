//! The other nodes, as far as they were heard: which frame comes next from each, and when it gave its last sign of life.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use crate::chat::NodeId;
use crate::clock;

/// The other nodes.
#[derive(Default)]
pub struct Peers(HashMap<NodeId, Peer>);

struct Peer {
    next: u64,
    heard: Instant,
}

/// How a frame arrives.
#[derive(Debug, PartialEq, Eq)]
pub enum Arrival {
    /// The one that was expected.
    Next,
    /// The first of its node, or one after others that were lost.
    AfterGap,
    /// A newer one of its node has arrived before.
    Late,
}

/// A node that gives no sign of life for this long is gone.
const SILENCE: Duration = Duration::from_secs(10);

impl Peers {
    /// Takes note of a frame.
    pub fn arrive(&mut self, node: NodeId, number: u64) -> Arrival {
        let heard = clock::instant();
        let Some(peer) = self.0.get_mut(&node) else {
            self.0.insert(node, Peer { next: number + 1, heard });
            return Arrival::AfterGap;
        };
        peer.heard = heard;
        let expected = peer.next;
        peer.next = expected.max(number + 1);
        match number.cmp(&expected) {
            std::cmp::Ordering::Less => Arrival::Late,
            std::cmp::Ordering::Equal => Arrival::Next,
            std::cmp::Ordering::Greater => Arrival::AfterGap,
        }
    }

    /// A node has taken its leave.
    pub fn leave(&mut self, node: NodeId) {
        self.0.remove(&node);
    }

    /// While Redis was away nobody could give a sign of life: all have time to do so again.
    pub fn revive(&mut self) {
        let now = clock::instant();
        self.0.values_mut().for_each(|peer| peer.heard = now);
    }

    /// Takes out the nodes that are gone.
    pub fn silent(&mut self) -> Vec<NodeId> {
        self.0.extract_if(|_, peer| peer.heard.elapsed() > SILENCE).map(|(node, _)| node).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_lost_frame_shows_as_a_gap_and_a_silent_node_is_gone() {
        let (mut peers, node) = (Peers::default(), NodeId(1));
        assert_eq!(peers.arrive(node, 7), Arrival::AfterGap, "the first");
        assert_eq!(peers.arrive(node, 8), Arrival::Next);
        assert_eq!(peers.arrive(node, 10), Arrival::AfterGap);
        assert_eq!(peers.arrive(node, 9), Arrival::Late);
        assert_eq!(peers.arrive(node, 11), Arrival::Next);
        tokio::time::advance(SILENCE + Duration::from_secs(1)).await;
        peers.revive();
        assert_eq!(peers.silent(), []);
        tokio::time::advance(SILENCE + Duration::from_secs(1)).await;
        assert_eq!(peers.silent(), [node]);
        assert_eq!(peers.arrive(node, 12), Arrival::AfterGap);
    }
}

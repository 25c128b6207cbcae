//! Guest sockets: what they claim, and who vouches for it. A claim to be a user counts once that user was seen with a token from the same
//! address and user agent; before or after the claim.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use entity::UserId;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{Chat, Fact, SocketId};
use crate::clock;
use crate::error::Result;

/// Where a request or a socket comes from, as far as corroboration goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Visitor {
    /// The client's address.
    pub address: IpAddr,
    /// A digest of the user agent, if one was told; the same in every process.
    pub agent: Option<u64>,
}

impl Visitor {
    fn vouches_for(&self, guest: &Visitor) -> bool {
        guest.agent.is_none() || guest.agent == self.agent
    }
}

/// Not more are let known of at a time: the others learn of the rest as they are seen again.
const SHARED_AT_ONCE: usize = 10_000;

/// What is remembered of each address.
pub(super) struct Guests {
    window: Duration,
    per_address: usize,
    addresses: Mutex<HashMap<IpAddr, Address>>,
}

#[derive(Default)]
struct Address {
    seen: Vec<Seen>,
    claims: Vec<Claim>,
}

/// A user who was seen with a token.
struct Seen {
    user: UserId,
    visitor: Visitor,
    last: Instant,
    /// The living ones.
    sockets: Vec<SocketId>,
    /// When the other nodes were let know; never for whom one of them has seen.
    shared: Option<Instant>,
}

/// A claim that nobody has vouched for yet.
struct Claim {
    socket: SocketId,
    user: UserId,
    visitor: Visitor,
}

impl Address {
    fn find(&mut self, user: UserId, visitor: Visitor) -> Option<&mut Seen> {
        self.seen.iter_mut().find(|s| s.user == user && s.visitor == visitor)
    }
}

impl Guests {
    pub(super) fn new(window: Duration, per_address: usize) -> Self {
        Self { window, per_address, addresses: Mutex::default() }
    }

    fn at<T>(&self, address: IpAddr, act: impl FnOnce(&mut Address) -> T) -> T {
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = addresses.entry(address).or_default();
        let window = self.window;
        entry.seen.retain(|s| !s.sockets.is_empty() || s.last.elapsed() <= window);
        let result = act(entry);
        if entry.seen.is_empty() && entry.claims.is_empty() {
            addresses.remove(&address);
        }
        result
    }

    /// Notes a user seen with a token, and returns the sockets whose claims that corroborates.
    fn vouch(&self, user: UserId, visitor: Visitor, socket: Option<SocketId>) -> Vec<SocketId> {
        self.at(visitor.address, |entry| {
            match entry.find(user, visitor) {
                Some(seen) => {
                    seen.last = clock::instant();
                    seen.sockets.extend(socket);
                }
                None => {
                    if entry.seen.len() >= self.per_address
                        && let Some(oldest) = entry.seen.iter().enumerate().min_by_key(|(_, s)| s.last).map(|(at, _)| at)
                    {
                        entry.seen.swap_remove(oldest);
                    }
                    let sockets = socket.into_iter().collect();
                    entry.seen.push(Seen { user, visitor, last: clock::instant(), sockets, shared: None });
                }
            }
            entry.claims.extract_if(.., |c| c.user == user && visitor.vouches_for(&c.visitor)).map(|c| c.socket).collect()
        })
    }

    /// Whether the other nodes are to be let know of a user who was just seen: not each time, but before they forget.
    fn is_news(&self, user: UserId, visitor: Visitor) -> bool {
        let fresh = self.window / 2;
        self.at(visitor.address, |entry| {
            let Some(seen) = entry.find(user, visitor) else { return false };
            let is_news = seen.shared.is_none_or(|at| at.elapsed() >= fresh);
            if is_news {
                seen.shared = Some(clock::instant());
            }
            is_news
        })
    }

    /// Everybody who was seen here lately, with `overdue` those only of whom the others were last let know some time ago.
    fn seen(&self, overdue: bool) -> Vec<(UserId, Visitor)> {
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = Vec::new();
        for seen in addresses.values_mut().flat_map(|entry| &mut entry.seen) {
            // A living socket vouches all the time.
            let is_due = |at: Instant| !overdue || !seen.sockets.is_empty() && at.elapsed() >= self.window / 2;
            if seen.shared.is_some_and(is_due) {
                seen.shared = Some(clock::instant());
                all.push((seen.user, seen.visitor));
            }
        }
        all
    }

    /// Whether somebody vouches for the claim already; if not it waits, unless too many of its address do.
    fn claim(&self, socket: SocketId, user: UserId, guest: Visitor) -> bool {
        self.at(guest.address, |entry| {
            if entry.seen.iter().any(|s| s.user == user && s.visitor.vouches_for(&guest)) {
                return true;
            }
            entry.claims.retain(|c| c.socket != socket);
            if entry.claims.len() < self.per_address {
                entry.claims.push(Claim { socket, user, visitor: guest });
            }
            false
        })
    }

    pub(super) fn forget_idle(&self) {
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        addresses.retain(|_, entry| {
            entry.seen.retain(|s| !s.sockets.is_empty() || s.last.elapsed() <= self.window);
            !entry.seen.is_empty() || !entry.claims.is_empty()
        });
    }
}

impl Chat {
    /// A user made an authenticated request. Returns the guest sockets that now count as the user's.
    pub fn vouch_by_request(&self, user: UserId, visitor: Visitor) -> Vec<SocketId> {
        self.vouch(user, visitor, None)
    }

    /// A user holds an authenticated socket from now on, until [`stop_vouching`](Self::stop_vouching).
    pub fn vouch_by_socket(&self, user: UserId, visitor: Visitor, socket: SocketId) -> Vec<SocketId> {
        self.vouch(user, visitor, Some(socket))
    }

    fn vouch(&self, user: UserId, visitor: Visitor, socket: Option<SocketId>) -> Vec<SocketId> {
        let corroborated = self.guests.vouch(user, visitor, socket);
        if self.guests.is_news(user, visitor) {
            self.outbox.share(Fact::Seen { user, visitor });
        }
        corroborated
    }

    /// Another node has seen a user. Returns the guest sockets here that now count as the user's.
    pub fn vouch_by_node(&self, user: UserId, visitor: Visitor) -> Vec<SocketId> {
        self.guests.vouch(user, visitor, None)
    }

    /// Lets the other nodes know who was seen here: everybody, or with `overdue` those only whom they may be about to forget.
    pub(super) fn share_seen(&self, overdue: bool) {
        for (user, visitor) in self.guests.seen(overdue).into_iter().take(SHARED_AT_ONCE) {
            self.outbox.share(Fact::Seen { user, visitor });
        }
    }

    /// An authenticated socket is gone; its user vouches for a while yet.
    pub fn stop_vouching(&self, visitor: Visitor, socket: SocketId) {
        self.guests.at(visitor.address, |entry| {
            for seen in entry.seen.iter_mut().filter(|s| s.sockets.contains(&socket)) {
                seen.sockets.retain(|s| *s != socket);
                seen.last = clock::instant();
            }
        });
    }

    /// A guest claims to be a user. True when that is corroborated already.
    pub fn claim(&self, socket: SocketId, user: UserId, guest: Visitor) -> bool {
        self.guests.claim(socket, user, guest)
    }

    /// A guest socket is gone, and its claim with it.
    pub fn withdraw_claim(&self, socket: SocketId, guest: Visitor) {
        self.guests.at(guest.address, |entry| entry.claims.retain(|c| c.socket != socket));
    }

    /// The name of a user whom a guest was corroborated to be.
    pub async fn name_of(&self, user: UserId) -> Result<Option<String>> {
        Ok(self.store.find_user(user).await?.map(|u| u.username))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visitor(last: u8, agent: Option<u64>) -> Visitor {
        Visitor { address: IpAddr::from([127, 0, 0, last]), agent }
    }

    #[tokio::test(start_paused = true)]
    async fn a_claim_counts_once_its_user_was_seen_from_the_same_place() {
        let guests = Guests::new(Duration::from_secs(60), 2);
        let (user, guest) = (UserId(5), SocketId(1));
        assert!(!guests.claim(guest, user, visitor(1, Some(9))));
        assert!(guests.vouch(user, visitor(2, Some(9)), None).is_empty(), "another address");
        assert!(guests.vouch(user, visitor(1, Some(8)), None).is_empty(), "another agent");
        assert!(guests.vouch(UserId(6), visitor(1, Some(9)), None).is_empty(), "another user");
        assert_eq!(guests.vouch(user, visitor(1, Some(9)), None), [guest]);
        assert!(guests.claim(SocketId(2), user, visitor(1, Some(9))), "seen before the claim");
        assert!(guests.claim(SocketId(3), user, visitor(1, None)), "a guest without an agent goes by address");
        tokio::time::advance(Duration::from_secs(61)).await;
        assert!(!guests.claim(SocketId(4), user, visitor(1, Some(9))), "too long ago");
    }

    #[tokio::test(start_paused = true)]
    async fn a_living_socket_vouches_for_as_long_as_it_lives() {
        let guests = Guests::new(Duration::from_secs(60), 2);
        guests.vouch(UserId(5), visitor(1, None), Some(SocketId(7)));
        tokio::time::advance(Duration::from_secs(600)).await;
        assert!(guests.claim(SocketId(1), UserId(5), visitor(1, None)));
    }

    #[test]
    fn an_address_holds_a_bounded_number_of_claims() {
        let guests = Guests::new(Duration::from_secs(60), 2);
        for n in 0..100 {
            guests.claim(SocketId(n), UserId(5), visitor(1, None));
        }
        assert_eq!(guests.at(visitor(1, None).address, |entry| entry.claims.len()), 2);
    }
}

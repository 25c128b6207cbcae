//! What guests claim, and whom tokens have proven, by address.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use entity::UserId;
use tokio::time::Instant;

use super::SocketId;
use super::guests::Visitor;
use crate::clock;

/// What is remembered of each address.
pub(super) struct Guests {
    /// Who was seen before is not known here.
    since: Instant,
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

/// What a guest says it is. One socket has at most one that counts and a newer one that waits.
struct Claim {
    socket: SocketId,
    user: UserId,
    visitor: Visitor,
    /// Whether somebody vouched for it.
    counts: bool,
}

impl Address {
    /// A living socket vouches all the time, a request for a while.
    fn forget_old(&mut self, window: Duration) {
        self.seen.retain(|s| !s.sockets.is_empty() || s.last.elapsed() <= window);
    }

    fn is_vouched_for(&self, user: UserId, guest: Visitor) -> bool {
        self.seen.iter().any(|s| s.user == user && s.visitor.vouches_for(&guest))
    }

    fn find(&mut self, user: UserId, visitor: Visitor) -> Option<&mut Seen> {
        self.seen.iter_mut().find(|s| s.user == user && s.visitor == visitor)
    }
}

impl Guests {
    pub(super) fn new(window: Duration, per_address: usize) -> Self {
        Self { since: clock::instant(), window, per_address, addresses: Mutex::default() }
    }

    /// Whether everybody is known here who was seen lately enough to vouch.
    pub(super) fn knows_all(&self) -> bool {
        self.since.elapsed() > self.window
    }

    fn at<T>(&self, address: IpAddr, act: impl FnOnce(&mut Address) -> T) -> T {
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = addresses.entry(address).or_default();
        entry.forget_old(self.window);
        let result = act(entry);
        if entry.seen.is_empty() && entry.claims.is_empty() {
            addresses.remove(&address);
        }
        result
    }

    /// Notes a user seen with a token, and returns the sockets whose claims that corroborates.
    pub(super) fn vouch(&self, user: UserId, visitor: Visitor, socket: Option<SocketId>) -> Vec<SocketId> {
        self.at(visitor.address, |entry| {
            match entry.find(user, visitor) {
                Some(seen) => {
                    seen.last = clock::instant();
                    seen.sockets.extend(socket);
                }
                None => {
                    if entry.seen.len() >= self.per_address
                        && let oldest = entry.seen.iter().enumerate().min_by_key(|(_, s)| (!s.sockets.is_empty(), s.last))
                        && let Some((oldest, _)) = oldest
                    {
                        entry.seen.swap_remove(oldest);
                    }
                    let sockets = socket.into_iter().collect();
                    entry.seen.push(Seen { user, visitor, last: clock::instant(), sockets, shared: None });
                }
            }
            let waiting = entry.claims.iter().filter(|c| !c.counts && c.user == user && visitor.vouches_for(&c.visitor));
            waiting.map(|c| c.socket).collect()
        })
    }

    /// Whether the other nodes are to be let know of a user who was just seen: not each time, but before they forget.
    pub(super) fn is_news(&self, user: UserId, visitor: Visitor) -> bool {
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
    pub(super) fn seen(&self, overdue: bool) -> Vec<(UserId, Visitor)> {
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

    /// Notes a claim in the place of one of the same socket that waits, unless too many of its address do. True when it may count now.
    pub(super) fn claim(&self, socket: SocketId, user: UserId, guest: Visitor) -> bool {
        self.at(guest.address, |entry| {
            entry.claims.retain(|c| c.socket != socket || c.counts);
            if entry.claims.iter().any(|c| c.socket == socket && c.user == user) {
                return false;
            }
            let is_vouched_for = entry.is_vouched_for(user, guest);
            if is_vouched_for || entry.claims.iter().filter(|c| !c.counts).count() < self.per_address {
                entry.claims.push(Claim { socket, user, visitor: guest, counts: false });
            }
            is_vouched_for
        })
    }

    /// Lets a claim count that waits, and no other one of its socket. False when it does not wait any more.
    pub(super) fn settle(&self, socket: SocketId, user: UserId, guest: Visitor) -> bool {
        self.at(guest.address, |entry| {
            let is_it = |c: &Claim| c.socket == socket && c.user == user && !c.counts;
            if !entry.claims.iter().any(is_it) {
                return false;
            }
            entry.claims.retain(|c| c.socket != socket || is_it(c));
            entry.claims.iter_mut().filter(|c| c.socket == socket).for_each(|c| c.counts = true);
            true
        })
    }

    /// The guests that count, and as whom, although nobody has vouched for them lately.
    pub(super) fn lapsed(&self) -> Vec<(SocketId, UserId)> {
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lapsed = Vec::new();
        for entry in addresses.values_mut() {
            entry.forget_old(self.window);
            let over = entry.claims.iter().filter(|c| c.counts && !entry.is_vouched_for(c.user, c.visitor));
            lapsed.extend(over.map(|c| (c.socket, c.user)));
        }
        lapsed
    }

    /// Lets a claim wait that counts and has lapsed, unless its socket has a newer one. False when somebody has just vouched for it.
    pub(super) fn suspend(&self, socket: SocketId, user: UserId, guest: Visitor) -> bool {
        self.at(guest.address, |entry| {
            if entry.is_vouched_for(user, guest) {
                return false;
            }
            let has_newer = entry.claims.iter().any(|c| c.socket == socket && !c.counts);
            let is_it = |c: &Claim| c.socket == socket && c.user == user && c.counts;
            entry.claims.retain(|c| !has_newer || !is_it(c));
            entry.claims.iter_mut().filter(|c| is_it(c)).for_each(|c| c.counts = false);
            true
        })
    }

    /// A socket that vouched is gone; its user vouches for a while yet.
    pub(super) fn stop_vouching(&self, visitor: Visitor, socket: SocketId) {
        self.at(visitor.address, |entry| {
            for seen in entry.seen.iter_mut().filter(|s| s.sockets.contains(&socket)) {
                seen.sockets.retain(|s| *s != socket);
                seen.last = clock::instant();
            }
        });
    }

    /// A guest socket is gone, or counts no more.
    pub(super) fn withdraw(&self, socket: SocketId, guest: Visitor) {
        self.at(guest.address, |entry| entry.claims.retain(|c| c.socket != socket));
    }

    pub(super) fn forget_idle(&self) {
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        addresses.retain(|_, entry| {
            entry.forget_old(self.window);
            !entry.seen.is_empty() || !entry.claims.is_empty()
        });
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
        assert!(guests.settle(guest, user, visitor(1, Some(9))) && guests.settle(SocketId(2), user, visitor(1, Some(9))));
        assert!(!guests.claim(SocketId(3), user, visitor(1, None)), "a guest without an agent where one was told");
        assert!(guests.vouch(user, visitor(1, None), None).contains(&SocketId(3)), "where none was told the address is enough");
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

    #[tokio::test(start_paused = true)]
    async fn a_guest_counts_as_long_as_somebody_vouches_for_it_and_then_waits() {
        let (guests, user, guest, at) = (Guests::new(Duration::from_secs(60), 2), UserId(5), SocketId(1), visitor(1, None));
        guests.vouch(user, at, None);
        assert!(guests.claim(guest, user, at) && guests.settle(guest, user, at));
        tokio::time::advance(Duration::from_secs(59)).await;
        assert_eq!(guests.lapsed(), []);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(guests.lapsed(), [(guest, user)]);
        assert!(guests.suspend(guest, user, at));
        assert_eq!((guests.lapsed(), guests.vouch(user, at, None)), (vec![], vec![guest]));
        assert!(guests.settle(guest, user, at) && !guests.suspend(guest, user, at));
    }

    #[test]
    fn the_newest_claim_of_a_socket_counts_when_it_is_vouched_for() {
        let (guests, guest, at) = (Guests::new(Duration::from_secs(60), 2), SocketId(1), visitor(1, None));
        guests.vouch(UserId(5), at, None);
        assert!(guests.claim(guest, UserId(5), at));
        assert!(!guests.claim(guest, UserId(6), at) && !guests.settle(guest, UserId(5), at), "a claim that waits is replaced");
        assert!(guests.claim(guest, UserId(5), at) && guests.settle(guest, UserId(5), at));
        assert!(!guests.claim(guest, UserId(6), at));
        assert_eq!(guests.vouch(UserId(6), at, None), [guest]);
        assert!(guests.settle(guest, UserId(6), at) && guests.at(at.address, |entry| entry.claims.len()) == 1);
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

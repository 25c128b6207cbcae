//! Guest sockets: what they claim, and who vouches for it. A claim to be a user counts once that user was seen with a token from the same
//! address and user agent, before or after the claim, and for as long as that is not too long ago. Then it waits to be vouched for again.

use std::net::IpAddr;

use entity::UserId;
use serde::{Deserialize, Serialize};

use super::{Chat, Fact, SocketId};
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
    pub(super) fn vouches_for(&self, guest: &Visitor) -> bool {
        guest.agent == self.agent
    }
}

/// Not more are let known of at a time: the others learn of the rest as they are seen again.
const SHARED_AT_ONCE: usize = 10_000;

impl Chat {
    /// A user made an authenticated request. Returns the guest sockets that now count as the user's.
    pub fn vouch_by_request(&self, user: UserId, visitor: Visitor) -> Vec<SocketId> {
        self.vouch(user, visitor, None)
    }

    /// A guest that counted came back to its session. As long as this process cannot know who was seen before it was started, the session says
    /// so. Returns the guest sockets that now count as the user's.
    pub fn vouch_by_session(&self, user: UserId, visitor: Visitor) -> Vec<SocketId> {
        if self.guests.knows_all() { Vec::new() } else { self.vouch(user, visitor, None) }
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
        self.guests.stop_vouching(visitor, socket);
    }

    /// A guest claims to be a user, and no other one from when that counts. True when it may at once, see [`settle_claim`](Self::settle_claim).
    pub fn claim(&self, socket: SocketId, user: UserId, guest: Visitor) -> bool {
        self.guests.claim(socket, user, guest)
    }

    /// A corroborated guest counts as its user from now on. False when it has claimed another one meanwhile.
    pub fn settle_claim(&self, socket: SocketId, user: UserId, guest: Visitor) -> bool {
        self.guests.settle(socket, user, guest)
    }

    /// The guests that count, and as whom, although nobody has vouched for them lately.
    pub fn lapsed_guests(&self) -> Vec<(SocketId, UserId)> {
        self.guests.lapsed()
    }

    /// Such a guest counts no more, until somebody vouches for it again. False when that has just happened.
    pub fn suspend_claim(&self, socket: SocketId, user: UserId, guest: Visitor) -> bool {
        self.guests.suspend(socket, user, guest)
    }

    /// A guest socket is gone, or counts no more, and its claims with it.
    pub fn withdraw_claim(&self, socket: SocketId, guest: Visitor) {
        self.guests.withdraw(socket, guest);
    }

    /// The name of a user whom a guest was corroborated to be.
    pub async fn name_of(&self, user: UserId) -> Result<Option<String>> {
        Ok(self.store.find_user(user).await?.map(|u| u.username))
    }
}

//! How often a user or an address may do what. The limits of sizes and queues stand where they are applied.

use std::{
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use entity::UserId;
use governor::{
    DefaultKeyedRateLimiter, NotUntil, Quota,
    clock::{Clock, DefaultClock},
};

use crate::config::{self, Rate};
use crate::error::{Error, Result};

/// What is limited per user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limited {
    /// A message, direct or support, by event or by REST.
    Send,
    /// Any other event.
    Event,
    /// A POST, PUT or PATCH request.
    Write,
    /// A user search.
    Search,
}

/// The buckets of all users and addresses.
pub struct Limits {
    sends: DefaultKeyedRateLimiter<UserId>,
    events: DefaultKeyedRateLimiter<UserId>,
    writes: DefaultKeyedRateLimiter<UserId>,
    searches: DefaultKeyedRateLimiter<UserId>,
    logins: DefaultKeyedRateLimiter<IpAddr>,
}

impl Limits {
    /// Empty buckets of the configured sizes.
    pub fn new(settings: &config::Limits) -> Self {
        let keyed = |rate: Rate| DefaultKeyedRateLimiter::keyed(Quota::per_second(rate.per_second).allow_burst(rate.burst));
        let period = settings.login_window / settings.logins.get();
        let logins = Quota::with_period(period.max(Duration::from_nanos(1))).map(|q| q.allow_burst(settings.logins));
        Self {
            sends: keyed(settings.sends),
            events: keyed(settings.events),
            writes: keyed(settings.writes),
            searches: keyed(settings.searches),
            logins: DefaultKeyedRateLimiter::keyed(logins.unwrap_or(Quota::per_second(settings.logins))),
        }
    }

    /// Counts one `what` of `user`, or says when to come back.
    pub fn check(&self, what: Limited, user: UserId) -> Result<()> {
        let buckets = match what {
            Limited::Send => &self.sends,
            Limited::Event => &self.events,
            Limited::Write => &self.writes,
            Limited::Search => &self.searches,
        };
        buckets.check_key(&user).map_err(refusal)
    }

    /// Counts one login or registration of a client address; IPv6 clients count by their /64.
    pub fn check_login(&self, address: IpAddr) -> Result<()> {
        self.logins.check_key(&network_of(address)).map_err(refusal)
    }

    /// Forgets the buckets that are full again. To be called now and then, so that memory follows those who are active.
    pub fn forget_idle(&self) {
        for buckets in [&self.sends, &self.events, &self.writes, &self.searches] {
            buckets.retain_recent();
        }
        self.logins.retain_recent();
    }
}

fn refusal(until: NotUntil<governor::clock::QuantaInstant>) -> Error {
    Error::RateLimited { retry_after: until.wait_time_from(DefaultClock::default().now()) }
}

fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        v4 => v4,
    }
}

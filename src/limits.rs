//! How often a user or an address may do what. The limits of sizes and queues stand where they are applied.

mod attempts;

use std::{
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    sync::Arc,
    time::Duration,
};

use entity::UserId;
use governor::{
    DefaultKeyedRateLimiter, NotUntil, Quota,
    clock::{Clock, DefaultClock},
};

use crate::config::{self, Rate};
use crate::error::{Error, Result};
use crate::metrics::Metrics;
use attempts::Attempts;

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
    /// A conversation that is new.
    Conversation,
}

/// The buckets of all users and addresses.
pub struct Limits {
    sends: DefaultKeyedRateLimiter<UserId>,
    events: DefaultKeyedRateLimiter<UserId>,
    writes: DefaultKeyedRateLimiter<UserId>,
    searches: DefaultKeyedRateLimiter<UserId>,
    conversations: DefaultKeyedRateLimiter<UserId>,
    logins: Attempts,
    failed_logins: Attempts,
    handshakes: DefaultKeyedRateLimiter<IpAddr>,
    guests: DefaultKeyedRateLimiter<u64>,
    metrics: Arc<Metrics>,
}

impl Limits {
    /// Empty buckets of the configured sizes.
    pub fn new(settings: &config::Limits, metrics: Arc<Metrics>) -> Self {
        let quota = |rate: Rate| Quota::per_second(rate.per_second).allow_burst(rate.burst);
        let keyed = |rate: Rate| DefaultKeyedRateLimiter::keyed(quota(rate));
        Self {
            sends: keyed(settings.sends),
            events: keyed(settings.events),
            writes: keyed(settings.writes),
            searches: keyed(settings.searches),
            conversations: DefaultKeyedRateLimiter::keyed(hourly(settings.conversations)),
            logins: Attempts::new(settings.logins, settings.login_window),
            failed_logins: Attempts::new(settings.failed_logins, settings.login_window),
            handshakes: DefaultKeyedRateLimiter::keyed(quota(settings.handshakes)),
            guests: DefaultKeyedRateLimiter::keyed(quota(settings.guest_events)),
            metrics,
        }
    }

    /// Counts one `what` of `user`, or says when to come back.
    pub fn check(&self, what: Limited, user: UserId) -> Result<()> {
        let (buckets, limit) = match what {
            Limited::Send => (&self.sends, "sends"),
            Limited::Event => (&self.events, "events"),
            Limited::Write => (&self.writes, "writes"),
            Limited::Search => (&self.searches, "searches"),
            Limited::Conversation => (&self.conversations, "conversations"),
        };
        buckets.check_key(&user).map_err(|until| self.refusal(limit, &until))
    }

    /// Counts one login or registration of a client address; IPv6 clients count by their /64.
    pub fn check_login(&self, address: IpAddr) -> Result<()> {
        self.logins.count(self.logins.id(network_of(address))).map_err(|wait| self.refused("logins", wait))
    }

    /// Counts one login of an account, whether or not there is one of that name, as failed: until it is told that it [succeeded](Login::succeed).
    pub fn check_account(&self, from: IpAddr, name: &str) -> Result<Login<'_>> {
        let (counts, network) = (&self.failed_logins, network_of(from));
        let (everywhere, there) = (counts.id(name), counts.id((network, name)));
        // A network from which it has logged in has a count of its own: else strangers could lock its user out.
        let account = if counts.knows(there) { there } else { everywhere };
        counts.count(account).map_err(|wait| self.refused("failed_logins", wait))?;
        Ok(Login { limits: self, network, account, there })
    }

    /// Counts one new connection of a client address; IPv6 clients count by their /64.
    pub fn check_handshake(&self, address: IpAddr) -> Result<()> {
        self.handshakes.check_key(&network_of(address)).map_err(|until| self.refusal("handshakes", &until))
    }

    /// Counts one event of a socket without a token.
    pub fn check_guest(&self, socket: u64) -> Result<()> {
        self.guests.check_key(&socket).map_err(|until| self.refusal("guest_events", &until))
    }

    /// Forgets the buckets that are full again. To be called now and then, so that memory follows those who are active.
    pub fn forget_idle(&self) {
        for buckets in [&self.sends, &self.events, &self.writes, &self.searches, &self.conversations] {
            buckets.retain_recent();
        }
        self.handshakes.retain_recent();
        self.guests.retain_recent();
    }

    fn refusal(&self, limit: &'static str, until: &NotUntil<governor::clock::QuantaInstant>) -> Error {
        self.refused(limit, until.wait_time_from(DefaultClock::default().now()))
    }

    fn refused(&self, limit: &'static str, retry_after: Duration) -> Error {
        self.metrics.rate_limited(limit);
        Error::RateLimited { retry_after }
    }
}

/// A login that counts as failed, for its client address and for its account.
pub struct Login<'a> {
    limits: &'a Limits,
    network: IpAddr,
    account: u64,
    there: u64,
}

impl Login<'_> {
    /// The password was the right one.
    pub fn succeed(&self) {
        self.take_back();
        self.limits.failed_logins.learn(self.there);
    }

    /// The password was not found to be a wrong one.
    pub fn take_back(&self) {
        self.limits.logins.succeed(self.limits.logins.id(self.network));
        self.limits.failed_logins.succeed(self.account);
    }
}

/// So many in an hour, all of which may come at once.
fn hourly(count: NonZeroU32) -> Quota {
    let period = (HOUR / count.get()).max(Duration::from_nanos(1));
    Quota::with_period(period).unwrap_or(Quota::per_hour(count)).allow_burst(count)
}

const HOUR: Duration = Duration::from_secs(3600);

/// An IPv4 address, or the /64 network of an IPv6 one.
pub fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        v4 => v4,
    }
}

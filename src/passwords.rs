//! Passwords, as bcrypt hashes like those of the old backend. Verifying one takes the same work whatever is stored, so that the time of an answer
//! does not tell whether there is an account, or what kind of hash it has.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering::Relaxed},
};

use bcrypt::HashParts;
use tokio::sync::Semaphore;

use crate::error::{Error, Result};
use crate::metrics::Metrics;

/// The cost of new hashes, as of those of the old backend. Each step doubles the work.
const COST: u32 = 10;
const LEAST_COST: u32 = 4;
/// A row of a higher cost would keep a processor busy for many seconds at each try: it matches no password.
const MOST_COST: u32 = 14;

/// Hashes and verifies, a few at a time: each takes a core for a while.
pub struct Passwords {
    at_once: Semaphore,
    /// What a verification costs: as much as the dearest hash that was met, else its account would be known by the time.
    cost: AtomicU32,
    metrics: Arc<Metrics>,
}

impl Passwords {
    /// As many at a time as there are cores.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { at_once: Semaphore::new(cores), cost: AtomicU32::new(COST), metrics }
    }

    /// The hash of a new password.
    pub async fn hash(&self, password: String) -> Result<String> {
        self.run(move || bcrypt::hash(password, COST)).await?.map_err(Error::internal)
    }

    /// Whether the password is the one of this hash. Of none, or of what is no hash, it is not.
    pub async fn verify(&self, password: String, hash: Option<&str>) -> Result<bool> {
        let hash = hash.unwrap_or_default().to_owned();
        let own = cost_of(&hash).unwrap_or_default();
        let (cost, metrics) = (self.cost.fetch_max(own, Relaxed).max(own), self.metrics.clone());
        let verify = move |hash: &str| {
            metrics.bcrypt_rounds.inc_by(cost_of(hash).map_or(0, |cost| 1 << cost));
            bcrypt::verify(&password, hash).unwrap_or(false)
        };
        self.run(move || matches(&hash, cost, verify)).await
    }

    /// Runs work off the async threads.
    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let _permit = self.at_once.acquire().await.map_err(Error::internal)?;
        tokio::task::spawn_blocking(work).await.map_err(Error::internal)
    }
}

/// Whether a hash is that of the password, by means of `verify`, which takes 2^cost rounds for the hash that it is given. Whatever the hash is, it
/// takes 2^`cost` rounds in all.
fn matches(hash: &str, cost: u32, verify: impl Fn(&str) -> bool) -> bool {
    let own = cost_of(hash);
    let matches = own.is_some() && verify(hash);
    // 2^n + 2^n + 2^(n+1) + … + 2^(cost-1) = 2^cost
    for rest in own.map_or(cost..cost + 1, |own| own..cost) {
        verify(&nobodys(rest));
    }
    matches
}

/// The cost of a hash that can be verified.
fn cost_of(hash: &str) -> Option<u32> {
    hash.parse::<HashParts>().ok().map(|parts| parts.get_cost()).filter(|cost| (LEAST_COST..=MOST_COST).contains(cost))
}

/// A hash of nothing that anybody can send.
fn nobodys(cost: u32) -> String {
    format!("$2b${cost:02}$abcdefghijklmnopqrstuuJjQ4DbhJzCRxQPS1jTyEGvkQqdmTz1e")
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn every_hash_takes_the_same_rounds_and_what_is_none_matches_nothing() {
        let hash = |start: &str| format!("{start}{}", &nobodys(COST)[start.len()..]);
        let none =
            ["", "-", "plain text", "$2b$10$short", &"é".repeat(30), &"$".repeat(60), "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA"];
        let wrong = ["$2c$10$", "$2b$xx$", "$2b$03$", "$2b$15$", "$2b$31$", "$2b$10$????"].map(hash);
        let good = ["$2a$10$", "$2x$10$", "$2y$10$", "$2b$04$", "$2b$05$", "$2b$09$", "$2b$10$", "$2b$12$"].map(hash);
        let none = none.into_iter().map(|text| (text.to_owned(), false)).chain(wrong.map(|hash| (hash, false)));
        for (hash, is_one) in none.chain(good.map(|hash| (hash, true))) {
            for cost in [12, 13] {
                let rounds = Cell::new(0);
                let found = matches(&hash, cost, |hash| {
                    rounds.set(rounds.get() + (1 << cost_of(hash).expect("only hashes are verified")));
                    true
                });
                assert_eq!((rounds.get(), found), (1 << cost, is_one), "{hash}");
            }
        }
    }

    #[test]
    fn the_hash_of_nobody_is_well_formed_at_any_cost_and_matches_nothing() {
        assert!((LEAST_COST..=MOST_COST).all(|cost| cost_of(&nobodys(cost)) == Some(cost)));
        assert!(!bcrypt::verify("", &nobodys(LEAST_COST)).expect("is well-formed"));
    }
}

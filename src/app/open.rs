//! All open TCP connections: what each is doing, how many an address has, and which go when there are too many. How they are served stands in
//! `connection`.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::connection::Link;
use crate::clock;

/// How many connections there may be, in all and of one address.
#[derive(Clone, Copy, Debug)]
pub struct Most {
    pub all: usize,
    pub of_address: usize,
}

impl Most {
    /// As many as this process may have files, but for a reserve for the database, the log and whatever else it opens; half of them for one address.
    pub fn with(files: u64, of_address: usize) -> Self {
        let files = usize::try_from(files).unwrap_or(usize::MAX);
        let all = files - (files / 8).max(64).min(files / 2);
        Self { all, of_address: of_address.min(all / 2) }
    }
}

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// No request has come yet.
    Fresh,
    /// Waits for the next request.
    Idle,
    /// A request is answered.
    Busy,
    Websocket,
}

/// What a connection is doing, and since when.
#[derive(Clone)]
pub struct Activity(Arc<Mutex<(State, Instant)>>);

impl Activity {
    fn get(&self) -> (State, Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, state: State) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (state, clock::instant());
    }

    /// Whether no request has come yet.
    pub fn is_fresh(&self) -> bool {
        self.get().0 == State::Fresh
    }

    /// A request has come; it is answered when what this returns is dropped.
    pub fn request(&self) -> Busy {
        self.set(State::Busy);
        Busy(self.clone())
    }

    /// It is a websocket from now on.
    pub fn upgrade(&self) {
        self.set(State::Websocket);
    }
}

/// A request at work.
pub struct Busy(Activity);

impl Drop for Busy {
    fn drop(&mut self) {
        if self.0.get().0 == State::Busy {
            self.0.set(State::Idle);
        }
    }
}

struct Entry {
    link: Link,
    network: IpAddr,
    activity: Activity,
}

#[derive(Default)]
struct Table {
    connections: HashMap<u64, Entry>,
    networks: HashMap<IpAddr, usize>,
}

impl Table {
    fn remove(&mut self, number: u64) -> Option<Entry> {
        let entry = self.connections.remove(&number)?;
        if let Some(count) = self.networks.get_mut(&entry.network) {
            *count -= 1;
            if *count == 0 {
                self.networks.remove(&entry.network);
            }
        }
        Some(entry)
    }

    /// Closes some of the connections that no request is at work on: first those on which none has ever come, of these the oldest. Some at a time, for
    /// all are looked at. False when there is none.
    fn make_room(&mut self, among: impl Fn(&Entry) -> bool) -> bool {
        let idle = |(number, entry): (&u64, &Entry)| {
            let (state, since) = entry.activity.get();
            matches!(state, State::Fresh | State::Idle).then_some((state == State::Idle, since, *number))
        };
        let mut idle: Vec<_> = self.connections.iter().filter(|(_, entry)| among(entry)).filter_map(idle).collect();
        idle.sort_unstable();
        for (_, _, number) in idle.iter().take((self.connections.len() / 64).max(1)) {
            if let Some(entry) = self.remove(*number) {
                entry.link.cut();
            }
        }
        !idle.is_empty()
    }
}

/// A server that stops closes its websockets one after the other, over this time at most, so that not all clients come back elsewhere at
/// the same moment; so many of them at a time at least.
const DRAIN: Duration = Duration::from_millis(2500);
const DRAIN_STEP: Duration = Duration::from_millis(10);
const DRAIN_AT_ONCE: usize = 5;

/// All open connections.
#[derive(Clone)]
pub struct Open {
    table: Arc<Mutex<Table>>,
    most: Most,
}

impl Open {
    /// None yet.
    pub fn new(most: Most) -> Self {
        Self { table: Arc::default(), most }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Table) -> T) -> T {
        change(&mut self.table.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// One more connection. Nothing when there are too many, all of them in use; an address that has its share makes room among its own.
    pub fn enter(&self, number: u64, link: Link, network: IpAddr, is_proxy: bool) -> Option<Activity> {
        self.change(|table| {
            let has_its_share = !is_proxy && table.networks.get(&network).is_some_and(|count| *count >= self.most.of_address);
            if has_its_share && !table.make_room(|entry| entry.network == network) {
                return None;
            }
            if table.connections.len() >= self.most.all && !table.make_room(|_| true) {
                return None;
            }
            let activity = Activity(Arc::new(Mutex::new((State::Fresh, clock::instant()))));
            *table.networks.entry(network).or_default() += 1;
            table.connections.insert(number, Entry { link, network, activity: activity.clone() });
            Some(activity)
        })
    }

    /// A connection is closed.
    pub fn leave(&self, number: u64) {
        self.change(|table| table.remove(number));
    }

    /// Closes some that are idle: the system has no more files.
    pub fn make_room(&self) {
        self.change(|table| table.make_room(|_| true));
    }

    /// Closes all websockets, not all at once.
    pub async fn drain(&self) {
        let links: Vec<Link> = self.change(|table| {
            let websockets = table.connections.values().filter(|entry| entry.activity.get().0 == State::Websocket);
            websockets.map(|entry| entry.link.clone()).collect()
        });
        let steps = usize::try_from(DRAIN.as_millis() / DRAIN_STEP.as_millis()).unwrap_or(1);
        for some in links.chunks(links.len().div_ceil(steps).max(DRAIN_AT_ONCE)) {
            some.iter().for_each(Link::cut);
            tokio::time::sleep(DRAIN_STEP).await;
        }
    }

    /// Closes all.
    pub fn cut(&self) {
        self.change(|table| table.connections.values().for_each(|entry| entry.link.cut()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn some_files_are_kept_in_reserve() {
        for (files, all, of_address) in [(1024, 896, 448), (256, 192, 96), (64, 32, 16), (1 << 20, 917_504, 11_000)] {
            let most = Most::with(files, 11_000);
            assert_eq!((most.all, most.of_address), (all, of_address), "{files}");
        }
    }

    #[test]
    fn the_oldest_that_has_asked_nothing_goes_first_and_one_at_work_never() {
        let open = Open::new(Most { all: 4, of_address: 3 });
        let enter = |number, last| open.enter(number, Link::default(), address(last), false);
        let is_open = |number| open.change(|table| table.connections.contains_key(&number));
        let (one, two, three, four) = (enter(1, 1), enter(2, 1), enter(3, 2), enter(4, 3));
        let busy = one.expect("there is room").request();
        drop(two.expect("there is room").request());
        three.expect("there is room").upgrade();
        let fourth = four.expect("there is room").request();
        assert!(enter(5, 4).is_some() && !is_open(2), "the one that is idle");
        assert!(enter(6, 5).is_some() && !is_open(5), "the one that has asked nothing");
        assert!(enter(7, 5).is_some() && !is_open(6));
        open.leave(7);
        assert!(is_open(1) && is_open(3) && is_open(4));
        assert!(enter(8, 1).is_some_and(|activity| {
            activity.upgrade();
            true
        }));
        assert!(enter(9, 6).is_none(), "all are in use");
        drop((busy, fourth));
    }

    #[test]
    fn an_address_has_its_share_and_a_known_proxy_as_many_as_there_are() {
        let open = Open::new(Most { all: 100, of_address: 3 });
        let count = |last| open.change(|table| table.networks.get(&address(last)).copied());
        for number in 0..20 {
            assert!(open.enter(number, Link::default(), address(1), false).is_some());
            assert!(open.enter(100 + number, Link::default(), address(2), true).is_some());
        }
        assert_eq!((count(1), count(2)), (Some(3), Some(20)));
        (0..200).for_each(|number| open.leave(number));
        assert_eq!((count(1), count(2)), (None, None));
    }
}

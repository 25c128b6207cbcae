//! What a socket has heard and nobody has taken yet: events, acks, the end; each held against the document of the events.

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use serde_json::Value;
use tokio::{sync::Notify, time::timeout};

use super::{DEADLINE, event_document};

/// An event that was heard: its name and all its arguments.
#[derive(Clone, PartialEq)]
pub struct Heard {
    pub name: String,
    pub arguments: Vec<Value>,
}

impl fmt::Debug for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:?}", self.name, self.arguments)
    }
}

/// What was heard and not yet taken.
#[derive(Default)]
pub(super) struct Ear {
    state: Mutex<State>,
    pub changed: Notify,
}

#[derive(Default)]
pub(super) struct State {
    pub events: Vec<Heard>,
    pub acks: HashMap<u64, Value>,
    /// The events that asked for an ack.
    pub asked: HashMap<u64, String>,
    /// What was heard and is not as documented.
    pub fault: Option<String>,
    pub connects: Vec<Value>,
    pub refusal: Option<Value>,
    pub is_disconnected: bool,
    pub is_closed: bool,
}

impl Ear {
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }

    pub async fn wait<T>(&self, what: &str, take: impl FnMut(&mut State) -> Option<T>) -> T {
        self.wait_for(DEADLINE, what, take).await
    }

    pub async fn wait_for<T>(&self, patience: Duration, what: &str, mut take: impl FnMut(&mut State) -> Option<T>) -> T {
        let found = timeout(patience, async {
            loop {
                let changed = self.changed.notified();
                self.check();
                if let Some(found) = take(&mut self.state()) {
                    return found;
                }
                changed.await;
            }
        });
        match found.await {
            Ok(found) => found,
            Err(_) => panic!("no {what} came, only {:?}", self.state().events),
        }
    }

    /// Panics when something was heard that is not as documented.
    pub fn check(&self) {
        let fault = self.state().fault.take();
        assert!(fault.is_none(), "{}", fault.unwrap_or_default());
    }

    pub fn take_in(&self, packet: &str) {
        let mut state = self.state();
        let json = |text: &str| serde_json::from_str(text).unwrap_or(Value::Null);
        match packet.split_at_checked(2) {
            Some(("40", payload)) => state.connects.push(json(payload)),
            Some(("41", _)) => state.is_disconnected = true,
            Some(("44", payload)) => state.refusal = Some(json(payload)),
            Some(("42", array)) => {
                let Value::Array(mut arguments) = json(array) else { panic!("{packet} is not an event") };
                let name = arguments.remove(0).as_str().expect("a name is a string").to_owned();
                state.fault = state.fault.take().or_else(|| event_document::fault_of_heard(&name, &arguments));
                state.events.push(Heard { name, arguments });
            }
            Some(("43", rest)) => {
                let (id, array) = rest.split_at(rest.find('[').expect("an ack has arguments"));
                let (id, ack) = (id.parse().expect("an ack has a number"), json(array)[0].clone());
                let fault = state.asked.remove(&id).and_then(|name| event_document::fault_of_ack(&name, &ack));
                state.fault = state.fault.take().or(fault);
                state.acks.insert(id, ack);
            }
            _ => {}
        }
        drop(state);
        self.changed.notify_waiters();
    }
}

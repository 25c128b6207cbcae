//! What waits to be sent on one session, and what its requests and tasks must agree on: which transport it has, whether it is closing, when it is
//! pinged. One lock, held for moments only. What polling asks of it stands in `polls`.

mod polls;
mod state;

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Waker},
    time::Duration,
};

use engineioxide_core::Str;
use tokio::{
    sync::{Notify, mpsc::error::TrySendError},
    time::Instant,
};

use crate::clock;
use crate::config::EngineIoConfig;
use crate::packets::Outgoing;
use crate::socket::DisconnectReason;
pub use polls::{Answer, Refusal};
use state::State;

/// The queue and the state of a session.
pub struct Queue {
    state: Mutex<State>,
    over: Notify,
    most: usize,
}

/// How a session is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// By polling.
    Polling,
    /// By polling, while a websocket tries to take over.
    Probing,
    /// By a websocket.
    Websocket,
}

/// How a session ends.
#[derive(Clone, Debug)]
pub struct Closing {
    /// Why.
    pub reason: DisconnectReason,
    /// What the client gets of it.
    pub ending: Ending,
}

/// What the client gets when a session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ending {
    /// What waits, and the word that it is over.
    Flush,
    /// Nothing that waits: it has ended the session itself, or does not listen.
    Quiet,
    /// Nothing; its connection breaks.
    Cut,
}

/// What the task of a websocket is to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Work {
    /// Nothing.
    Nothing,
    /// To send what waits.
    Send,
    /// To end the session.
    Close,
}

/// What a timer is to do.
pub enum Beat {
    /// Nothing before this moment.
    Wait(Instant),
    /// The client did not answer the ping.
    Dead,
}

/// Changes one of the next texts, or lets it pass.
pub type Rewrite = Box<dyn FnMut(&str) -> Option<String> + Send>;

/// Wakes those who wait, when nothing is locked any more.
fn wake(wakers: impl IntoIterator<Item = Waker>) {
    wakers.into_iter().for_each(Waker::wake);
}

impl Queue {
    /// An empty one, of a session that begins now.
    pub fn new(phase: Phase, config: &EngineIoConfig) -> Self {
        let state = State::new(phase, clock::now() + config.ping_interval);
        Self { state: Mutex::new(state), over: Notify::new(), most: config.max_buffer_size }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a place for one emit.
    pub fn reserve(&self) -> Result<(), TrySendError<()>> {
        let mut state = self.state();
        if state.closing.is_some() {
            return Err(TrySendError::Closed(()));
        }
        if state.emits + state.permits >= self.most {
            return Err(TrySendError::Full(()));
        }
        state.permits += 1;
        Ok(())
    }

    /// Gives a place back that was not used.
    pub fn release(&self) {
        self.state().permits -= 1;
    }

    /// Uses a place that was kept. What is emitted together is sent together.
    pub fn push(&self, packets: impl Iterator<Item = Outgoing>) {
        let mut state = self.state();
        state.permits -= 1;
        if state.closing.is_some() {
            return;
        }
        for packet in packets {
            let packet = state.rewritten(packet);
            state.waits(packet.len());
            state.add(packet);
        }
        let waker = state.sender();
        drop(state);
        wake(waker);
    }

    /// Puts a volatile event in the place of the one before. False when the session is over.
    pub fn push_volatile(&self, packets: Vec<Outgoing>) -> bool {
        let mut state = self.state();
        if state.closing.is_some() {
            return false;
        }
        let before: usize = state.volatile.iter().map(Outgoing::len).sum();
        state.waiting -= before as u64;
        packets.iter().for_each(|packet| state.waits(packet.len()));
        state.volatile = packets;
        let waker = state.sender();
        drop(state);
        wake(waker);
        true
    }

    /// Takes what a websocket is to send next, about `most` bytes: whether a ping, and how many bytes of messages.
    pub fn take(&self, most: usize, mut sink: impl FnMut(Outgoing)) -> (bool, u64) {
        let mut state = self.state();
        let (ping, mut bytes) = (std::mem::take(&mut state.ping), 0);
        while bytes < most
            && let Some(packet) = state.next(|_| true)
        {
            bytes += packet.len();
            sink(packet);
        }
        (ping, bytes as u64)
    }

    /// Notes that bytes of messages have been taken by the network.
    pub fn delivered(&self, bytes: u64) {
        if bytes > 0 {
            let mut state = self.state();
            state.waiting -= bytes;
            state.taken += bytes;
            state.still_since = (state.waiting > 0).then(clock::now);
        }
    }

    /// What there is to do for the task of a websocket. It is woken when there is something, if `cx` says whom to wake.
    pub fn work(&self, cx: Option<&Context<'_>>, may_send: bool) -> Work {
        let mut state = self.state();
        state.task = None;
        if state.closing.is_some() {
            return Work::Close;
        }
        if may_send && (state.ping || !state.packets.is_empty() || !state.volatile.is_empty()) {
            return Work::Send;
        }
        state.task = cx.map(|cx| cx.waker().clone());
        Work::Nothing
    }

    /// What the timer of the session is to do.
    pub fn beat(&self, config: &EngineIoConfig) -> Beat {
        let mut state = self.state();
        let now = clock::now();
        if now >= state.beat {
            if state.awaits_pong {
                return Beat::Dead;
            }
            (state.ping, state.awaits_pong, state.beat) = (true, true, now + config.ping_timeout);
            if state.phase != Phase::Websocket {
                let waker = state.poll.take();
                let beat = state.beat;
                drop(state);
                wake(waker);
                return Beat::Wait(beat);
            }
        }
        Beat::Wait(state.beat)
    }

    /// The client is there.
    pub fn pong(&self, config: &EngineIoConfig) {
        let mut state = self.state();
        (state.awaits_pong, state.beat) = (false, clock::now() + config.ping_interval);
        let waker = if state.phase == Phase::Websocket { None } else { state.task.take() };
        drop(state);
        wake(waker);
    }

    /// Ends the session, for the first reason that is given.
    pub fn close(&self, reason: DisconnectReason, ending: Ending) {
        let mut state = self.state();
        let closing = state.closing.get_or_insert(Closing { reason, ending });
        closing.ending = closing.ending.max(ending);
        if closing.ending != Ending::Flush {
            (state.packets, state.emits) = (VecDeque::new(), 0);
        }
        (state.rewrite, state.volatile) = (None, Vec::new());
        let wakers = state.task.take().into_iter().chain(state.poll.take());
        drop(state);
        wake(wakers);
    }

    /// Why and how the session ends, if it does.
    pub fn closing(&self) -> Option<Closing> {
        self.state().closing.clone()
    }

    /// Why the session ends, for the first who asks, who tells the application.
    pub fn end(&self) -> Option<DisconnectReason> {
        let mut state = self.state();
        let first = !std::mem::replace(&mut state.is_ending, true);
        state.closing.as_ref().filter(|_| first).map(|closing| closing.reason.clone())
    }

    /// The application knows that the session is over.
    pub fn say_ended(&self) {
        self.state().is_over = true;
        self.over.notify_waiters();
    }

    /// Waits until the session is over.
    pub async fn ended(&self) {
        let over = self.over.notified();
        if !self.state().is_over {
            over.await;
        }
    }

    /// How the session is connected.
    pub fn phase(&self) -> Phase {
        self.state().phase
    }

    /// Changes one of the next texts.
    pub fn rewrite(&self, rewrite: Rewrite) {
        self.state().rewrite = Some(rewrite);
    }

    /// Bounds what comes, and what the application is given instead of more.
    pub fn limit_incoming(&self, most: usize, instead: Option<Str>) {
        let mut state = self.state();
        (state.incoming, state.instead) = (most, instead);
    }

    /// How many bytes a message from the client may have.
    pub fn incoming(&self) -> usize {
        self.state().incoming
    }

    /// What the application is given instead of a message that is too long.
    pub fn instead(&self) -> Option<Str> {
        self.state().instead.clone()
    }

    /// Bytes and packets that wait.
    pub fn waiting(&self) -> (u64, usize) {
        let state = self.state();
        (state.waiting, state.packets.len())
    }

    /// Bytes that were taken.
    pub fn taken(&self) -> u64 {
        self.state().taken
    }

    /// For how long something waits and nothing was taken.
    pub fn stalled_for(&self) -> Duration {
        let since = self.state().still_since;
        since.map_or(Duration::ZERO, |since| clock::now().saturating_duration_since(since))
    }
}

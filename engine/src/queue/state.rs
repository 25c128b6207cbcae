//! What the lock of a session guards, and what is done under it.

use std::{collections::VecDeque, task::Waker};

use engineioxide_core::Str;
use tokio::time::Instant;

use super::{Closing, Phase, Refusal, Rewrite, wake};
use crate::clock;
use crate::packets::{CLOSE, Outgoing, PING, SEPARATOR};

/// An empty queue keeps room for so many packets.
const KEPT: usize = 8;

/// What the lock guards.
pub(super) struct State {
    pub packets: VecDeque<Outgoing>,
    /// The newest volatile event: sent when nothing else waits.
    pub volatile: Vec<Outgoing>,
    /// Emits among the packets, and those to come.
    pub emits: usize,
    pub permits: usize,
    /// Bytes that were not taken yet, including those that are being written.
    pub waiting: u64,
    pub taken: u64,
    /// While something waits: when something was taken last, or began to wait.
    pub still_since: Option<Instant>,
    pub phase: Phase,
    pub closing: Option<Closing>,
    pub is_ending: bool,
    pub is_over: bool,
    pub said_close: bool,
    pub has_poll: bool,
    pub has_post: bool,
    /// A waiting poll is to be answered, whatever there is.
    pub release: bool,
    pub ping: bool,
    pub awaits_pong: bool,
    pub beat: Instant,
    pub task: Option<Waker>,
    pub poll: Option<Waker>,
    pub rewrite: Option<Rewrite>,
    pub incoming: usize,
    pub instead: Option<Str>,
}

impl State {
    pub fn new(phase: Phase, first_ping: Instant) -> Self {
        Self {
            packets: VecDeque::new(),
            volatile: Vec::new(),
            emits: 0,
            permits: 0,
            waiting: 0,
            taken: 0,
            still_since: None,
            phase,
            closing: None,
            is_ending: false,
            is_over: false,
            said_close: false,
            has_poll: false,
            has_post: false,
            release: false,
            ping: false,
            awaits_pong: false,
            beat: first_ping,
            task: None,
            poll: None,
            rewrite: None,
            incoming: usize::MAX,
            instead: None,
        }
    }

    pub fn may_begin(&self, has_one: bool) -> Result<(), Refusal> {
        match () {
            () if self.phase == Phase::Websocket => Err(Refusal::Upgraded),
            () if has_one => Err(Refusal::Overlap),
            () => Ok(()),
        }
    }

    pub fn rewritten(&mut self, packet: Outgoing) -> Outgoing {
        if let Outgoing::Text(text) = &packet
            && let Some(rewrite) = &mut self.rewrite
            && let Some(other) = rewrite(text)
        {
            self.rewrite = None;
            return Outgoing::Text(other.into());
        }
        packet
    }

    pub fn waits(&mut self, bytes: usize) {
        self.waiting += bytes as u64;
        if self.still_since.is_none() && self.waiting > 0 {
            self.still_since = Some(clock::now());
        }
    }

    /// Adds a packet.
    pub fn add(&mut self, packet: Outgoing) {
        self.emits += packet.places();
        self.packets.push_back(packet);
    }

    /// Whoever sends what was added.
    pub fn sender(&mut self) -> Option<Waker> {
        if self.phase == Phase::Websocket { self.task.take() } else { self.poll.take() }
    }

    /// The next packet to be sent, if it fits.
    pub fn next(&mut self, fits: impl Fn(&Outgoing) -> bool) -> Option<Outgoing> {
        if self.packets.is_empty() && self.volatile.first().is_some_and(&fits) {
            // An event whose first packet was sent is sent as a whole.
            std::mem::take(&mut self.volatile).into_iter().for_each(|packet| self.add(packet));
        }
        let packet = self.packets.pop_front_if(|packet| fits(packet))?;
        self.emits -= packet.places();
        if self.packets.is_empty() && self.packets.capacity() > KEPT {
            self.packets = VecDeque::new();
        }
        Some(packet)
    }

    /// What a poll is given now, of about `most` bytes: packets while they fit, and one that never will alone.
    pub fn payload(&mut self, most: usize) -> Option<(String, u64)> {
        let (mut payload, mut bytes) = (String::new(), 0);
        let separate = |payload: &mut String| {
            if !payload.is_empty() {
                payload.push(char::from(SEPARATOR));
            }
        };
        if std::mem::take(&mut self.ping) {
            payload.push_str(PING);
        }
        while let Some(packet) = self.next(|packet| payload.is_empty() || payload.len() + 1 + packet.payload_len() <= most) {
            separate(&mut payload);
            packet.append_to(&mut payload);
            bytes += packet.len() as u64;
        }
        if self.closing.is_some() && self.packets.is_empty() {
            separate(&mut payload);
            payload.push_str(CLOSE);
            self.said_close = true;
            wake(self.task.take());
        }
        (!payload.is_empty()).then_some((payload, bytes))
    }
}

//! What the requests of the polling transport ask of a session, and how a websocket takes over from them.

use std::task::{Context, Poll};

use super::{Closing, Ending, Phase, Queue, wake};
use crate::packets::NOOP;

/// Why a poll or a POST is refused.
#[derive(Debug, PartialEq)]
pub enum Refusal {
    /// The session is over.
    Unknown,
    /// It has become a websocket.
    Upgraded,
    /// There is one already.
    Overlap,
}

/// What a poll is answered with.
pub enum Answer {
    /// Packets, and how many bytes of messages are in them.
    Payload(String, u64),
    /// The session is over.
    Gone,
}

impl Queue {
    /// For the task of a polling session: ready when that ends, or has become a websocket.
    pub fn poll_left(&self, cx: &mut Context<'_>) -> Poll<Option<Closing>> {
        let mut state = self.state();
        if state.phase == Phase::Websocket {
            return Poll::Ready(None);
        }
        match &state.closing {
            Some(closing) => Poll::Ready(Some(closing.clone())),
            None => {
                state.task = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Ready when a client that polls was told that the session is over, or there is nothing else that it must be told.
    pub fn poll_said_close(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state();
        let is_flushed = state.closing.as_ref().is_none_or(|closing| closing.ending == Ending::Flush);
        if state.said_close || !is_flushed || state.packets.is_empty() && !state.has_poll {
            return Poll::Ready(());
        }
        state.task = Some(cx.waker().clone());
        Poll::Pending
    }

    /// A websocket tries to take over. False when one does already, or the session is over.
    pub fn start_probe(&self) -> bool {
        let mut state = self.state();
        let may = state.phase == Phase::Polling && state.closing.is_none();
        if may {
            state.phase = Phase::Probing;
        }
        may
    }

    /// The websocket did not take over: polling goes on.
    pub fn stop_probe(&self) {
        let mut state = self.state();
        if state.phase == Phase::Probing {
            (state.phase, state.release) = (Phase::Polling, false);
        }
    }

    /// Answers a poll that waits.
    pub fn release_poll(&self) {
        let mut state = self.state();
        state.release = state.has_poll;
        let waker = state.poll.take();
        drop(state);
        wake(waker);
    }

    /// The websocket takes over. False when the session is over.
    pub fn upgrade(&self) -> bool {
        let mut state = self.state();
        if state.closing.is_some() {
            return false;
        }
        state.phase = Phase::Websocket;
        let wakers = state.task.take().into_iter().chain(state.poll.take());
        drop(state);
        wake(wakers);
        true
    }

    /// Begins a poll.
    pub fn start_poll(&self) -> Result<(), Refusal> {
        let mut state = self.state();
        state.may_begin(state.has_poll)?;
        if state.said_close || state.closing.as_ref().is_some_and(|closing| closing.ending != Ending::Flush) {
            return Err(Refusal::Unknown);
        }
        state.has_poll = true;
        Ok(())
    }

    /// The answer to a poll, which ends it.
    pub fn poll_answer(&self, cx: &mut Context<'_>, most: usize) -> Poll<Answer> {
        let mut state = self.state();
        let answer = match state.closing.as_ref().map(|closing| closing.ending) {
            Some(Ending::Cut) => Answer::Gone,
            Some(Ending::Quiet) => Answer::Payload(NOOP.to_owned(), 0),
            // What waits is the websocket's by now.
            _ if state.phase == Phase::Websocket => Answer::Payload(NOOP.to_owned(), 0),
            _ => match state.payload(most) {
                Some((payload, bytes)) => Answer::Payload(payload, bytes),
                None if state.release => Answer::Payload(NOOP.to_owned(), 0),
                None => {
                    state.poll = Some(cx.waker().clone());
                    return Poll::Pending;
                }
            },
        };
        (state.has_poll, state.release) = (false, false);
        Poll::Ready(answer)
    }

    /// Begins a POST.
    pub fn start_post(&self) -> Result<(), Refusal> {
        let mut state = self.state();
        state.may_begin(state.has_post)?;
        if state.closing.is_some() {
            return Err(Refusal::Unknown);
        }
        state.has_post = true;
        Ok(())
    }

    /// A POST is through.
    pub fn end_post(&self) {
        self.state().has_post = false;
    }
}

//! What a request of a user takes up until its client has taken the answer. Who may take how much is decided in the chat.

use std::sync::{Arc, Mutex, PoisonError};

use axum::{body::HttpBody, extract::Request, middleware::Next, response::Response};

use crate::app::Peer;
use crate::chat::{AtWork, Share};

/// What a request has taken up so far: an extension of every request.
#[derive(Clone, Default)]
pub struct Work(Arc<Mutex<Held>>);

#[derive(Default)]
struct Held {
    place: Option<AtWork>,
    share: Option<Share>,
}

/// An answer that is no longer is taken by the system as soon as it is made.
const SHORT: u64 = 64 * 1024;

impl Work {
    /// It is at work.
    pub fn begin(&self, place: AtWork) {
        self.change(|held| held.place = Some(place));
    }

    /// It reads.
    pub fn read(&self, share: Share) {
        self.change(|held| held.share = Some(share));
    }

    fn change<T>(&self, change: impl FnOnce(&mut Held) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The middleware. A long answer counts until it has been taken, and whoever takes it too slowly is closed.
pub async fn hold(mut request: Request, next: Next) -> Response {
    let (work, peer) = (Work::default(), request.extensions().get::<Peer>().cloned());
    request.extensions_mut().insert(work.clone());
    let response = next.run(request).await;
    let mut held = work.change(std::mem::take);
    let length = response.body().size_hint().lower();
    if length > SHORT
        && let Some(Peer { link, .. }) = peer
    {
        if let Some(share) = &mut held.share {
            share.answer(usize::try_from(length).unwrap_or(usize::MAX));
        }
        let taken = link.taken(length);
        tokio::spawn(async move {
            taken.await;
            drop(held);
        });
    }
    response
}

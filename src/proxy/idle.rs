//! How long a request that is passed on may stand still. How long it takes in all is nobody's business: an upload or an export takes its time.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use tokio::time::Instant;

use crate::clock;

/// When a request last moved.
#[derive(Clone)]
pub struct Activity(Arc<Mutex<Instant>>);

impl Activity {
    /// It moves now.
    pub fn begin() -> Self {
        Self(Arc::new(Mutex::new(clock::instant())))
    }

    fn last(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The outcome of `answer`, or nothing when neither it nor a piece of the body came for so long.
    pub async fn within<T>(&self, idle: Duration, answer: impl Future<Output = T>) -> Option<T> {
        let stands_still = async {
            loop {
                let last = self.last();
                tokio::time::sleep_until(last + idle).await;
                if self.last() == last {
                    return;
                }
            }
        };
        tokio::select! {
            answer = answer => Some(answer),
            () = stands_still => None,
        }
    }
}

/// A body whose pieces are noted as they are taken.
pub struct Watched(pub Body, pub Activity);

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.0).poll_frame(cx));
        *self.1.0.lock().unwrap_or_else(PoisonError::into_inner) = clock::instant();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::body::to_bytes;
    use futures_util::{StreamExt, stream};

    use super::*;

    const IDLE: Duration = Duration::from_secs(100);

    /// Whether an answer comes that takes so many seconds once the body, so many pieces with as many seconds between, is through.
    async fn comes(pieces: usize, pause: u64, answer: u64) -> bool {
        let activity = Activity::begin();
        let pieces = stream::iter(0..pieces).then(move |_| async move {
            tokio::time::sleep(Duration::from_secs(pause)).await;
            Ok::<_, Infallible>("piece")
        });
        let body = Body::new(Watched(Body::from_stream(pieces.boxed()), activity.clone()));
        let exchange = async {
            to_bytes(body, usize::MAX).await.expect("comes");
            tokio::time::sleep(Duration::from_secs(answer)).await;
        };
        activity.within(IDLE, exchange).await.is_some()
    }

    #[tokio::test(start_paused = true)]
    async fn only_standing_still_ends_a_request() {
        assert!(comes(1000, 1, 1).await, "a long upload");
        assert!(comes(5, 99, 99).await, "one with gaps, and an upstream that thinks long");
        assert!(!comes(5, 101, 1).await, "one that stops");
        assert!(!comes(5, 1, 101).await, "an upstream that never answers");
        assert!(!comes(0, 0, 101).await, "nor to a request without a body");
    }
}

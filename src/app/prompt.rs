//! Bodies of requests that must come: patience with a client is bounded, between two pieces and in all. How long a body may be is limited
//! elsewhere.

use std::{
    error::Error,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::{Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use super::connection::SLOWEST;
use crate::clock;

/// So many bytes earn a second more: as slow as a bad mobile line.
const BYTES_PER_SECOND: u64 = 2000;

/// A body that fails when it is waited for too long. Waiting uses patience up, bytes earn it again, up to what it was in the beginning: whoever
/// drips is ended as soon as whoever is silent, and a long body over a slow line comes through. Time in which nobody reads does not count.
pub struct Prompt<B> {
    body: B,
    patience: Duration,
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl<B> Prompt<B> {
    /// A body for which all patience is left.
    pub fn new(body: B) -> Self {
        Self { body, patience: SLOWEST, waiting: None }
    }
}

impl<B> HttpBody for Prompt<B>
where
    B: HttpBody<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Unpin,
{
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
            let patience = self.patience;
            let (_, end) = self.waiting.get_or_insert_with(|| (clock::instant(), Box::pin(tokio::time::sleep(patience))));
            ready!(end.as_mut().poll(cx));
            return Poll::Ready(Some(Err("the body came too slowly".into())));
        };
        let bytes = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref()).map_or(0, |data| data.len() as u64);
        let waited = self.waiting.take().map_or(Duration::ZERO, |(since, _)| since.elapsed());
        let earned = Duration::from_millis(bytes * 1000 / BYTES_PER_SECOND);
        self.patience = (self.patience.saturating_sub(waited) + earned).min(SLOWEST);
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::body::{Body, to_bytes};
    use futures_util::{StreamExt, stream};

    use super::*;

    /// After how many seconds a body of so many pieces has come; nothing when it was not waited for.
    async fn comes(pieces: usize, bytes: usize, pause: Duration) -> Option<u64> {
        let pieces = stream::iter(0..pieces).then(move |_| async move {
            tokio::time::sleep(pause).await;
            Ok::<_, Infallible>(vec![b'x'; bytes])
        });
        let start = clock::instant();
        to_bytes(Body::new(Prompt::new(Body::from_stream(pieces.boxed()))), usize::MAX).await.ok()?;
        Some(start.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_body_may_take_its_time_and_one_that_drips_or_stops_may_not() {
        let second = Duration::from_secs(1);
        assert_eq!(comes(500, 2_100, second).await, Some(500), "a slow line");
        assert_eq!(comes(20, 40_000, 9 * second).await, Some(180), "a line with gaps");
        assert_eq!(comes(9, 1, second).await, Some(9), "a short body");
        assert_eq!(comes(12, 1, second).await, None, "one that drips");
        assert_eq!(comes(500, 1_000, second).await, None, "one that comes too slowly");
        assert_eq!(comes(2, 1_000_000, 11 * second).await, None, "one that stops");
    }
}

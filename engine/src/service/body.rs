//! Bodies of responses.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::queue::{Ending, Queue};
use crate::socket::DisconnectReason;

/// A body of our own: short, and whole.
#[derive(Default)]
pub struct OwnBody {
    bytes: Bytes,
    delivery: Option<Delivery>,
}

/// Messages on their way. When nobody takes the body they are lost, and the client shall know: its session ends.
struct Delivery {
    queue: Arc<Queue>,
    bytes: u64,
    is_taken: bool,
}

impl OwnBody {
    /// A body of this text.
    pub fn of(text: impl Into<Bytes>) -> Self {
        Self { bytes: text.into(), delivery: None }
    }

    /// A body with messages of so many bytes of a queue.
    pub fn with_messages(payload: String, bytes: u64, queue: Arc<Queue>) -> Self {
        Self { bytes: payload.into(), delivery: Some(Delivery { queue, bytes, is_taken: false }) }
    }

    fn take(&mut self) -> Option<Bytes> {
        if let Some(delivery) = &mut self.delivery {
            delivery.is_taken = true;
        }
        self.delivery = None;
        Some(std::mem::take(&mut self.bytes)).filter(|bytes| !bytes.is_empty())
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.queue.delivered(self.bytes);
        if !self.is_taken {
            self.queue.close(DisconnectReason::TransportError, Ending::Quiet);
        }
    }
}

impl Body for OwnBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.len() as u64)
    }
}

pin_project_lite::pin_project! {
    /// The body of a response: of the engine, or of the service that it stands before.
    pub struct ResponseBody<B> {
        #[pin]
        from: From<B>,
    }
}

pin_project_lite::pin_project! {
    #[project = Projected]
    enum From<B> {
        Engine { body: OwnBody },
        Inner { #[pin] body: B },
    }
}

impl<B> ResponseBody<B> {
    pub(super) fn own(body: OwnBody) -> Self {
        Self { from: From::Engine { body } }
    }

    pub(super) fn inner(body: B) -> Self {
        Self { from: From::Inner { body } }
    }
}

impl<B> Body for ResponseBody<B>
where
    B: Body<Data = Bytes>,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().from.project() {
            Projected::Engine { body } => Poll::Ready(body.take().map(|bytes| Ok(Frame::data(bytes)))),
            Projected::Inner { body } => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.from {
            From::Engine { body } => body.is_end_stream(),
            From::Inner { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.from {
            From::Engine { body } => body.size_hint(),
            From::Inner { body } => body.size_hint(),
        }
    }
}

//! What a client that polls sends by a POST: packets in one body, in pieces of any size. The server must hear those before the first that is
//! none, and a poll must bring what it says to them.

#![no_main]

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use engineioxide_core::Packet;
use engineioxide_fuzz::{Heard, Outcome, outcome, run, server};
use http::{Request, StatusCode};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use libfuzzer_sys::fuzz_target;
use tower_service::Service;

/// A body in pieces.
#[derive(Debug, Default)]
struct Pieces(VecDeque<Bytes>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(piece))))
    }
}

// The first byte says in which pieces it comes.
fuzz_target!(|data: &[u8]| {
    let Some((size, payload)) = data.split_first() else { return };
    let (mut expected, mut is_over, mut is_wrong) = (Vec::new(), false, false);
    match std::str::from_utf8(payload) {
        Ok(payload) => {
            for packet in payload.split('\u{1e}') {
                match outcome(packet) {
                    Outcome::Heard(heard) => expected.push(heard),
                    Outcome::Goes => {}
                    Outcome::Closed => is_over = true,
                    Outcome::Wrong => (is_over, is_wrong) = (true, true),
                }
                if is_over {
                    break;
                }
            }
        }
        Err(_) => (is_over, is_wrong) = (true, true),
    }
    run(async {
        let (mut service, recorder) = server();
        let mut ask = async |method: &str, sid: &str, body: Pieces| {
            let request = Request::builder().method(method).uri(format!("/engine.io/?EIO=4&transport=polling{sid}"));
            let answer = Service::<Request<Pieces>>::call(&mut service, request.body(body).expect("valid")).await.expect("answers");
            let (parts, body) = answer.into_parts();
            (parts.status, body.collect().await.expect("a body").to_bytes())
        };
        let (_, open) = ask("GET", "", Pieces::default()).await;
        let open = std::str::from_utf8(&open).expect("text");
        let sid = format!("&sid={}", open.split('"').nth(3).expect("an id"));
        let pieces = payload.chunks(usize::from(*size) + 1).map(Bytes::copy_from_slice).collect();
        let (status, _) = ask("POST", &sid, Pieces(pieces)).await;
        assert_eq!(status, if is_wrong { StatusCode::BAD_REQUEST } else { StatusCode::OK });
        assert_eq!(recorder.heard(), expected);
        if is_over {
            assert_eq!(ask("GET", &sid, Pieces::default()).await.0, StatusCode::BAD_REQUEST);
        } else if !expected.is_empty() {
            let echo = expected.into_iter().map(|heard| match heard {
                Heard::Text(text) => format!("4{text}"),
                Heard::Bytes(bytes) => String::from(Packet::Binary(bytes.into())),
            });
            let (status, polled) = ask("GET", &sid, Pieces::default()).await;
            let echo = echo.collect::<Vec<_>>().join("\u{1e}");
            assert_eq!((status, std::str::from_utf8(&polled)), (StatusCode::OK, Ok(echo.as_str())));
        }
    });
});

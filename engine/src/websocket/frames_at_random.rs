//! Bytes that are nearly frames, in pieces of any size: what comes out does not depend on the pieces, and nothing panics. `ENGINE_FRAMES` says how
//! many, `ENGINE_SEED` with which numbers.

use std::hash::{BuildHasher, RandomState};
use std::ops::ControlFlow;

use super::frames::{Event, Limits, Reader, Violation};

const LIMITS: Limits = Limits { message: 300, frame: 200 };

struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    fn byte(&mut self) -> u8 {
        self.below(256) as u8
    }
}

#[expect(clippy::disallowed_methods, reason = "how long a test takes is not a setting of the server")]
fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// A frame, mostly one that a client may send.
fn frame(random: &mut Random, bytes: &mut Vec<u8>) {
    let kinds = [0x81, 0x82, 0x01, 0x02, 0x00, 0x80, 0x89, 0x8a];
    bytes.push(if random.below(30) == 0 { random.byte() } else { kinds[random.below(8) as usize] });
    let most = if random.below(20) == 0 { 300 } else { 40 };
    let len = random.below(most);
    match len {
        0..=125 => bytes.push(0x80 | len as u8),
        _ => bytes.extend([0xfe, (len >> 8) as u8, len as u8]),
    }
    let mask = [random.byte(), random.byte(), random.byte(), random.byte()];
    bytes.extend(mask);
    let is_odd = random.below(30) == 0;
    for n in 0..len as usize {
        let byte = if is_odd { random.byte() } else { b'4' };
        bytes.push(byte ^ mask[n & 3]);
    }
}

fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>, stops: bool) -> (Vec<String>, Result<(), Violation>) {
    let (mut reader, mut events) = (Reader::default(), Vec::new());
    let mut sink = |event: Event<'_>| {
        events.push(format!("{event:?}"));
        if stops { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let mut result = Ok(());
    for piece in pieces {
        let mut more = reader.push(&mut piece.to_vec(), LIMITS, &mut sink);
        while more == Ok(true) {
            more = reader.resume(LIMITS, &mut sink);
        }
        if more.is_err() {
            result = Err(Violation);
            break;
        }
    }
    (events, result)
}

#[test]
fn what_comes_out_does_not_depend_on_how_it_came_in() {
    let (count, first) = (from_environment("ENGINE_FRAMES").unwrap_or(20_000), from_environment("ENGINE_SEED"));
    let first = first.unwrap_or_else(|| RandomState::new().hash_one(0));
    println!("ENGINE_SEED={first}");
    for seed in (0..count).map(|n| first.wrapping_add(n)) {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let mut bytes = Vec::new();
        (0..1 + random.below(6)).for_each(|_| frame(&mut random, &mut bytes));
        if random.below(4) == 0 {
            let place = random.below(bytes.len() as u64) as usize;
            bytes[place] = random.byte();
        }
        let whole = read([&bytes[..]].into_iter(), false);
        let size = 1 + random.below(50) as usize;
        assert_eq!(read(bytes.chunks(size), false), whole, "seed {seed}, by {size}");
        assert_eq!(read(bytes.chunks(size), true), whole, "seed {seed}, by {size}, one event at a time");
    }
}

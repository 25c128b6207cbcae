//! Pairs of users who write to each other: a closed loop with so many messages in flight per sender, or an open loop at a constant rate. A
//! message counts when both have heard it. What is made of the figures is decided elsewhere.

use std::{
    io::Write,
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use memchr::memmem::Finder;

use crate::{
    database::Told,
    machine,
    samples::percentile,
    swarm::{Client, Ear, Heard, Mouth, Swarm, number_in},
    token,
};

/// How messages are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// Each sender has so many in flight.
    InFlight(usize),
    /// So many a second in all, whatever becomes of them; a message is as late as it is heard after its time.
    PerSecond(f64),
}

/// A run.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// How many pairs: users 1 and 2 have conversation 1, users 3 and 4 conversation 2, and so on.
    pub pairs: usize,
    /// How messages are sent.
    pub pace: Pace,
    /// Whether each message has a `tempId` that identifies it, as the frontend sends it; else one that is only echoed.
    pub identifies: bool,
    /// For how long before anything is measured.
    pub warm_up: Duration,
    /// For how long it is measured.
    pub measured: Duration,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Messages that were heard by both, a second.
    pub rate: f64,
    /// Messages in the measured time, its nudges included.
    pub messages: f64,
    /// From sending (or from when it should have been sent) until the receiver heard, in ms: half, 99 %, 99.9 %, all.
    pub latency: [f64; 4],
    /// What the server sent per message.
    pub frames: f64,
    /// The same in bytes.
    pub bytes: f64,
    /// `conversation-updated` per message.
    pub nudges: f64,
    /// How busy the generator was, in percent of its core.
    pub generator: f64,
}

/// How long anything that must come may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// How many messages are sent on at most in one turn of an open loop that fell behind.
const BURST: usize = 64;

struct Pair {
    sent: usize,
    heard: [usize; 2],
    last_id: [i64; 2],
    nudged: [bool; 2],
    moments: Vec<Instant>,
}

struct Chat {
    pairs: Vec<Pair>,
    window: usize,
    identifies: bool,
    sending: bool,
    joined: usize,
    delivered: usize,
    nudges: u64,
    late: Vec<u32>,
    /// How many messages an open loop has sent.
    issued: usize,
    trouble: Option<String>,
    packet: Vec<u8>,
    text: Finder<'static>,
    conversation: Finder<'static>,
}

const RECEIVED: &[u8] = br#"["message-received",{"id":"#;
const UPDATED: &[u8] = br#"["conversation-updated""#;

impl Chat {
    fn send(&mut self, mouth: &mut Mouth, at: usize, moment: Instant) {
        let Some(pair) = self.pairs.get_mut(at) else { return };
        let (number, conversation, sender) = (pair.sent, at + 1, 2 * at + 1);
        pair.sent += 1;
        pair.moments.push(moment);
        pair.nudged = [false; 2];
        self.packet.clear();
        // As the current frontend sends it, with 64 bytes of text. A `tempId` of less than 12 characters identifies nothing.
        let mark = if self.identifies { machine::milliseconds() } else { number as u128 % 1_000_000 };
        write!(
            self.packet,
            r#"42["send-message",{{"conversationId":{conversation},"senderId":{sender},"message":"{number:010} shall we take the early train to the mountains, Ben?!","tempId":"temp-{mark}"}}]"#
        )
        .ok();
        mouth.say(2 * at, &self.packet);
    }

    fn received(&mut self, mouth: &mut Mouth, socket: usize, array: &[u8]) -> Option<()> {
        let (at, side) = (socket / 2, socket % 2);
        let id = i64::try_from(number_in(array.get(RECEIVED.len()..)?)?).ok()?;
        let conversation = number_in(array.get(self.conversation.find(array)? + 18..)?)?;
        let number = usize::try_from(number_in(array.get(self.text.find(array)? + 16..)?)?).ok()?;
        let (now, window, sending) = (Instant::now(), self.window, self.sending);
        let pair = self.pairs.get_mut(at)?;
        let (heard, last_id) = (pair.heard.get_mut(side)?, pair.last_id.get_mut(side)?);
        if conversation != at as u64 + 1 || number != *heard || id <= *last_id {
            let what = format!("socket {socket} heard message {number} with id {id} after {heard} messages, the last with id {last_id}");
            self.trouble.get_or_insert(what);
            return Some(());
        }
        (*heard, *last_id) = (number + 1, id);
        *pair.nudged.get_mut(side)? = false;
        if side == 1 {
            let late = now.saturating_duration_since(*pair.moments.get(number)?);
            self.late.push(u32::try_from(late.as_micros()).unwrap_or(u32::MAX));
        }
        let [a, b] = pair.heard;
        let done = a.min(b);
        if done == number + 1 {
            self.delivered += 1;
        }
        if sending && pair.sent - done < window {
            self.send(mouth, at, now);
        }
        Some(())
    }
}

impl Ear for Chat {
    fn hear(&mut self, mouth: &mut Mouth, socket: usize, heard: Heard<'_>) {
        match heard {
            Heard::Event(array) if array.starts_with(RECEIVED) => {
                if self.received(mouth, socket, array).is_none() {
                    self.trouble = Some(format!("not a message: {}", String::from_utf8_lossy(array)));
                }
            }
            Heard::Event(array) if array.starts_with(UPDATED) => {
                self.nudges += 1;
                if let Some(nudged) = self.pairs.get_mut(socket / 2).and_then(|p| p.nudged.get_mut(socket % 2)) {
                    *nudged = true;
                }
            }
            Heard::Event(array) if array.starts_with(b"[\"error\"") || array.starts_with(b"[\"message-failed\"") => {
                self.trouble = Some(String::from_utf8_lossy(array).into_owned());
            }
            Heard::Event(_) => {}
            Heard::Connected(_) => {
                mouth.say(socket, format!(r#"421["join-conversation",{{"conversationId":{}}}]"#, socket / 2 + 1).as_bytes());
            }
            Heard::Ack(array) if memchr::memmem::find(array, b"\"ok\":true").is_some() => self.joined += 1,
            other => self.trouble = Some(format!("socket {socket}: {other:?}")),
        }
    }
}

/// Runs a load against a server. `cpu` is asked for processor times at the start and at the end of what is measured.
///
/// Returns what came of it, and what was heard of each conversation.
pub fn run<C>(server: SocketAddr, load: Load, cpu: impl Fn() -> C) -> Result<(Outcome, [C; 2], Vec<Told>)> {
    let mut swarm = Swarm::new(server)?;
    let fresh = || Pair { sent: 0, heard: [0; 2], last_id: [0; 2], nudged: [false; 2], moments: Vec::new() };
    let mut chat = Chat {
        pairs: (0..load.pairs).map(|_| fresh()).collect(),
        window: if let Pace::InFlight(n) = load.pace { n } else { 0 },
        identifies: load.identifies,
        sending: false,
        joined: 0,
        delivered: 0,
        nudges: 0,
        late: Vec::new(),
        issued: 0,
        trouble: None,
        packet: Vec::new(),
        text: Finder::new(b"\"message_text\":\""),
        conversation: Finder::new(b"\"conversation_id\":"),
    };
    for user in 1..=2 * load.pairs {
        swarm.add(&Client { token: token::sign(user as i64), ..Client::default() })?;
        swarm.turn(Duration::ZERO, &mut chat)?;
    }
    swarm.turn_until(PATIENCE, "joining", &mut chat, |chat| chat.joined == 2 * load.pairs || chat.trouble.is_some())?;

    let start = Instant::now();
    drive(&mut swarm, &mut chat, load.pace, start, load.warm_up)?;
    let (mark, own) = (Instant::now(), own_cpu());
    let before = (cpu(), chat.delivered, swarm.tally.frames, swarm.tally.bytes, chat.nudges);
    chat.late.clear();
    drive(&mut swarm, &mut chat, load.pace, start, load.warm_up + load.measured)?;
    let (seconds, delivered, busy) = (mark.elapsed().as_secs_f64(), chat.delivered - before.1, own_cpu() - own);
    chat.sending = false;

    // What is under way comes in, and the nudges that were held back.
    let complete = |pair: &Pair| pair.heard == [pair.sent; 2];
    let all_nudged = |pair: &Pair| pair.sent == 0 || pair.nudged == [true; 2];
    let end = Instant::now() + PATIENCE;
    while !chat.pairs.iter().all(|pair| complete(pair) && all_nudged(pair)) {
        ensure!(chat.trouble.is_none(), "{}", chat.trouble.unwrap_or_default());
        if Instant::now() > end {
            let lost = chat.pairs.iter().filter(|pair| !complete(pair)).count();
            bail!("messages of {lost} pairs are lost, nudges of {}", chat.pairs.iter().filter(|pair| !all_nudged(pair)).count());
        }
        swarm.turn(Duration::from_millis(20), &mut chat)?;
    }
    let after = cpu();
    ensure!(chat.trouble.is_none(), "{}", chat.trouble.unwrap_or_default());

    let messages = (chat.delivered - before.1) as f64;
    chat.late.sort_unstable();
    let outcome = Outcome {
        rate: delivered as f64 / seconds,
        messages,
        latency: [0.5, 0.99, 0.999, 1.0].map(|share| percentile(&chat.late, share) / 1000.0),
        frames: (swarm.tally.frames - before.2) as f64 / messages,
        bytes: (swarm.tally.bytes - before.3) as f64 / messages,
        nudges: (chat.nudges - before.4) as f64 / messages,
        generator: busy.as_secs_f64() / seconds * 100.0,
    };
    let told = |(at, pair): (usize, &Pair)| Told { conversation: at as i64 + 1, messages: pair.sent as i64, newest: pair.last_id[0] };
    let heard = chat.pairs.iter().enumerate().map(told).collect();
    Ok((outcome, [before.0, after], heard))
}

/// Sends at `pace` until `until` after `start`.
fn drive(swarm: &mut Swarm, chat: &mut Chat, pace: Pace, start: Instant, until: Duration) -> Result<()> {
    if let Pace::InFlight(window) = pace
        && !chat.sending
    {
        chat.sending = true;
        for at in 0..chat.pairs.len() {
            for _ in 0..window {
                chat.send(&mut swarm.mouth, at, Instant::now());
            }
        }
    }
    while start.elapsed() < until {
        ensure!(chat.trouble.is_none(), "{}", chat.trouble.take().unwrap_or_default());
        match pace {
            Pace::InFlight(_) => swarm.turn(Duration::from_millis(5), chat)?,
            Pace::PerSecond(rate) => {
                let pairs = chat.pairs.len();
                for _ in 0..BURST {
                    let due = start + Duration::from_secs_f64(chat.issued as f64 / rate);
                    if due > Instant::now() {
                        break;
                    }
                    chat.send(&mut swarm.mouth, chat.issued % pairs, due);
                    chat.issued += 1;
                }
                // No sleep: the core is the generator's own, and a timer is late by more than a message takes.
                swarm.turn(Duration::ZERO, chat)?;
            }
        }
    }
    Ok(())
}

fn own_cpu() -> Duration {
    let usage = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(usage.tv_sec as u64, usage.tv_nsec as u32)
}

//! People who chat in pairs while their connections are cut and made again, and visitors who come and go; what each hears is checked. How long
//! this goes on, and what it costs the server, is not known here.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use memchr::memmem;

use crate::{
    database::Told,
    machine,
    swarm::{Client, Ear, Heard, Mouth, Swarm, number_in},
    token,
};

/// How long a connection lives, at most, and how long its user then stays away.
const LIFE: Duration = Duration::from_secs(10);
const AWAY: Duration = Duration::from_secs(2);

/// A user's connection, or a visitor's: a further one of some user, without recovery.
struct Person {
    user: usize,
    is_visitor: bool,
    /// Whether it is the first user of a pair, who sends.
    sends: bool,
    is_connected: bool,
    pid: Option<String>,
    offset: Option<String>,
    /// The number of the next message; a visitor hears from some message on.
    next: Option<usize>,
    last_id: i64,
    /// When the connection is cut, or made again.
    due: Instant,
}

/// What the first user of a pair has sent; one message is on its way at a time, so that one that is sent again keeps its place.
#[derive(Default)]
struct Sender {
    sent: usize,
    acked: usize,
    is_again: bool,
}

/// Everybody: the users of pairs, numbered as their sockets, then the visitors.
#[derive(Default)]
pub struct Life {
    people: Vec<Person>,
    senders: Vec<Sender>,
    /// How many connections were cut.
    pub cuts: usize,
    trouble: Option<String>,
}

fn conversation_of(user: usize) -> usize {
    user.div_ceil(2)
}

fn send(mouth: &mut Mouth, socket: usize, number: usize) {
    let (conversation, mark) = (socket / 2 + 1, machine::milliseconds());
    let text = format!("{number:010} shall we take the early train to the mountains, Ben?!");
    let packet = format!(r#"421["send-message",{{"conversationId":{conversation},"message":"{text}","tempId":"temp-{mark}"}}]"#);
    mouth.say(socket, packet.as_bytes());
}

impl Person {
    fn client(&self) -> Client {
        let mut auth = if self.is_visitor { String::new() } else { ",\"recovery\":true".to_owned() };
        for (name, value) in [("pid", &self.pid), ("offset", &self.offset)] {
            auth += &value.as_ref().map(|value| format!(",\"{name}\":\"{value}\"")).unwrap_or_default();
        }
        Client { token: token::sign(self.user as i64), auth, receive_buffer: None }
    }
}

impl Life {
    /// Users 1 to twice the number of `pairs`, and visitors, who all start to connect.
    pub fn start(pairs: usize, visitors: usize, swarm: &mut Swarm) -> Result<Self> {
        let (mut life, users) = (Self::default(), 2 * pairs);
        life.senders.resize_with(pairs, Sender::default);
        for socket in 0..users + visitors {
            let (user, is_visitor, due) = (1 + socket % users, socket >= users, Instant::now() + LIFE.mul_f64(fastrand::f64()));
            let (sends, next) = (!is_visitor && user % 2 == 1, (!is_visitor).then_some(0));
            let person = Person { user, is_visitor, sends, is_connected: false, pid: None, offset: None, next, last_id: 0, due };
            swarm.add(&person.client())?;
            life.people.push(person);
        }
        Ok(life)
    }

    /// Cuts whoever's time has come, unless all shall stay, and connects those who were away for long enough.
    pub fn churn(&mut self, swarm: &mut Swarm, all_stay: bool) -> Result<()> {
        let (now, users) = (Instant::now(), 2 * self.senders.len());
        for socket in 0..self.people.len() {
            let Some(person) = self.people.get_mut(socket).filter(|person| person.due <= now) else { continue };
            if !person.is_connected {
                person.due = now + LIFE.mul_f64(fastrand::f64());
                if person.is_visitor {
                    (person.user, person.next) = (1 + fastrand::usize(..users), None);
                }
                swarm.place(socket, &person.client())?;
            // Without a private id there is nothing to come back to.
            } else if !all_stay && (person.is_visitor || person.pid.is_some()) {
                person.is_connected = false;
                person.due = now + AWAY.mul_f64(fastrand::f64());
                self.cuts += 1;
                if person.is_visitor && fastrand::bool() {
                    swarm.mouth.say(socket, b"41");
                    swarm.turn(Duration::ZERO, self)?;
                }
                swarm.cut(socket);
            }
        }
        Ok(())
    }

    /// The sender of a pair sends a message, unless it is away or waits for an answer.
    pub fn speak(&mut self, mouth: &mut Mouth, pair: usize) {
        let is_there = self.people.get(2 * pair).is_some_and(|p| p.is_connected && p.pid.is_some());
        if let Some(sender) = self.senders.get_mut(pair).filter(|s| is_there && s.acked == s.sent) {
            send(mouth, 2 * pair, sender.sent);
            (sender.sent, sender.is_again) = (sender.sent + 1, false);
        }
    }

    /// Fails when something was heard that should not be, or not heard that should.
    pub fn check(&mut self) -> Result<()> {
        self.trouble.take().map_or(Ok(()), |trouble| bail!(trouble))
    }

    /// Whether every message is acknowledged and heard.
    pub fn is_complete(&self) -> bool {
        let heard = |(socket, p): (usize, &Person)| p.is_visitor || self.senders.get(socket / 2).is_some_and(|s| p.next == Some(s.sent));
        self.senders.iter().all(|s| s.acked == s.sent) && self.people.iter().enumerate().all(heard)
    }

    /// What was heard of each conversation.
    pub fn told(&self) -> Vec<Told> {
        let newest = |at: usize| self.people.get(2 * at + 1).map_or(0, |person| person.last_id);
        let told = |(at, s): (usize, &Sender)| Told { conversation: at as i64 + 1, messages: s.sent as i64, newest: newest(at) };
        self.senders.iter().enumerate().map(told).collect()
    }

    /// How many messages were sent.
    pub fn sent(&self) -> usize {
        self.senders.iter().map(|sender| sender.sent).sum()
    }

    /// How many are connected.
    pub fn connected(&self) -> usize {
        self.people.iter().filter(|person| person.is_connected).count()
    }

    fn received(&mut self, socket: usize, array: &[u8]) -> Option<()> {
        let after = |key: &[u8]| number_in(array.get(memmem::find(array, key)? + key.len()..)?);
        let number = usize::try_from(after(b"\"message_text\":\"")?).ok()?;
        let (id, conversation) = (i64::try_from(after(b"\"id\":")?).ok()?, usize::try_from(after(b"\"conversation_id\":")?).ok()?);
        let person = self.people.get_mut(socket)?;
        let expected = *person.next.get_or_insert(number);
        // Whoever sends a message again is answered with the stored one, heard before or not.
        let is_echo = self.senders.get(socket / 2).is_some_and(|s| person.sends && s.is_again && number + 1 == s.sent);
        if conversation != conversation_of(person.user) || number != expected && !(is_echo && number + 1 == expected) {
            let what = format!("socket {socket} heard message {number} of conversation {conversation}, and should have heard {expected}");
            self.trouble.get_or_insert(what);
        }
        (person.next, person.last_id) = (Some(number + 1), id);
        // The offset is the last argument, a text; the message is an object.
        if let Some(text) = array.strip_suffix(b"\"]") {
            person.offset = Some(String::from_utf8_lossy(text.rsplit(|b| *b == b'"').next()?).into_owned());
        }
        Some(())
    }
}

impl Ear for Life {
    fn hear(&mut self, mouth: &mut Mouth, socket: usize, heard: Heard<'_>) {
        let Some(person) = self.people.get_mut(socket) else { return };
        match heard {
            Heard::Connected(answer) => {
                if let Some(pid) = std::str::from_utf8(answer).ok().and_then(|a| a.split_once("\"pid\":\"")?.1.split('"').next()) {
                    person.pid = Some(pid.to_owned());
                }
                if !std::mem::replace(&mut person.is_connected, true) {
                    let conversation = conversation_of(person.user);
                    mouth.say(socket, format!(r#"421["join-conversation",{conversation}]"#).as_bytes());
                    let sender = self.senders.get_mut(socket / 2).filter(|_| person.sends);
                    if let Some(sender) = sender.filter(|s| s.acked < s.sent) {
                        sender.is_again = true;
                        send(mouth, socket, sender.sent - 1);
                    }
                    if person.is_visitor {
                        mouth.say(socket, format!(r#"42["typing",{{"conversationId":{conversation}}}]"#).as_bytes());
                        mouth.say(socket, format!(r#"42["mark-as-read",{{"conversationId":{conversation}}}]"#).as_bytes());
                    }
                }
            }
            Heard::Event(array) if array.starts_with(b"[\"message-received\"") => {
                if self.received(socket, array).is_none() {
                    self.trouble.get_or_insert(format!("not a message: {}", String::from_utf8_lossy(array)));
                }
            }
            Heard::Event(array) if array.starts_with(b"[\"error\"") || array.starts_with(b"[\"message-failed\"") => {
                self.trouble.get_or_insert(String::from_utf8_lossy(array).into_owned());
            }
            Heard::Event(_) => {}
            Heard::Ack(array) if memmem::find(array, b"\"ok\":true").is_some() => {
                let sender = self.senders.get_mut(socket / 2).filter(|_| memmem::find(array, b"\"message\":{").is_some());
                sender.into_iter().for_each(|sender| sender.acked = sender.sent);
            }
            other => {
                self.trouble.get_or_insert(format!("socket {socket}: {other:?}"));
            }
        }
    }
}

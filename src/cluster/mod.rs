//! Several nodes as one server, over Redis. What is told here is told to the sockets of this node at once and published for the others; nothing
//! waits for Redis, and nothing is kept in it. What a node missed while Redis, or its connection to it, was away is read from the tables.

mod ear;
mod examine;
mod frame;
mod line;
mod peers;

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use entity::MessageId;
use futures_util::StreamExt;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::timeout,
};

use crate::auth::random_hex;
use crate::chat::{Audience, Event, Fact, NodeId, Outbox};
use crate::clock;
use crate::rest::Linked;
use crate::socket::{Context, Hub, adopt_guests};
use ear::{Ear, Heal};
pub use examine::examine;
use frame::{Frame, Incoming, Outgoing, Refused, Seal};
use line::Line;
use peers::Arrival;

/// This node among the others.
pub struct Cluster {
    node: NodeId,
    hub: Arc<Hub>,
    line: Line,
    seal: Seal,
    outgoing: mpsc::Sender<String>,
    /// Taken by the publishing task.
    unpublished: Mutex<Option<mpsc::Receiver<String>>>,
    publishing: Mutex<Option<JoinHandle<()>>>,
    /// Something was not even queued.
    is_lossy: AtomicBool,
    is_leaving: AtomicBool,
    is_linked: watch::Sender<bool>,
    /// How often the nodes have come to reach each other.
    links: AtomicU64,
    /// The id of the message that was told last.
    newest: AtomicI64,
}

/// How many items may wait to be published, and how many go in one frame.
const QUEUE: usize = 65_536;
const BATCH: usize = 256;
/// How often each node gives a sign of life.
const BEAT: Duration = Duration::from_secs(1);
/// A node that does not even hear itself for this long connects anew.
const DEAF: Duration = Duration::from_secs(4);
const CONNECT: Duration = Duration::from_secs(2);
const RETRY: Duration = Duration::from_millis(200);
/// How long a starting node waits for Redis before it serves alone.
const START: Duration = Duration::from_secs(2);

impl Cluster {
    /// A node that is not connected yet, of those that share a secret and the database with this id.
    ///
    /// # Errors
    /// A sentence, when the URL cannot be read.
    pub fn new(url: &str, channel: &str, secret: &str, database: &str, hub: Arc<Hub>) -> Result<Arc<Self>, String> {
        let (outgoing, unpublished) = mpsc::channel(QUEUE);
        Ok(Arc::new(Self {
            node: NodeId(u64::from_str_radix(&random_hex::<8>(), 16).unwrap_or_default()),
            hub,
            line: Line::new(url, &channel_of(channel, database))?,
            seal: Seal::new(secret, database),
            outgoing,
            unpublished: Mutex::new(Some(unpublished)),
            publishing: Mutex::default(),
            is_lossy: AtomicBool::new(false),
            is_leaving: AtomicBool::new(false),
            is_linked: watch::Sender::new(false),
            links: AtomicU64::new(0),
            newest: AtomicI64::new(0),
        }))
    }

    /// Publishes and listens from now on. Returns when this node is connected, or when it has tried for a while and goes on alone.
    pub async fn start(self: &Arc<Self>, context: Context) {
        if let Ok(newest) = context.chat.newest().await {
            self.newest.store(newest.0, Ordering::Relaxed);
        }
        let unpublished = self.unpublished.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(unpublished) = unpublished {
            let publishing = context.vital.spawn("publishing", Arc::clone(self).publish(unpublished));
            *self.publishing.lock().unwrap_or_else(PoisonError::into_inner) = Some(publishing);
        }
        let vital = context.vital.clone();
        vital.spawn("listening to other nodes", Arc::clone(self).listen(context));
        let mut linked = self.is_linked.subscribe();
        if timeout(START, linked.wait_for(|linked| *linked)).await.is_err() {
            tracing::warn!("Redis is away: this node serves its own sockets, and will heal when it is back");
        }
    }

    /// Takes leave of the other nodes, after all that is queued has been published.
    pub async fn leave(&self) {
        self.is_leaving.store(true, Ordering::Release);
        self.say(&Outgoing::Bye);
        let publishing = self.publishing.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(publishing) = publishing {
            publishing.await.ok();
        }
    }

    fn say(&self, item: &Outgoing<'_>) {
        let Ok(item) = serde_json::to_string(item) else { return };
        if self.outgoing.try_send(item).is_err() {
            self.is_lossy.store(true, Ordering::Release);
        }
    }

    /// Publishes what is queued, and a sign of life when nothing is. What cannot be published is lost, and its number tells that.
    async fn publish(self: Arc<Self>, mut unpublished: mpsc::Receiver<String>) {
        let (mut connection, mut items, mut number) = (None, Vec::new(), 0);
        let mut beat = tokio::time::interval(BEAT);
        while !(self.is_leaving.load(Ordering::Acquire) && unpublished.is_empty()) {
            tokio::select! {
                _ = unpublished.recv_many(&mut items, BATCH) => {}
                _ = beat.tick() => {}
            }
            number += 1 + u64::from(self.is_lossy.swap(false, Ordering::AcqRel));
            let frame = format!("{{\"node\":{},\"number\":{number},\"items\":[{}]}}", self.node.0, items.join(","));
            items.clear();
            self.line.publish(&mut connection, self.seal.seal(&frame)).await;
        }
    }

    /// Hears what all nodes publish, this one included: so it knows that it is heard.
    async fn listen(self: Arc<Self>, context: Context) {
        let mut ear = Ear::default();
        loop {
            if let Ok(Ok(mut frames)) = timeout(CONNECT, self.line.subscribe()).await {
                ear.peers.revive();
                ear.must_heal = true;
                self.say(&Outgoing::Hello);
                while let Ok(Some(frame)) = timeout(DEAF, frames.next()).await {
                    self.hear(&context, &mut ear, &frame);
                }
                if self.is_linked.send_replace(false) {
                    tracing::warn!("Redis is away: other nodes' messages will be read from the tables when it is back");
                }
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    fn hear(&self, context: &Context, ear: &mut Ear, frame: &[u8]) {
        let opened = self.seal.open(frame).and_then(|json| serde_json::from_slice(json).map_err(|_| Refused::Version));
        let Frame { node, number, items } = match opened {
            Ok(frame) => frame,
            Err(refused) => return ear.refuse(refused, &context.metrics),
        };
        if node == self.node {
            return self.beat(context, ear);
        }
        match ear.peers.arrive(node, number) {
            Arrival::Late => return,
            Arrival::Next => {}
            Arrival::AfterGap => {
                ear.must_heal = true;
                self.say(&Outgoing::Hello);
            }
        }
        for item in items {
            match serde_json::from_str(item.get()) {
                Ok(Incoming::Tell(audience, event)) => {
                    self.note(&event);
                    if let Event::Typing { room, user, with, name, is_typing } = &event {
                        context.chat.note_typing(*room, *user, *with, name.clone(), *is_typing);
                    }
                    self.hub.tell_here(audience, event);
                }
                Ok(Incoming::Know(fact)) => self.learn(context, node, fact),
                Ok(Incoming::Hello) => ear.must_introduce = true,
                Ok(Incoming::Bye) => {
                    ear.peers.leave(node);
                    context.chat.forget_node(node, true);
                }
                Err(_) => ear.refuse(Refused::Version, &context.metrics),
            }
        }
    }

    fn learn(&self, context: &Context, node: NodeId, fact: Fact) {
        match fact {
            Fact::Seen { user, visitor } => adopt_guests(context, user, context.chat.vouch_by_node(user, visitor)),
            Fact::Resumed { user, pid } => self.hub.supersede(user, &pid, None),
            Fact::Expelled(user) => self.hub.expel_user(user),
            fact => context.chat.learn(node, fact),
        }
    }

    /// This node has heard itself: it is connected, and does what was put off.
    fn beat(&self, context: &Context, ear: &mut Ear) {
        if !self.is_linked.send_replace(true) {
            self.links.fetch_add(1, Ordering::Relaxed);
            tracing::info!("the nodes reach each other");
        }
        if ear.last_beat.is_some_and(|at| at.elapsed() < BEAT / 2) {
            return;
        }
        ear.last_beat = Some(clock::instant());
        for node in ear.peers.silent() {
            tracing::warn!(node = node.0, "a node is gone without a word");
            context.chat.forget_node(node, false);
            // It may have stored what it had no time to publish.
            ear.must_heal = true;
        }
        if std::mem::take(&mut ear.must_introduce) {
            context.chat.introduce();
        }
        let newest = self.newest.load(Ordering::Relaxed);
        if let Some(heal) = ear.heal() {
            self.hub.fall_behind();
            let ((mut heard, seen), healed) = (ear.heard(newest), ear.healed.clone());
            if heal == Heal::Foreign {
                // It goes on for as long as the other node is there: nobody is nudged for the same twice.
                heard = heard.max(healed.load(Ordering::Relaxed));
            }
            let chat = context.chat.clone();
            tokio::spawn(async move {
                loop {
                    match chat.nudge_since(MessageId(heard), seen).await {
                        Ok(reached) => return healed.store(reached.0, Ordering::Relaxed),
                        Err(_) => tokio::time::sleep(BEAT).await,
                    }
                }
            });
        }
        ear.beat(newest);
    }

    fn note(&self, event: &Event) {
        if let Event::Message { message, .. } = event {
            // Not the greatest: when the tables are put back, ids are given out again.
            self.newest.store(message.id.0, Ordering::Relaxed);
        }
    }
}

/// The channel of the nodes over the database with this id.
fn channel_of(name: &str, database: &str) -> String {
    format!("{name}:{database}")
}

impl Linked for Cluster {
    fn is_up(&self) -> bool {
        *self.is_linked.borrow()
    }

    fn queued(&self) -> usize {
        self.outgoing.max_capacity() - self.outgoing.capacity()
    }

    fn reconnections(&self) -> u64 {
        self.links.load(Ordering::Relaxed).saturating_sub(1)
    }
}

impl Outbox for Cluster {
    fn tell(&self, audience: Audience, event: Event) {
        self.note(&event);
        match &audience {
            Audience::Socket(_) => {}
            // The socket that sent it is here.
            Audience::RoomAnd(room, _) => self.say(&Outgoing::Tell(&Audience::RoomAnd(*room, None), &event)),
            audience => self.say(&Outgoing::Tell(audience, &event)),
        }
        self.hub.tell_here(audience, event);
    }

    fn tell_here(&self, audience: Audience, event: Event) {
        self.hub.tell_here(audience, event);
    }

    fn share(&self, fact: Fact) {
        self.say(&Outgoing::Know(&fact));
    }
}

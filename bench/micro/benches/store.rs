//! What the writer and the inbox cost on an SQLite file: no socket, no JSON. Run by hand:
//! `cargo bench --manifest-path bench/Cargo.toml -p tidings-micro --bench store`.

use std::sync::Arc;

use divan::{Bencher, counter::ItemsCount};
use entity::{ConversationId, UserId};
use tempfile::TempDir;
use tidings::chat::Message;
use tidings::clock;
use tidings::config::Settings;
use tidings::metrics::Metrics;
use tidings::store::jobs::{Done, Job, NewMessage, SendKey, Stored};
use tidings::store::writer::Writer;
use tidings::store::{InboxFilter, NewUser, Page, Store};
use tidings::vital::Vital;
use tokio::{runtime::Runtime, sync::oneshot};

fn main() {
    divan::main();
}

/// A database with users who each have a conversation with user 1.
struct Setting {
    runtime: Runtime,
    store: Arc<Store>,
    writer: Writer,
    users: Vec<UserId>,
    conversations: Vec<ConversationId>,
    count: u64,
    _folder: TempDir,
}

fn setting(conversations: usize) -> Setting {
    let runtime = Runtime::new().expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite://{}/bench.db", folder.path().display());
    let pool = Settings::load_with(None, |_| None).expect("the defaults").database;
    let (store, writer, users, ids) = runtime.block_on(async {
        let store = Arc::new(Store::open(&url, &pool, false).await.expect("a store"));
        let mut users = Vec::new();
        for n in 0..=conversations {
            let user = NewUser {
                username: format!("user{n}"),
                email: format!("user{n}@bench.example"),
                password_hash: "no password".into(),
                role: "traveller".into(),
                created_at: clock::now(),
            };
            users.push(store.create_user(user).await.expect("a user"));
        }
        let mut ids = Vec::new();
        for other in &users[1..] {
            ids.push(store.get_or_create_conversation(users[0], *other, clock::now()).await.expect("a conversation").0);
        }
        let writer = Writer::start(store.clone(), Arc::new(Metrics::new(&[])), &Vital::default(), 4096, 256);
        (store, writer, users, ids)
    });
    Setting { runtime, store, writer, users, conversations: ids, count: 0, _folder: folder }
}

impl Setting {
    /// Stores messages that are queued at once.
    fn send(&mut self, messages: usize) {
        self.runtime.block_on(async {
            let mut told = Vec::with_capacity(messages);
            for n in 0..messages {
                self.count += 1;
                let at = n % self.conversations.len();
                let text = "shall we take the early train to the mountains, or the late one?".to_owned();
                let nonce = format!("temp-{:013}", self.count);
                let key = Some(SendKey::new("conversation", self.conversations[at].0, self.users[0], &nonce, &text));
                let (conversation, sender, receiver) = (self.conversations[at], self.users[at + 1], self.users[0]);
                let new = NewMessage { conversation, sender, receiver, text, key, accepted: clock::instant() };
                let (tell, heard) = oneshot::channel::<Stored<Message>>();
                let done = Done::new(move |outcome| drop(tell.send(outcome.expect("is stored"))));
                self.writer.submit(Job::Message(new, done)).await;
                told.push(heard);
            }
            for heard in told {
                heard.await.expect("is told");
            }
        });
    }
}

/// Messages that are queued at once, from the queue to the one who waits, an fsync for each batch included.
#[divan::bench(args = [1, 8, 64, 256], sample_count = 50, sample_size = 4)]
fn write(bencher: Bencher, messages: usize) {
    let mut setting = setting(10);
    bencher.counter(ItemsCount::new(messages)).bench_local(move || setting.send(messages));
}

#[divan::bench(args = [10, 100], sample_count = 50, sample_size = 4)]
fn inbox(bencher: Bencher, conversations: usize) {
    let mut setting = setting(conversations);
    setting.send(conversations * 20);
    let Setting { runtime, store, users, .. } = &setting;
    bencher.bench_local(|| runtime.block_on(store.inbox(users[0], &InboxFilter::default())).expect("an inbox"));
}

#[divan::bench(sample_count = 50, sample_size = 4)]
fn unread_count(bencher: Bencher) {
    let mut setting = setting(100);
    setting.send(2000);
    let Setting { runtime, store, users, .. } = &setting;
    bencher.bench_local(|| runtime.block_on(store.unread_count(users[0])).expect("a count"));
}

#[divan::bench(args = [50, 1000], sample_count = 50, sample_size = 4)]
fn history(bencher: Bencher, limit: u64) {
    let mut setting = setting(1);
    setting.send(2000);
    let Setting { runtime, store, conversations, .. } = &setting;
    let page = Page { limit: Some(limit), ..Page::default() };
    bencher.bench_local(|| runtime.block_on(store.history(conversations[0], page)).expect("a history"));
}

//! Reads that many ask for at once, as when a node has gone and all of its clients come here: while one is under way, who else asks waits,
//! and the next reads for all of them. Alone, nobody waits. Nothing is kept: an answer is never older than its question.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Semaphore, oneshot};

use crate::error::Result;

/// So many are read for by one statement.
const MOST: usize = 128;

/// Those who ask for a `V` by a `K`.
pub struct Gather<K, V> {
    waiting: Mutex<Vec<Asked<K, V>>>,
    turn: Semaphore,
}

type Asked<K, V> = (K, oneshot::Sender<Result<Option<V>>>);

impl<K, V> Default for Gather<K, V> {
    fn default() -> Self {
        Self { waiting: Mutex::default(), turn: Semaphore::new(1) }
    }
}

impl<K: Clone + Eq + Hash, V: Clone> Gather<K, V> {
    /// What `read` finds for a key, asked together with others' keys. It gets them repeated up to a power of two, so that its statements
    /// have few different forms.
    pub async fn get<R>(&self, key: K, read: impl Fn(Vec<K>) -> R) -> Result<Option<V>>
    where
        R: Future<Output = Result<HashMap<K, V>>>,
    {
        let mut told = self.ask(&key);
        loop {
            let turn = tokio::select! {
                biased;
                answer = &mut told => match answer {
                    Ok(answer) => return answer,
                    // Whoever was reading has given up.
                    Err(_) => {
                        told = self.ask(&key);
                        continue;
                    }
                },
                turn = self.turn.acquire() => turn,
            };
            let asked = self.take();
            let mut keys: Vec<K> = asked.iter().map(|(key, _)| key.clone()).collect();
            keys.resize(keys.len().next_power_of_two(), key.clone());
            let found = read(keys).await;
            for (key, tell) in asked {
                tell.send(found.as_ref().map(|found| found.get(&key).cloned()).map_err(Clone::clone)).ok();
            }
            drop(turn);
        }
    }

    fn ask(&self, key: &K) -> oneshot::Receiver<Result<Option<V>>> {
        let (tell, told) = oneshot::channel();
        self.waiting().push((key.clone(), tell));
        told
    }

    /// Those whose turn it is, but for whoever waits no more.
    fn take(&self) -> Vec<Asked<K, V>> {
        let mut waiting = self.waiting();
        waiting.retain(|(_, tell)| !tell.is_closed());
        let some = waiting.len().min(MOST);
        waiting.drain(..some).collect()
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Asked<K, V>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::future::join_all;
    use tokio::sync::Notify;

    use super::*;
    use crate::error::Error;

    /// The doubles of what is asked for, but of 13; each reading waits for a word, and is written down.
    #[derive(Default)]
    struct Doubles {
        readings: Mutex<Vec<usize>>,
        go: Notify,
    }

    impl Doubles {
        async fn read(&self, keys: Vec<u32>) -> Result<HashMap<u32, u32>> {
            self.readings.lock().expect("no holder panics").push(keys.len());
            self.go.notified().await;
            if keys.contains(&99) {
                return Err(Error::Unavailable);
            }
            Ok(keys.into_iter().filter(|key| *key != 13).map(|key| (key, 2 * key)).collect())
        }
    }

    #[tokio::test]
    async fn who_asks_during_a_reading_shares_the_next_and_everybody_gets_their_own_answer() {
        let (gather, doubles) = (Gather::default(), Doubles::default());
        let get = |key| gather.get(key, |keys| doubles.read(keys));
        let all = join_all((1..=20).map(get));
        let words = async {
            for _ in 0..2 {
                doubles.go.notify_one();
                tokio::task::yield_now().await;
            }
        };
        let (answers, ()) = tokio::join!(all, words);
        let answers: Vec<Option<u32>> = answers.into_iter().map(|answer| answer.expect("it is read")).collect();
        assert_eq!(answers, (1..=20).map(|key| (key != 13).then_some(2 * key)).collect::<Vec<_>>());
        assert_eq!(*doubles.readings.lock().expect("no holder panics"), [1, 32]);
    }

    #[tokio::test]
    async fn when_a_reader_gives_up_another_reads_and_a_failure_is_told_to_all_of_its_reading() {
        let (gather, doubles) = (Arc::new(Gather::default()), Arc::new(Doubles::default()));
        let get = |key| {
            let (gather, doubles) = (gather.clone(), doubles.clone());
            tokio::spawn(async move { gather.get(key, |keys| doubles.read(keys)).await })
        };
        let first = get(1);
        tokio::task::yield_now().await;
        let others = [get(2), get(99)];
        tokio::task::yield_now().await;
        first.abort();
        doubles.go.notify_one();
        for other in others {
            assert!(matches!(other.await.expect("no panic"), Err(Error::Unavailable)));
        }
        doubles.go.notify_one();
        assert!(matches!(get(3).await.expect("no panic"), Ok(Some(6))));
    }
}

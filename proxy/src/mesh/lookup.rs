//! What the control plane says of keys that come from outside: addresses that applications connect to, names that they
//! resolve. Asked for on first use, kept while in use, and bounded: who makes keys up costs nobody else.

use std::{
    collections::HashMap,
    fmt::Display,
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::{mpsc, watch};
use weft_proxy_api::Kind;

/// More keys than this are not asked for.
const LIMIT: usize = 4096;

/// Resources that are to be subscribed to: their kind and name.
pub type Wanted = mpsc::UnboundedSender<(Kind, String)>;

pub struct Lookup<K, V> {
    kind: Kind,
    entries: Mutex<HashMap<K, Entry<V>>>,
    wanted: Wanted,
    changed: watch::Sender<()>,
}

struct Entry<V> {
    /// `None`: asked for, and not answered yet.
    said: Option<V>,
    used: Instant,
}

/// The control plane has said nothing about the key: it is away, slow, or asked for too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Silent;

impl<K: Clone + Eq + Hash + Display, V: Clone> Lookup<K, V> {
    pub fn new(kind: Kind, wanted: Wanted) -> Self {
        Self { kind, entries: Mutex::default(), wanted, changed: watch::Sender::new(()) }
    }

    /// What is known of the key.
    pub fn known(&self, key: &K) -> Option<V> {
        let mut entries = self.lock();
        let entry = entries.get_mut(key)?;
        entry.used = Instant::now();
        entry.said.clone()
    }

    /// What the control plane says of the key; it is asked where nothing is known yet, and waited for at most so long.
    pub async fn find(&self, key: &K, limit: Duration) -> Result<V, Silent> {
        let mut changed = self.changed.subscribe();
        if !self.ask(key) {
            return Err(Silent);
        }
        let said = async {
            loop {
                if let Some(said) = self.known(key) {
                    return said;
                }
                if changed.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::time::timeout(limit, said).await.map_err(|_| Silent)
    }

    /// Has the key subscribed to, once. `false`: there are too many.
    fn ask(&self, key: &K) -> bool {
        let mut entries = self.lock();
        if entries.contains_key(key) {
            return true;
        }
        if entries.len() >= LIMIT {
            return false;
        }
        entries.insert(key.clone(), Entry { said: None, used: Instant::now() });
        // The receiver lives as long as the process.
        let _ = self.wanted.send((self.kind, key.to_string()));
        true
    }

    pub fn take(&self, key: K, said: V) {
        self.lock().entry(key).or_insert_with(|| Entry { said: None, used: Instant::now() }).said = Some(said);
        self.changed.send_replace(());
    }

    pub fn remove(&self, key: &K) {
        self.lock().remove(key);
    }

    /// The keys that nobody has used within `idle`, of those about which `is_loose` was said: they are forgotten.
    pub fn forget_unused(&self, idle: Duration, is_loose: impl Fn(&V) -> bool) -> Vec<(Kind, String)> {
        let now = Instant::now();
        let mut forgotten = Vec::new();
        self.lock().retain(|key, entry| {
            let is_unused = now.duration_since(entry.used) > idle && entry.said.as_ref().is_none_or(&is_loose);
            if is_unused {
                forgotten.push((self.kind, key.to_string()));
            }
            !is_unused
        });
        forgotten
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, Entry<V>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    type Asked = mpsc::UnboundedReceiver<(Kind, String)>;

    fn lookup() -> (Arc<Lookup<u32, &'static str>>, Asked) {
        let (wanted, asked) = mpsc::unbounded_channel();
        (Arc::new(Lookup::new(Kind::Address, wanted)), asked)
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_is_asked_for_once_and_waited_for() {
        let (lookup, mut asked) = lookup();
        let finding = lookup.clone();
        let first = tokio::spawn(async move { finding.find(&7, LONG).await });
        assert_eq!(asked.recv().await, Some((Kind::Address, "7".to_owned())));
        lookup.take(7, "here");
        assert_eq!(first.await.unwrap(), Ok("here"));
        assert_eq!(lookup.find(&7, LONG).await, Ok("here"));
        assert!(asked.try_recv().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_not_answered_gives_up_and_who_makes_keys_up_is_not_asked_for() {
        let (lookup, _asked) = lookup();
        assert_eq!(lookup.find(&1, Duration::from_secs(5)).await, Err(Silent));
        for key in 0..LIMIT as u32 {
            lookup.ask(&key);
        }
        assert!(!lookup.ask(&1_000_000));
        assert!(lookup.ask(&1));
    }

    #[tokio::test]
    async fn only_what_is_loose_and_unused_is_forgotten() {
        let (lookup, _asked) = lookup();
        lookup.take(1, "loose");
        lookup.take(2, "held");
        assert!(lookup.forget_unused(LONG, |_| true).is_empty());
        let forgotten = lookup.forget_unused(Duration::ZERO, |said| *said == "loose");
        assert_eq!(forgotten, [(Kind::Address, "1".to_owned())]);
        assert_eq!((lookup.known(&1), lookup.known(&2)), (None, Some("held")));
    }
}

//! A map from keys to their values, of which a changed copy shares nearly everything with the one before.
//!
//! A snapshot follows another after every change, and a mesh has some hundred thousand endpoints: what is indexed by
//! address or by id must neither be built anew nor copied for one of them. Entries lie sorted in a thousand lists, by the
//! hash of their key; a change copies the list that it falls into and the list of lists. That is a few kilobytes, where a
//! tree of shared nodes would spend more memory on its nodes than on the entries.

use std::{
    borrow::Borrow,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

const SHARDS: usize = 1024;

type Shard<K, V> = Vec<(K, V)>;

/// A key can have several values, in their order and each once.
#[derive(Clone, Debug)]
pub(super) struct Shards<K, V>(Arc<Vec<Arc<Shard<K, V>>>>);

impl<K, V> Default for Shards<K, V> {
    fn default() -> Self {
        // All the same empty list, until there is something to put into one.
        Self(Arc::new(vec![Arc::default(); SHARDS]))
    }
}

impl<K: Hash + Ord + Clone, V: Ord + Clone> Shards<K, V> {
    pub fn insert(&mut self, key: K, value: V) {
        let entry = (key, value);
        if let Some(shard) = self.shard_mut(&entry.0)
            && let Err(at) = shard.binary_search(&entry)
        {
            shard.insert(at, entry);
        }
    }

    pub fn remove(&mut self, key: &K, value: &V) {
        let Some(at) = self.all(key).position(|found| found == value) else { return };
        if let Some(shard) = self.shard_mut(key) {
            let first = shard.partition_point(|(other, _)| other < key);
            shard.remove(first + at);
        }
    }

    /// Every value of the key, in order.
    pub fn all<Q: Hash + Ord + ?Sized>(&self, key: &Q) -> impl Iterator<Item = &V>
    where
        K: Borrow<Q>,
    {
        let shard = self.0.get(place(key)).map(|shard| shard.as_slice()).unwrap_or_default();
        let first = shard.partition_point(|(other, _)| other.borrow() < key);
        let from_first = shard.get(first..).unwrap_or_default().iter();
        from_first.take_while(move |(other, _)| other.borrow() == key).map(|(_, value)| value)
    }

    /// The first value of the key.
    pub fn get<Q: Hash + Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.all(key).next()
    }

    /// In no order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = &(K, V)> {
        self.0.iter().flat_map(|shard| shard.iter())
    }

    fn shard_mut(&mut self, key: &K) -> Option<&mut Shard<K, V>> {
        Arc::make_mut(&mut self.0).get_mut(place(key)).map(Arc::make_mut)
    }
}

/// Which list a key is in.
fn place<Q: Hash + ?Sized>(key: &Q) -> usize {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    usize::try_from(hasher.finish() % SHARDS as u64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// As a set of pairs, whatever is done to it, and a copy stays as it was.
        #[test]
        fn it_holds_what_was_put_into_it(steps in prop::collection::vec((any::<bool>(), 0..40u16, 0..3u8), 0..100)) {
            let (mut shards, mut expected) = (Shards::default(), BTreeSet::new());
            for (adds, key, value) in steps {
                let (before, held) = (shards.clone(), expected.clone());
                if adds {
                    shards.insert(key, value);
                    expected.insert((key, value));
                } else {
                    shards.remove(&key, &value);
                    expected.remove(&(key, value));
                }
                for (shards, expected) in [(&shards, &expected), (&before, &held)] {
                    let values: Vec<u8> = expected.range((key, 0)..=(key, 3)).map(|(_, value)| *value).collect();
                    prop_assert_eq!(shards.all(&key).copied().collect::<Vec<_>>(), values);
                }
            }
            prop_assert_eq!(shards.iter().copied().collect::<BTreeSet<_>>(), expected);
        }
    }

    #[test]
    fn a_change_copies_one_list() {
        let mut before = Shards::default();
        (0..10_000u32).for_each(|key| before.insert(key, ()));
        let mut after = before.clone();
        after.insert(10_000, ());
        let shared = before.0.iter().zip(after.0.iter()).filter(|(one, other)| Arc::ptr_eq(one, other)).count();
        assert_eq!(shared, SHARDS - 1);
        assert_eq!((before.get(&10_000), after.get(&10_000)), (None, Some(&())));
    }
}

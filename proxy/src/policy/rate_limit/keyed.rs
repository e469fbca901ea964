//! A bucket for each key, in memory that has an end: callers can think of as many keys as they like.
//!
//! A key is known by its hash, with a seed of this process, so that long keys cost nothing. A bucket that is full again is
//! as good as none. So when there are as many buckets as there may be, the one that was not asked for longest makes room
//! if it is full. If it is not, the new key shares one bucket with all others that find no room: no key gets more than its
//! limit by a flood of others, and those that had a bucket keep it.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use lru::LruCache;
use xxhash_rust::xxh3::xxh3_128_with_seed;

use super::{Bucket, Left, Rate};

/// About a megabyte for each limit.
const MOST: usize = 10_000;

/// What requests have in common that share a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key(u128);

pub struct Keyed {
    seed: u64,
    rows: Mutex<Rows>,
}

struct Rows {
    buckets: LruCache<Key, Bucket>,
    most: usize,
    /// Of all keys that find no room.
    crowd: Bucket,
}

impl Keyed {
    pub fn new(seed: u64, now: Instant) -> Self {
        Self::with_room_for(MOST, seed, now)
    }

    fn with_room_for(most: usize, seed: u64, now: Instant) -> Self {
        // Grows as it fills.
        let rows = Rows { buckets: LruCache::unbounded(), most, crowd: Bucket::full(now) };
        Self { seed, rows: Mutex::new(rows) }
    }

    pub fn key(&self, text: &[u8]) -> Key {
        Key(xxh3_128_with_seed(text, self.seed))
    }

    /// As [`Bucket::take`].
    ///
    /// # Errors
    /// The key's bucket is empty.
    pub fn take(&self, key: Key, rate: Rate, now: Instant) -> Result<Left, Duration> {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        rows.bucket(key, rate, now).take(rate, now)
    }

    pub fn give_back(&self, key: Key, rate: Rate) {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let Rows { buckets, crowd, .. } = &mut *rows;
        buckets.get_mut(&key).unwrap_or(crowd).give_back(rate);
    }
}

impl Rows {
    fn bucket(&mut self, key: Key, rate: Rate, now: Instant) -> &mut Bucket {
        if !self.buckets.contains(&key) {
            if self.buckets.len() >= self.most && !self.make_room(rate, now) {
                return &mut self.crowd;
            }
            self.buckets.put(key, Bucket::full(now));
        }
        self.buckets.get_mut(&key).unwrap_or(&mut self.crowd)
    }

    fn make_room(&mut self, rate: Rate, now: Instant) -> bool {
        let is_full = self.buckets.peek_lru().is_some_and(|(_, bucket)| bucket.clone().is_full(rate, now));
        is_full && self.buckets.pop_lru().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { requests: 1, per: Duration::from_secs(1), burst: 2 };

    fn through(keyed: &Keyed, key: &str, now: Instant) -> bool {
        keyed.take(keyed.key(key.as_bytes()), RATE, now).is_ok()
    }

    #[test]
    fn each_key_has_its_own() {
        let now = Instant::now();
        let keyed = Keyed::new(1, now);
        for key in ["a", "b", ""] {
            assert_eq!([(); 3].map(|()| through(&keyed, key, now)), [true, true, false], "{key:?}");
        }
        keyed.give_back(keyed.key(b"a"), RATE);
        assert_eq!([(); 2].map(|()| through(&keyed, "a", now)), [true, false]);
    }

    #[test]
    fn a_flood_of_keys_takes_no_memory_and_frees_nobody() {
        let start = Instant::now();
        let keyed = Keyed::with_room_for(2, 1, start);
        assert_eq!(["a", "a", "a", "b"].map(|key| through(&keyed, key, start)), [true, true, false, true]);
        // No room: they share one bucket.
        assert_eq!(["c", "d", "e", "c"].map(|key| through(&keyed, key, start)), [true, true, false, false]);
        assert_eq!(["a", "b", "b"].map(|key| through(&keyed, key, start)), [false, true, false]);
        assert_eq!(keyed.rows.lock().unwrap().buckets.len(), 2);
        // `a` was not asked for longest, and is full: it makes room, and is as good as new when it comes again.
        let later = start + Duration::from_secs(2);
        assert_eq!(["c", "c", "c"].map(|key| through(&keyed, key, later)), [true, true, false]);
        assert_eq!(["a", "a", "a"].map(|key| through(&keyed, key, later)), [true, true, false]);
        assert_eq!(keyed.rows.lock().unwrap().buckets.len(), 2);
    }
}

//! The answers that are kept: bounded by their bytes; what was not used for longest goes first.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use lru::LruCache;

use super::{
    Key,
    freshness::{self, Lifetime},
    reuse::Forwarded,
};

/// What an entry takes beside its text, roughly.
const OVERHEAD: u64 = 512;
/// Answers to one target that differ by their `Vary`; the oldest goes first.
const VARIANTS: usize = 16;

#[derive(Clone, Debug)]
pub struct Entry {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    lifetime: Lifetime,
    /// The fields of the request that the answer depends on, with all their lines.
    vary: Vec<(HeaderName, Vec<HeaderValue>)>,
}

impl Entry {
    pub fn new(request: &HeaderMap, status: StatusCode, headers: HeaderMap, lifetime: Lifetime) -> Self {
        let lines = headers.get_all(header::VARY).iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
        let names = lines.filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok());
        let vary = names.map(|name| (name.clone(), request.get_all(name).iter().cloned().collect())).collect();
        Self { status, headers, body: Bytes::new(), lifetime, vary }
    }

    pub fn lifetime(&self) -> &Lifetime {
        &self.lifetime
    }

    pub fn is_fresh_for(&self, request: &HeaderMap, now: Instant) -> bool {
        self.lifetime.is_fresh_for(request, now)
    }

    pub fn may_stand_in(&self, now: Instant) -> bool {
        self.lifetime.may_stand_in(now)
    }

    fn is_for(&self, request: &HeaderMap) -> bool {
        (self.lifetime.for_everybody || !freshness::is_personal(request))
            && self.vary.iter().all(|(name, lines)| request.get_all(name).iter().eq(lines))
    }

    fn size(&self) -> u64 {
        let headers = self.headers.iter().map(|(name, value)| name.as_str().len() + value.len());
        let vary = self.vary.iter().flat_map(|(_, lines)| lines.iter().map(HeaderValue::len));
        OVERHEAD + (self.body.len() + headers.chain(vary).sum::<usize>()) as u64
    }
}

pub struct Store {
    entries: LruCache<Key, Vec<Arc<Entry>>>,
    limit: u64,
    bytes: u64,
}

impl Store {
    pub fn new(limit: u64) -> Self {
        // Grows as it fills: most rules answer few targets.
        Self { entries: LruCache::unbounded(), limit, bytes: 0 }
    }

    /// # Errors
    /// There is none; why.
    pub fn find(&mut self, key: &Key, request: &HeaderMap) -> Result<Arc<Entry>, Forwarded> {
        let variants = self.entries.get(key).ok_or(Forwarded::UriMiss)?;
        variants.iter().rev().find(|entry| entry.is_for(request)).cloned().ok_or(Forwarded::VaryMiss)
    }

    /// Keeps an answer, in the place of the one before.
    pub fn put(&mut self, key: Key, request: &HeaderMap, entry: Entry) {
        self.remove_variant(&key, request);
        let size = entry.size() + key.0.len() as u64;
        if size > self.limit {
            return;
        }
        self.bytes += size;
        match self.entries.get_mut(&key) {
            Some(variants) => {
                variants.push(Arc::new(entry));
                if variants.len() > VARIANTS {
                    self.bytes -= variants.remove(0).size() + key.0.len() as u64;
                }
            }
            None => _ = self.entries.put(key, vec![Arc::new(entry)]),
        }
        while self.bytes > self.limit {
            let Some((key, variants)) = self.entries.pop_lru() else { return };
            self.bytes -= size_of(&key, &variants);
        }
    }

    /// Forgets the answer to requests like this one.
    pub fn remove_variant(&mut self, key: &Key, request: &HeaderMap) {
        let Some(variants) = self.entries.get_mut(key) else { return };
        let before = size_of(key, variants);
        variants.retain(|entry| !entry.is_for(request));
        self.bytes -= before - size_of(key, variants);
        if variants.is_empty() {
            self.entries.pop(key);
        }
    }

    /// Forgets all answers to the target.
    pub fn remove(&mut self, key: &Key) {
        if let Some(variants) = self.entries.pop(key) {
            self.bytes -= size_of(key, &variants);
        }
    }

    #[cfg(test)]
    pub fn bytes(&self) -> (u64, u64) {
        (self.bytes, self.entries.iter().map(|(key, variants)| size_of(key, variants)).sum())
    }
}

fn size_of(key: &Key, variants: &[Arc<Entry>]) -> u64 {
    variants.iter().map(|entry| entry.size() + key.0.len() as u64).sum()
}

//! An answer that is copied as it passes, and kept when all of it has passed.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;

use super::{Cache, Key, store::Entry};
use crate::http::{body::End, tap::Tap};

pub struct Recording {
    cache: Arc<Cache>,
    key: Key,
    request: HeaderMap,
    /// `None`: it is not kept after all.
    entry: Option<Entry>,
    body: BytesMut,
    reserved: u64,
}

impl Recording {
    pub fn new(cache: Arc<Cache>, key: Key, request: HeaderMap, entry: Entry) -> Self {
        Self { cache, key, request, entry: Some(entry), body: BytesMut::new(), reserved: 0 }
    }

    fn give_up(&mut self) {
        self.entry = None;
        self.body = BytesMut::new();
    }
}

impl Tap for Recording {
    fn data(&mut self, data: &Bytes) {
        if self.entry.is_none() {
            return;
        }
        let more = data.len() as u64;
        self.reserved += more;
        let is_short = self.reserved <= self.cache.settings.max_entry_bytes;
        match self.cache.reserve(more) && is_short {
            true => self.body.extend_from_slice(data),
            false => self.give_up(),
        }
    }

    /// Trailers would have to be kept, too; an answer that has some is not.
    fn ended(mut self: Box<Self>, end: End<'_>) {
        if let End::Complete { trailers: None } = end
            && let Some(mut entry) = self.entry.take()
        {
            entry.body = std::mem::take(&mut self.body).freeze();
            self.cache.lock().put(self.key.clone(), &self.request, entry);
        }
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.cache.release(self.reserved);
    }
}

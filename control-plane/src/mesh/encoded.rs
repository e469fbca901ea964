//! Resources as they are sent: encoded once for all streams, and kept over publications that did not touch them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use weft_proxy_api::{Kind, Resource, proto::discovery};

use crate::snapshot::{Touched, Use};

/// Encoded resources that are kept for other streams; names come from outside, so that there must be an end.
const CACHED: usize = 65_536;

#[derive(Default)]
pub struct Encoded(Mutex<HashMap<(Kind, String), Entry>>);

struct Entry {
    resource: Arc<discovery::Resource>,
    reuse: Reuse,
    /// Some stream has asked for it since the last publication.
    is_wanted: bool,
}

/// Whether a resource can be taken over into the next publication.
pub enum Reuse {
    Never,
    /// As long as none of these is touched.
    Untouched(Box<[Use]>),
}

impl Reuse {
    pub fn of(uses: Vec<Use>) -> Self {
        Self::Untouched(uses.into())
    }

    fn survives(&self, touched: &Touched) -> bool {
        matches!(self, Self::Untouched(uses) if !touched.concerns(uses.iter()))
    }
}

impl Encoded {
    /// `make` is called without the lock, and perhaps by several at once: they make the same.
    pub fn get_or_make(
        &self,
        kind: Kind,
        name: &str,
        make: impl FnOnce() -> Option<(Resource, Reuse)>,
    ) -> Option<Arc<discovery::Resource>> {
        let key = (kind, name.to_owned());
        if let Some(entry) = self.lock().get_mut(&key) {
            entry.is_wanted = true;
            return Some(entry.resource.clone());
        }
        let (resource, reuse) = make()?;
        let resource = Arc::new(resource.encode());
        let mut entries = self.lock();
        if entries.len() < CACHED {
            entries.insert(key, Entry { resource: resource.clone(), reuse, is_wanted: true });
        }
        Some(resource)
    }

    /// What is left for the next publication: what is in use, and was not touched. The streams that still read this one
    /// make anew what they miss.
    pub fn without(&self, touched: &Touched) -> Self {
        let mut entries = std::mem::take(&mut *self.lock());
        entries.retain(|_, entry| std::mem::take(&mut entry.is_wanted) && entry.reuse.survives(touched));
        Self(Mutex::new(entries))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(Kind, String), Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

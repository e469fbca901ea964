//! Answers that are kept in the sidecar: a shared cache as RFC 9111 has it, for one rule of a destination.
//!
//! `freshness` decides what may be kept and for how long, `store` keeps it within its bounds, `recording` copies an
//! answer as it passes, `reuse` makes an answer out of what is kept. The outbound path asks before it sends a request, and
//! again when it has failed.
//!
//! What is kept is found by the backend that it came from, the host that was addressed and the target, so that no
//! destination ever answers for another one; and by the request's fields that its `Vary` names. All callers behind one
//! sidecar are one workload, but the users behind that are not: to a request with
//! `Authorization` or `Cookie` only an answer is kept, or given, that says that it is for everybody.

mod freshness;
mod recording;
mod reuse;
mod store;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Instant, SystemTime},
};

use http::{Method, Response, StatusCode, header, request::Parts};
use http_body::Body as _;
use weft_proxy_api::policy::Cache as Settings;

use super::body::Body;
use freshness::Lifetime;
use recording::Recording;
pub use reuse::{CACHE_STATUS, Forwarded};
pub use store::Entry;
use store::Store;

pub struct Cache {
    settings: Settings,
    store: Mutex<Store>,
    /// Bytes of answers that are not complete yet.
    under_way: AtomicU64,
}

/// Where an answer is found.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key(Box<str>);

impl Key {
    /// Neither a backend's name nor a host nor a target contains a line break.
    pub fn new(backend: &str, host: &[u8], target: &Parts) -> Self {
        let path = target.uri.path_and_query().map_or("/", |path| path.as_str());
        Self(format!("{backend}\n{}\n{path}", String::from_utf8_lossy(host)).into())
    }
}

/// What is kept for a request.
#[derive(Clone)]
pub enum Kept {
    /// Nothing; why, as RFC 9211 names it.
    Nothing(Forwarded),
    /// An answer that may be given without asking.
    Fresh(Arc<Entry>),
    /// An answer that may stand in for a failure; `None` if it may not.
    Stale(Option<Arc<Entry>>),
}

impl Cache {
    pub fn new(settings: Settings) -> Self {
        Self { store: Mutex::new(Store::new(settings.max_bytes)), settings, under_way: AtomicU64::new(0) }
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What is kept for the request.
    pub fn find(&self, key: &Key, request: &Parts, now: Instant) -> Kept {
        if !matches!(request.method, Method::GET | Method::HEAD) {
            return Kept::Nothing(Forwarded::Method);
        }
        if !may_be_answered(request) {
            return Kept::Nothing(Forwarded::Request);
        }
        let entry = match self.lock().find(key, &request.headers) {
            Ok(entry) => entry,
            Err(missed) => return Kept::Nothing(missed),
        };
        match self.settings.serve_fresh && entry.is_fresh_for(&request.headers, now) {
            true => Kept::Fresh(entry),
            false => Kept::Stale(Some(entry).filter(|entry| entry.may_stand_in(now))),
        }
    }

    /// Keeps the answer to a `GET` as it passes, if it may be kept; whether it may. What was kept before goes if this one is
    /// its successor and may not be kept.
    pub fn record(self: &Arc<Self>, key: &Key, request: &Parts, response: Response<Body>) -> (Response<Body>, bool) {
        if request.method != Method::GET || request.headers.contains_key(header::RANGE) {
            return (response, false);
        }
        let (parts, body) = response.into_parts();
        let (now, stand_in) = ((Instant::now(), SystemTime::now()), self.settings.stale_if_error);
        let lifetime = Lifetime::of(&request.headers, parts.status, &parts.headers, stand_in, now);
        let is_short = body.size_hint().lower() <= self.settings.max_entry_bytes;
        let Some(lifetime) = lifetime.filter(|_| is_short) else {
            if !parts.status.is_server_error() && parts.status != StatusCode::NOT_MODIFIED {
                self.lock().remove_variant(key, &request.headers);
            }
            return (Response::from_parts(parts, body), false);
        };
        let entry = Entry::new(&request.headers, parts.status, parts.headers.clone(), lifetime);
        let recording = Recording::new(self.clone(), key.clone(), request.headers.clone(), entry);
        (Response::from_parts(parts, body.tapped(Box::new(recording))), true)
    }

    /// Forgets what is kept of a target, which a request has changed (RFC 9111, section 4.4).
    pub fn forget(&self, key: &Key) {
        self.lock().remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes room for this much of an answer that is not complete yet. All of these have as much as the store.
    fn reserve(&self, bytes: u64) -> bool {
        let before = self.under_way.fetch_add(bytes, Ordering::Relaxed);
        before.saturating_add(bytes) <= self.settings.max_bytes
    }

    fn release(&self, bytes: u64) {
        self.under_way.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Whether a kept answer may be given for the request at all.
fn may_be_answered(request: &Parts) -> bool {
    let headers = &request.headers;
    let only_there = [header::RANGE, header::IF_MATCH, header::IF_UNMODIFIED_SINCE];
    !only_there.iter().any(|name| headers.contains_key(name)) && !freshness::insists(headers)
}

#[cfg(test)]
mod tests;

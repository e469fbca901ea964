//! The rate limits of requests to the application, as live objects: which requests each is for, and its buckets.
//!
//! A limit that an update does not change keeps its buckets. Called by `inbound` for every request, and by
//! `discovery::quota` for the limits that are shared.

use std::{
    borrow::Cow,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use http::{HeaderName, HeaderValue, request::Parts};
use prometheus_client::metrics::counter::Counter;
use tokio::sync::Notify;
use weft_certs::SpiffeId;
use weft_proxy_api::policy::{RateKey, RateLimit};

use crate::{
    policy::rate_limit::{Bucket, Key, Keyed, Left, Rate, Shared},
    route::Matcher,
    telemetry::LimitMetrics,
};

/// All of them, at least one.
pub struct Limits {
    all: Vec<Arc<Limiter>>,
    /// Told when a shared limit needs a new lease soon.
    short: Arc<Notify>,
}

pub struct Limiter {
    pub limit: RateLimit,
    rate: Rate,
    matcher: Matcher,
    count: Count,
    refused: Counter,
}

enum Count {
    Total(Mutex<Bucket>),
    Keyed(Keyed, RateKey),
    Shared(Shared),
}

/// A request, as limits see it.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// Of the application.
    pub port: u16,
    /// `None`: it came in plaintext.
    pub caller: Option<&'a SpiffeId>,
    pub parts: &'a Parts,
    pub now: Instant,
}

/// How one limit decided.
pub struct Decision<'a> {
    pub limiter: &'a Limiter,
    /// Let through, with so much left; or the time after which it would be.
    pub taken: Result<Left, Duration>,
}

impl Limits {
    /// `None`: there are none. Those of `before` that are the same go on as they are.
    pub fn compile(limits: &[RateLimit], before: Option<&Self>, metrics: &LimitMetrics) -> Option<Self> {
        let old = || before.into_iter().flat_map(|before| &before.all);
        for gone in old().filter(|old| !limits.iter().any(|limit| limit.name == old.limit.name)) {
            metrics.forget(&gone.limit.name);
        }
        let live = |limit: &RateLimit| match old().find(|old| old.limit == *limit) {
            Some(same) => same.clone(),
            None => Arc::new(Limiter::new(limit, metrics)),
        };
        let short = before.map(|before| before.short.clone()).unwrap_or_default();
        (!limits.is_empty()).then(|| Self { all: limits.iter().map(live).collect(), short })
    }

    /// The first limit that refuses the request; else the one that will be the next to refuse. `None`: it falls under no
    /// limit. A request that one limit refuses counts for no other.
    pub fn decide(&self, asked: Asked<'_>) -> Option<Decision<'_>> {
        let mut tightest: Option<(&Limiter, Left)> = None;
        for (index, limiter) in self.all.iter().enumerate() {
            if !limiter.concerns(asked) {
                continue;
            }
            match limiter.take(asked, &self.short) {
                Ok(left) if tightest.is_none_or(|(_, other)| left.requests < other.requests) => {
                    tightest = Some((limiter, left));
                }
                Ok(_) => {}
                Err(wait) => {
                    limiter.refused.inc();
                    let earlier = self.all.iter().take(index).filter(|earlier| earlier.concerns(asked));
                    earlier.for_each(|earlier| earlier.give_back(asked));
                    return Some(Decision { limiter, taken: Err(wait) });
                }
            }
        }
        tightest.map(|(limiter, left)| Decision { limiter, taken: Ok(left) })
    }

    /// Those that need leases.
    pub fn shared(&self) -> impl Iterator<Item = (&str, &Shared)> {
        self.all.iter().filter_map(|limiter| match &limiter.count {
            Count::Shared(shared) => Some((limiter.limit.name.as_str(), shared)),
            Count::Total(_) | Count::Keyed(..) => None,
        })
    }

    /// Told when a shared limit needs a new lease soon.
    pub fn short(&self) -> Arc<Notify> {
        self.short.clone()
    }
}

impl Limiter {
    fn new(limit: &RateLimit, metrics: &LimitMetrics) -> Self {
        let (rate, now) = (Rate::from(limit), Instant::now());
        let count = match &limit.key {
            RateKey::Total if limit.shared => Count::Shared(Shared::new(rate, now)),
            RateKey::Total => Count::Total(Mutex::new(Bucket::full(now))),
            key => Count::Keyed(Keyed::new(rand::random(), now), key.clone()),
        };
        let matcher = Matcher::compile(&limit.matches);
        Self { limit: limit.clone(), rate, matcher, count, refused: metrics.refused(&limit.name) }
    }

    fn concerns(&self, Asked { port, parts, .. }: Asked<'_>) -> bool {
        (self.limit.ports.is_empty() || self.limit.ports.contains(&port))
            && self.matcher.matches(&parts.method, &parts.uri, &parts.headers).is_some()
    }

    fn take(&self, asked: Asked<'_>, short: &Notify) -> Result<Left, Duration> {
        match &self.count {
            Count::Total(bucket) => bucket.lock().unwrap_or_else(PoisonError::into_inner).take(self.rate, asked.now),
            Count::Keyed(keyed, by) => keyed.take(key(keyed, by, asked), self.rate, asked.now),
            Count::Shared(shared) => {
                let (taken, asks) = shared.take(asked.now);
                if asks {
                    short.notify_one();
                }
                taken
            }
        }
    }

    fn give_back(&self, asked: Asked<'_>) {
        match &self.count {
            Count::Total(bucket) => bucket.lock().unwrap_or_else(PoisonError::into_inner).give_back(self.rate),
            Count::Keyed(keyed, by) => keyed.give_back(key(keyed, by, asked), self.rate),
            Count::Shared(shared) => shared.give_back(),
        }
    }
}

/// Whose bucket it is. Callers without an identity share one, and requests without the header.
fn key(keyed: &Keyed, by: &RateKey, asked: Asked<'_>) -> Key {
    match by {
        RateKey::Total => keyed.key(b""),
        RateKey::Identity => keyed.key(asked.caller.map(|caller| caller.as_str().as_bytes()).unwrap_or_default()),
        RateKey::Header(name) => keyed.key(&header(asked.parts, name)),
        RateKey::Path => keyed.key(asked.parts.uri.path().as_bytes()),
    }
}

/// A header that is sent in several lines has the value of all of them, joined by commas (RFC 9110 §5.3).
fn header<'a>(parts: &'a Parts, name: &HeaderName) -> Cow<'a, [u8]> {
    let mut lines = parts.headers.get_all(name).iter().map(HeaderValue::as_bytes);
    let mut value = Cow::Borrowed(lines.next().unwrap_or_default());
    for line in lines {
        let value = value.to_mut();
        value.push(b',');
        value.extend_from_slice(line);
    }
    value
}

#[cfg(test)]
mod tests;

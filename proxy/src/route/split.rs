//! Shares of the traffic: which backend of a rule gets a request.
//!
//! At random by weight, or sticky: the same user always meets the same backend. Stickiness needs no memory, since the
//! backend is computed from the user's key by weighted rendezvous hashing: each backend draws a lot from the key, its
//! name and its weight, and the best lot wins. Raising one weight can only make that backend's lots better, so that
//! when a canary grows, users move to it, as many as its share grew, and none moves anywhere else. Every sidecar
//! computes the same.

use http::HeaderMap;
use weft_proxy_api::route::{Sticky, Target};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::http::key;

#[derive(Debug)]
pub struct Split {
    backends: Vec<Share>,
    total: u64,
    sticky: Option<Sticky>,
}

#[derive(Debug)]
struct Share {
    weight: u32,
    /// Of the backend's name.
    seed: u64,
}

impl Split {
    pub fn new(split: &weft_proxy_api::route::Split) -> Self {
        let names: Vec<(String, u32)> = split
            .backends
            .iter()
            .map(|backend| match &backend.target {
                Target::Backend(name) => (name.to_string(), backend.weight),
                Target::Unresolved(_) => (String::new(), backend.weight),
            })
            .collect();
        Self::of(names.iter().map(|(name, weight)| (name.as_str(), *weight)), split.sticky.clone())
    }

    /// `backends` are names and weights, in the order that [`pick`](Self::pick) counts them.
    fn of<'a>(backends: impl IntoIterator<Item = (&'a str, u32)>, sticky: Option<Sticky>) -> Self {
        let mut shares: Vec<Share> = Vec::new();
        for (name, weight) in backends {
            // A backend that is named twice draws two lots, or the heavier entry would always win.
            let mut seed = xxh3_64_with_seed(name.as_bytes(), 0);
            while shares.iter().any(|share| share.seed == seed) {
                seed = xxh3_64_with_seed(name.as_bytes(), seed);
            }
            shares.push(Share { weight, seed });
        }
        let total = shares.iter().map(|share| u64::from(share.weight)).sum();
        Self { backends: shares, total, sticky }
    }

    /// The index of the backend that gets the request; `None` when the weights sum to 0. `random` decides, unless the
    /// split is sticky and the request has the key.
    pub fn pick(&self, headers: &HeaderMap, random: u64) -> Option<usize> {
        if self.total == 0 {
            return None;
        }
        match self.sticky.as_ref().and_then(|sticky| key(sticky, headers)) {
            Some(key) => self.by_key(key),
            None => self.by_random(random),
        }
    }

    /// What names each backend of the split in a session, the same in every sidecar.
    pub fn tags(&self) -> impl Iterator<Item = u64> {
        self.backends.iter().map(|share| share.seed)
    }

    /// The index of the backend of that tag, unless it is to get nothing.
    pub fn tagged(&self, tag: u64) -> Option<usize> {
        self.backends.iter().position(|share| share.seed == tag && share.weight > 0)
    }

    fn by_random(&self, random: u64) -> Option<usize> {
        let mut place = (u128::from(random) * u128::from(self.total)) >> 64;
        self.backends.iter().position(|share| {
            let weight = u128::from(share.weight);
            let here = place < weight;
            place = place.saturating_sub(weight);
            here
        })
    }

    /// The lot of a backend is -ln(u) / weight with u uniform in (0, 1): an exponential variable whose rate is the
    /// weight, and the least of such variables belongs to each with the probability of its weight.
    fn by_key(&self, key: &[u8]) -> Option<usize> {
        let lots =
            self.backends.iter().enumerate().filter(|(_, share)| share.weight > 0).map(|(index, share)| {
                (index, -uniform(xxh3_64_with_seed(key, share.seed)).ln() / f64::from(share.weight))
            });
        lots.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(index, _)| index)
    }
}

/// The middle of one of 2^52 equal parts of (0, 1), so that neither end is reached.
fn uniform(hash: u64) -> f64 {
    ((hash >> 12) as f64 + 0.5) / (1_u64 << 52) as f64
}

fn key<'a>(sticky: &Sticky, headers: &'a HeaderMap) -> Option<&'a [u8]> {
    match sticky {
        Sticky::Header(name) => key::header(headers, name),
        Sticky::Cookie(name) => key::cookie(headers, name),
    }
}

#[cfg(test)]
mod tests;

//! What a key is looked up in, by the algorithms that hash: a ring or a table of Maglev.
//!
//! It holds all endpoints, also those that cannot be used now: a key whose endpoint is out walks on to the next one, so
//! that only the keys of that endpoint move, and come back with it. It is made when endpoints or weights change, never
//! for a request, and is the same in every sidecar that knows the same endpoints.

use std::collections::HashSet;

use weft_proxy_api::policy::Algorithm;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{Endpoint, maglev, pool::Pool, ring_hash};

#[derive(Debug)]
pub(super) struct Table {
    members: Vec<Member>,
    /// The points of a ring, in order; `None` for a table of Maglev.
    points: Option<Box<[u64]>>,
    /// Indices of endpoints.
    owners: Box<[u32]>,
}

/// An endpoint, as far as its place is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) seed: u64,
    pub(super) weight: u32,
}

impl Table {
    /// `None` for an algorithm that does not hash.
    pub(super) fn new(algorithm: &Algorithm, endpoints: &Pool) -> Option<Self> {
        let members = members(endpoints);
        match algorithm {
            Algorithm::RingHash(_) => {
                let (points, owners) = ring_hash::build(&members);
                Some(Self { members, points: Some(points), owners })
            }
            Algorithm::Maglev(_) => Some(Self { owners: maglev::build(&members), points: None, members }),
            Algorithm::PeakEwma | Algorithm::LeastRequest | Algorithm::RoundRobin | Algorithm::Random => None,
        }
    }

    /// Whether this is what `new` would make.
    pub(super) fn is_for(&self, algorithm: &Algorithm, endpoints: &Pool) -> bool {
        let same_kind = match algorithm {
            Algorithm::RingHash(_) => self.points.is_some(),
            Algorithm::Maglev(_) => self.points.is_none(),
            _ => false,
        };
        same_kind && self.members == members(endpoints)
    }

    /// The indices of the endpoints from the key's own on, each as often as it comes by.
    pub(super) fn walk(&self, key: u64) -> impl Iterator<Item = usize> {
        let start = match &self.points {
            Some(points) => points.partition_point(|point| *point < key),
            None => (key % (self.owners.len().max(1) as u64)) as usize,
        };
        let (before, from) = self.owners.split_at_checked(start).unwrap_or((&[], &self.owners));
        from.iter().chain(before).map(|owner| *owner as usize)
    }
}

/// An id that is there twice has a place for each.
fn members(endpoints: &Pool) -> Vec<Member> {
    let mut taken = HashSet::with_capacity(endpoints.len());
    let member = |endpoint: &Endpoint| {
        let mut seed = endpoint.tag;
        while !taken.insert(seed) {
            seed = xxh3_64_with_seed(endpoint.id.as_bytes(), seed);
        }
        Member { seed, weight: endpoint.weight }
    };
    endpoints.iter().map(|endpoint| &**endpoint).map(member).collect()
}

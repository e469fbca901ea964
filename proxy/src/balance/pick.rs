//! Choosing the endpoint. Usually the endpoints that are drawn are closed: that path looks at nothing else. Only when a
//! drawn one is not closed, or must be avoided, is the whole set looked at.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::{Duration, Instant},
};

use rand::Rng;
use weft_proxy_api::policy::Algorithm;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{
    Affinity, Endpoint,
    panic::Panic,
    pool::{Pool, one_by_weight, two_of},
    set::Set,
    standing::{Standing, standings},
    table::Table,
};
use crate::policy::circuit_breaker::Permit;

/// One pick: from these endpoints, at this moment, rather not this one.
pub(super) struct Pick<'a> {
    pub(super) set: &'a Set,
    pub(super) turn: &'a AtomicU64,
    pub(super) panic: &'a Panic,
    pub(super) now: Instant,
    /// The length of a slow start, while any endpoint is in it.
    pub(super) warming: Option<Duration>,
    pub(super) avoid: Option<&'a Endpoint>,
    pub(super) affinity: Affinity,
}

pub(super) struct Choice {
    pub(super) endpoint: Arc<Endpoint>,
    /// `None`: the endpoint is used whatever its circuit says, which does not learn from this request.
    pub(super) permit: Option<Permit>,
}

/// The endpoints that a request is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// Each of them, whatever is known of it: panic.
    Everyone,
    Usable,
    Near,
    Far,
}

type Candidate<'a> = (&'a Arc<Endpoint>, Standing);
type Two<'a> = (&'a Arc<Endpoint>, &'a Arc<Endpoint>);

/// How often the whole set is looked at again when another thread takes the last probe in between.
const ATTEMPTS: usize = 3;

impl<'a> Pick<'a> {
    /// `None`: the set is empty.
    pub(super) fn choose(&self, rng: &mut impl Rng) -> Option<Choice> {
        if let Some(choice) = self.affinity.session.and_then(|tag| self.at_once(self.set.tagged(tag)?)) {
            return Some(choice);
        }
        let scope = self.scope(rng);
        if let (Some(key), Some(table)) = (self.affinity.key, &self.set.table) {
            return self.by_key(table, key, scope);
        }
        let pool = self.pool(scope);
        let drawn = self.draw(pool, rng);
        if let Some((first, second)) = drawn {
            if scope == Scope::Everyone {
                return Some(self.regardless(self.cheaper(pool, first, second)));
            }
            if first.breaker.is_closed()
                && second.breaker.is_closed()
                && let Some(choice) = self.at_once(self.cheaper(pool, first, second))
            {
                return Some(choice);
            }
        }
        self.settle(|| self.one_of(scope, drawn.map(|(first, _)| first), &self.candidates(scope), rng))
    }

    fn scope(&self, rng: &mut impl Rng) -> Scope {
        if self.panic.is_on(self.set) {
            return Scope::Everyone;
        }
        match (&self.set.zones, self.set.settings.zone_min_healthy_percent) {
            (Some(zones), Some(percent)) if zones.stays(percent, rng) => Scope::Near,
            (Some(_), Some(_)) => Scope::Far,
            _ => Scope::Usable,
        }
    }

    fn pool(&self, scope: Scope) -> &'a Pool {
        match (scope, &self.set.zones) {
            (Scope::Everyone, _) => &self.set.everyone,
            (Scope::Near, Some(zones)) => &zones.near,
            (Scope::Far, Some(zones)) => &zones.far,
            _ => self.set.usable(),
        }
    }

    /// One or two endpoints of the pool; `None` if it has none, as a zone where all are reported unhealthy. Round robin
    /// takes turns; while endpoints warm up, it draws by weight, as all do, since turns know no part of a weight.
    fn draw(&self, pool: &'a Pool, rng: &mut impl Rng) -> Option<Two<'a>> {
        if pool.is_empty() {
            return None;
        }
        let (first, second) = match (&self.set.settings.algorithm, self.warming) {
            (Algorithm::PeakEwma | Algorithm::LeastRequest, None) => pool.draw_two(rng),
            (Algorithm::PeakEwma | Algorithm::LeastRequest, Some(_)) => {
                (self.one_by_weight(pool.iter(), rng), self.one_by_weight(pool.iter(), rng))
            }
            (Algorithm::RoundRobin, None) => twice(pool.next_in_turn(self.turn)),
            // Without a key, hashing draws at random, too.
            (_, None) => twice(pool.draw_one(rng)),
            (_, Some(_)) => twice(self.one_by_weight(pool.iter(), rng)),
        };
        Some((pool.get(first)?, pool.get(second)?))
    }

    /// The key's own endpoint, or the next one that may be used. Zones do not matter: the endpoint is the same from
    /// everywhere.
    fn by_key(&self, table: &'a Table, key: u64, scope: Scope) -> Option<Choice> {
        let everyone = &self.set.everyone;
        let mut walk = table.walk(key).filter_map(|index| everyone.get(index));
        if scope == Scope::Everyone {
            return Some(self.regardless(walk.next()?));
        }
        if let Some(choice) = walk.find(|endpoint| self.is_warm_for(endpoint, key)).and_then(|own| self.at_once(own)) {
            return Some(choice);
        }
        self.settle(|| {
            let standings = standings(self.set, self.now, self.avoid);
            let usable = |index: &usize| standings.get(*index).is_some_and(|of| *of != Standing::Out);
            let warm = |index: &usize| everyone.get(*index).is_some_and(|endpoint| self.is_warm_for(endpoint, key));
            let next = table.walk(key).filter(usable).find(warm).or_else(|| table.walk(key).find(usable))?;
            Some((everyone.get(next)?, *standings.get(next)?))
        })
    }

    /// Whether the endpoint has come so far in its slow start that it takes this key. The keys that it does not take
    /// yet stay with the next one, where they were before.
    fn is_warm_for(&self, endpoint: &Endpoint, key: u64) -> bool {
        let Some(slow_start) = self.warming else { return true };
        let lot = xxh3_64_with_seed(&key.to_le_bytes(), endpoint.tag);
        (lot as f64) < endpoint.start.factor(self.now, slow_start) * u64::MAX as f64
    }

    /// Admits the request to what `choose` finds. If every look raced with another thread, what was usable a moment ago
    /// is still the best guess.
    fn settle(&self, mut choose: impl FnMut() -> Option<Candidate<'a>>) -> Option<Choice> {
        let mut choice = None;
        for _ in 0..ATTEMPTS {
            let (endpoint, standing) = choose()?;
            let taken = self.regardless(endpoint);
            let settled = taken.permit.is_some() || standing == Standing::Spared;
            choice = Some(taken);
            if settled {
                break;
            }
        }
        choice
    }

    /// One of the candidates; `drawn` is the one whose turn it is.
    fn one_of(
        &self,
        scope: Scope,
        drawn: Option<&'a Arc<Endpoint>>,
        candidates: &[Candidate<'a>],
        rng: &mut impl Rng,
    ) -> Option<Candidate<'a>> {
        if self.set.settings.algorithm == Algorithm::RoundRobin {
            // The turns of who cannot be used are passed on evenly, not to the neighbour alone.
            let pool = self.pool(scope);
            let mut next = drawn;
            for _ in 0..pool.len() {
                let is_next = |(endpoint, _): &&Candidate<'a>| next.is_some_and(|next| Arc::ptr_eq(endpoint, next));
                if let Some(candidate) = candidates.iter().find(is_next) {
                    return Some(*candidate);
                }
                next = pool.get(pool.next_in_turn(self.turn));
            }
        }
        let (first, second) = self.two_of(candidates, rng);
        let (first, second) = (*candidates.get(first)?, *candidates.get(second)?);
        // A probe that was drawn is made: waiting for it to be the cheaper one would leave a recovered endpoint alone.
        match (first.1, second.1) {
            (Standing::Probe, _) => Some(first),
            (_, Standing::Probe) => Some(second),
            _ if Arc::ptr_eq(self.cheaper(&self.set.everyone, first.0, second.0), first.0) => Some(first),
            _ => Some(second),
        }
    }

    fn two_of(&self, candidates: &[Candidate<'a>], rng: &mut impl Rng) -> (usize, usize) {
        let endpoints = || candidates.iter().map(|(endpoint, _)| *endpoint);
        let one_will_do = !matches!(self.set.settings.algorithm, Algorithm::PeakEwma | Algorithm::LeastRequest);
        match self.set.everyone.is_even() && self.warming.is_none() {
            _ if one_will_do => twice(self.one_by_weight(endpoints(), rng)),
            true => two_of(candidates.len(), rng),
            false => (self.one_by_weight(endpoints(), rng), self.one_by_weight(endpoints(), rng)),
        }
    }

    /// The endpoints of the scope that may be used; of all scopes when it has none.
    fn candidates(&self, scope: Scope) -> Vec<Candidate<'a>> {
        let mut candidates: Vec<Candidate<'a>> =
            self.set.everyone.iter().zip(standings(self.set, self.now, self.avoid)).collect();
        candidates.retain(|(_, of)| *of != Standing::Out);
        let near = match scope {
            Scope::Near => true,
            Scope::Far => false,
            Scope::Everyone | Scope::Usable => return candidates,
        };
        if candidates.iter().any(|(endpoint, _)| endpoint.near == near) {
            candidates.retain(|(endpoint, _)| endpoint.near == near);
        }
        candidates
    }

    /// The endpoint, if its circuit is closed and nothing else is held against it.
    fn at_once(&self, endpoint: &Arc<Endpoint>) -> Option<Choice> {
        if !self.set.is_usable(endpoint) || !endpoint.breaker.is_closed() || self.is_avoided(endpoint) {
            return None;
        }
        let permit = endpoint.breaker.admit(self.now).ok()?;
        Some(Choice { endpoint: Arc::clone(endpoint), permit: Some(permit) })
    }

    fn regardless(&self, endpoint: &Arc<Endpoint>) -> Choice {
        Choice { endpoint: Arc::clone(endpoint), permit: endpoint.breaker.admit(self.now).ok() }
    }

    /// The cheaper of two; at the same cost the first, so that drawing by weight decides.
    fn cheaper<'e>(&self, pool: &Pool, first: &'e Arc<Endpoint>, second: &'e Arc<Endpoint>) -> &'e Arc<Endpoint> {
        let share = |endpoint: &Endpoint| pool.share(endpoint) * self.warmth(endpoint);
        let cost = |endpoint: &Endpoint| match self.set.settings.algorithm {
            Algorithm::PeakEwma => endpoint.load.cost(self.now, share(endpoint)),
            _ => f64::from(endpoint.in_flight()) / share(endpoint),
        };
        if Arc::ptr_eq(first, second) || cost(first) <= cost(second) { first } else { second }
    }

    /// The part of its weight that the endpoint has.
    fn warmth(&self, endpoint: &Endpoint) -> f64 {
        self.warming.map_or(1.0, |slow_start| endpoint.start.factor(self.now, slow_start))
    }

    fn one_by_weight<'e>(
        &self,
        endpoints: impl Iterator<Item = &'e Arc<Endpoint>> + Clone,
        rng: &mut impl Rng,
    ) -> usize {
        one_by_weight(endpoints.map(|endpoint| f64::from(endpoint.weight) * self.warmth(endpoint)), rng)
    }

    fn is_avoided(&self, endpoint: &Endpoint) -> bool {
        self.avoid.is_some_and(|avoid| endpoint.is(avoid))
    }
}

fn twice(index: usize) -> (usize, usize) {
    (index, index)
}

//! Choosing the endpoint. Usually the endpoints that are drawn are closed: that path looks at nothing else. Only when a
//! drawn one is not closed, or must be avoided, is the whole set looked at.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Instant,
};

use rand::Rng;
use weft_proxy_api::policy::LoadBalancer;

use super::{
    Endpoint,
    set::{Set, two_of},
};
use crate::policy::circuit_breaker::{Availability, Permit};

/// One pick: from these endpoints, at this moment, rather not this one.
pub(super) struct Pick<'a> {
    pub(super) set: &'a Set,
    pub(super) turn: &'a AtomicU64,
    pub(super) now: Instant,
    pub(super) avoid: Option<&'a Endpoint>,
}

pub(super) struct Choice {
    pub(super) endpoint: Arc<Endpoint>,
    /// `None`: the endpoint is spared from ejection, and its circuit does not learn from this request.
    pub(super) permit: Option<Permit>,
}

/// What an endpoint may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Closed,
    Probe,
    /// Its circuit is not closed, but too many are like that to leave it out.
    Spared,
    Ejected,
}

type Candidate<'a> = (&'a Arc<Endpoint>, Standing);

/// How often the whole set is looked at again when another thread takes the last probe in between.
const ATTEMPTS: usize = 3;

impl<'a> Pick<'a> {
    /// `None`: the set is empty.
    pub(super) fn choose(&self, rng: &mut impl Rng) -> Option<Choice> {
        if self.set.len() == 0 {
            return None;
        }
        let (first, second) = self.draw(rng)?;
        if first.breaker.is_closed() && second.breaker.is_closed() {
            let endpoint = self.cheaper(first, second);
            if !self.is_avoided(endpoint)
                && let Ok(permit) = endpoint.breaker.admit(self.now)
            {
                return Some(Choice { endpoint: Arc::clone(endpoint), permit: Some(permit) });
            }
        }
        self.choose_among_usable(first, rng)
    }

    /// Round robin draws the one whose turn it is, the others two at random.
    fn draw(&self, rng: &mut impl Rng) -> Option<(&'a Arc<Endpoint>, &'a Arc<Endpoint>)> {
        let endpoints = &self.set.endpoints;
        if self.set.kind == LoadBalancer::RoundRobin {
            let next = endpoints.get(self.set.next_in_turn(self.turn))?;
            return Some((next, next));
        }
        let (first, second) = self.set.draw_two(rng);
        Some((endpoints.get(first)?, endpoints.get(second)?))
    }

    fn choose_among_usable(&self, drawn: &Arc<Endpoint>, rng: &mut impl Rng) -> Option<Choice> {
        let mut choice = None;
        for _ in 0..ATTEMPTS {
            let candidates = self.candidates();
            let (endpoint, standing) = self.one_of(&candidates, drawn, rng)?;
            let permit = endpoint.breaker.admit(self.now).ok();
            let settled = permit.is_some() || standing == Standing::Spared;
            choice = Some(Choice { endpoint: Arc::clone(endpoint), permit });
            if settled {
                break;
            }
        }
        // If every look raced with another thread, what was usable a moment ago is still the best guess.
        choice
    }

    fn one_of(&self, candidates: &[Candidate<'a>], drawn: &Arc<Endpoint>, rng: &mut impl Rng) -> Option<Candidate<'a>> {
        if self.set.kind == LoadBalancer::RoundRobin {
            // The turns of who cannot be used are passed on evenly, not to the neighbour alone.
            let mut next = drawn;
            for _ in 0..self.set.len() {
                if let Some(candidate) = candidates.iter().find(|(endpoint, _)| Arc::ptr_eq(endpoint, next)) {
                    return Some(*candidate);
                }
                next = self.set.endpoints.get(self.set.next_in_turn(self.turn))?;
            }
        }
        let (first, second) = two_of(candidates.len(), rng);
        let (first, second) = (*candidates.get(first)?, *candidates.get(second)?);
        // A probe that was drawn is made: waiting for it to be the cheaper one would leave a recovered endpoint alone.
        match (first.1, second.1) {
            (Standing::Probe, _) => Some(first),
            (_, Standing::Probe) => Some(second),
            _ if Arc::ptr_eq(self.cheaper(first.0, second.0), first.0) => Some(first),
            _ => Some(second),
        }
    }

    /// The cheaper of two; at the same cost the first, so that drawing by weight decides.
    fn cheaper<'e>(&self, first: &'e Arc<Endpoint>, second: &'e Arc<Endpoint>) -> &'e Arc<Endpoint> {
        let cost = |endpoint: &Endpoint| match self.set.kind {
            LoadBalancer::PeakEwma => endpoint.load.cost(self.now, self.set.share(endpoint)),
            LoadBalancer::LeastRequest | LoadBalancer::RoundRobin => {
                f64::from(endpoint.in_flight()) / self.set.share(endpoint)
            }
        };
        if Arc::ptr_eq(first, second) || cost(first) <= cost(second) { first } else { second }
    }

    fn is_avoided(&self, endpoint: &Endpoint) -> bool {
        self.avoid.is_some_and(|avoid| endpoint.is(avoid))
    }

    /// The endpoints that may be used; a request that failed once goes to a closed circuit, or to a spared one, and
    /// probes, or goes where it failed, only for want of these.
    fn candidates(&self) -> Vec<Candidate<'a>> {
        let usable: Vec<Candidate<'a>> =
            self.set.endpoints.iter().zip(self.standings()).filter(|(_, of)| *of != Standing::Ejected).collect();
        if self.avoid.is_none() {
            return usable;
        }
        let only = |keep: &dyn Fn(&Candidate<'a>) -> bool| usable.iter().copied().filter(keep).collect::<Vec<_>>();
        let mut candidates = only(&|(endpoint, of)| *of != Standing::Probe && !self.is_avoided(endpoint));
        if candidates.is_empty() {
            candidates = only(&|(endpoint, _)| !self.is_avoided(endpoint));
        }
        if candidates.is_empty() { usable } else { candidates }
    }

    /// The standing of each endpoint: those that are not closed are ejected up to the limit, and the ones beyond it,
    /// with the least wait left first, are spared. Half-open ones have no wait left, so that they are spared first.
    fn standings(&self) -> Vec<Standing> {
        let mut waiting: Vec<(Instant, usize)> = Vec::new();
        let mut standings = Vec::with_capacity(self.set.len());
        for (index, endpoint) in self.set.endpoints.iter().enumerate() {
            let (standing, until) = match endpoint.breaker.availability(self.now) {
                Availability::Closed => (Standing::Closed, None),
                Availability::Probe => (Standing::Probe, Some(self.now)),
                Availability::ProbesTaken => (Standing::Ejected, Some(self.now)),
                Availability::Open { until } => (Standing::Ejected, Some(until)),
            };
            standings.push(standing);
            waiting.extend(until.map(|until| (until, index)));
        }
        waiting.sort_unstable();
        let spared = waiting.len().saturating_sub(self.set.max_ejected());
        for (_, index) in waiting.iter().take(spared) {
            if let Some(standing) = standings.get_mut(*index) {
                *standing = Standing::Spared;
            }
        }
        standings
    }
}

//! What each endpoint may be used for, when not all are closed: ejection up to its limit, and what a request that has
//! failed before rather leaves alone. A look at the whole set, made only when the endpoints that were drawn do not do.

use std::{sync::Arc, time::Instant};

use super::{Endpoint, set::Set};
use crate::policy::circuit_breaker::Availability;

/// What an endpoint may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Closed,
    Probe,
    /// Its circuit is not closed, but too many are like that to leave it out.
    Spared,
    /// Left out: its circuit is open, it is reported unhealthy, or the request rather goes elsewhere.
    Out,
}

/// The standing of each endpoint of `set.everyone` for a request that has failed at `avoid` before. It goes to a closed
/// circuit, or to a spared one; and probes, or goes where it failed, only for want of these.
pub(super) fn standings(set: &Set, now: Instant, avoid: Option<&Endpoint>) -> Vec<Standing> {
    let mut standings = by_circuit(set, now);
    if let Some(avoid) = avoid {
        let elsewhere = |endpoint: &Arc<Endpoint>, _| !endpoint.is(avoid);
        if !leave_out(set, &mut standings, |endpoint, of| elsewhere(endpoint, of) && of != Standing::Probe) {
            leave_out(set, &mut standings, elsewhere);
        }
    }
    standings
}

/// Those that are not closed are out up to the limit, and the ones beyond it, with the least wait left first, are
/// spared. Half-open ones have no wait left, so that they are spared first.
fn by_circuit(set: &Set, now: Instant) -> Vec<Standing> {
    let mut waiting: Vec<(Instant, usize)> = Vec::new();
    let mut standings = Vec::with_capacity(set.everyone.len());
    for (index, endpoint) in set.everyone.iter().enumerate() {
        let (standing, until) = match endpoint.breaker.availability(now) {
            _ if !set.is_usable(endpoint) => (Standing::Out, None),
            Availability::Closed => (Standing::Closed, None),
            Availability::Probe => (Standing::Probe, Some(now)),
            Availability::ProbesTaken => (Standing::Out, Some(now)),
            Availability::Open { until } => (Standing::Out, Some(until)),
        };
        standings.push(standing);
        waiting.extend(until.map(|until| (until, index)));
    }
    waiting.sort_unstable();
    let spared = waiting.len().saturating_sub(set.max_ejected());
    for (_, index) in waiting.iter().take(spared) {
        if let Some(standing) = standings.get_mut(*index) {
            *standing = Standing::Spared;
        }
    }
    standings
}

/// Leaves out those for which `keep` does not hold, and says so, if it holds for any that is not out.
fn leave_out(set: &Set, standings: &mut [Standing], keep: impl Fn(&Arc<Endpoint>, Standing) -> bool) -> bool {
    let kept = |endpoint, of| of != Standing::Out && keep(endpoint, of);
    if !set.everyone.iter().zip(standings.iter()).any(|(endpoint, of)| kept(endpoint, *of)) {
        return false;
    }
    for (endpoint, of) in set.everyone.iter().zip(standings.iter_mut()) {
        if !kept(endpoint, *of) {
            *of = Standing::Out;
        }
    }
    true
}

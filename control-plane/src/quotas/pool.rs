//! One shared limit: a token bucket whose requests are handed out in advance.
//!
//! What is in the pool and what sidecars hold is never more than the burst together, and only what flows into the pool
//! is added. A request that is let through is one that was held. Therefore all sidecars together let through no more in
//! any time T than the limit itself allows: `burst + requests * T / per`, as if one of them saw all requests. What cannot
//! be known counts as used: what a sidecar held that was not heard of again is lost, for as long as it takes to flow in.
//! What a control plane before this one has handed out is not known: until that has ended, one more burst can come.
//!
//! The sidecars' shares follow what they are asked for, the smallest first (water-filling): nobody gets more than it
//! needs while another has less than it needs, and one that nobody asks still holds some for the first who does.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::LEASE;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub requests: u32,
    pub per: Duration,
    pub burst: u32,
}

impl Rate {
    /// One request, in the unit in which the pool counts: `requests` of them flow in within each nanosecond.
    fn one(self) -> i128 {
        i128::try_from(self.per.as_nanos()).unwrap_or(i128::MAX).max(1)
    }

    fn size(self) -> i128 {
        self.one() * i128::from(self.burst)
    }
}

/// What a sidecar was asked for since its last report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    pub let_through: u64,
    pub refused: u64,
}

/// For [`LEASE`], from the report on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    pub requests: u32,
    pub sharers: u32,
}

#[derive(Debug)]
pub struct Pool {
    rate: Rate,
    /// Not handed out. Less than nothing after more was let through than was held.
    free: i128,
    /// The sum of what the holders may hold, in requests.
    held: u64,
    at: Instant,
    holders: BTreeMap<u64, Holder>,
}

/// A sidecar, for as long as one of its streams.
#[derive(Debug)]
struct Holder {
    /// By its last lease.
    leased: u64,
    /// What it may hold at most: it may not have got its last lease yet, which can be less than what it had before.
    held: u64,
    until: Instant,
    reported: Instant,
    /// Requests that came lately, and those of them that were let through. What came a second ago counts half.
    asked: f64,
    used: f64,
    is_connected: bool,
}

impl Pool {
    /// As if it had been empty at `since`: before that, somebody else may have handed out all of it.
    pub fn new(rate: Rate, since: Instant, now: Instant) -> Self {
        let mut pool = Self { rate, free: 0, held: 0, at: since, holders: BTreeMap::new() };
        pool.settle(now);
        pool
    }

    /// The answer to a holder's report, which is one that it has sent after it got the last answer.
    pub fn report(&mut self, id: u64, demand: Demand, now: Instant) -> Lease {
        self.settle(now);
        self.take_back(id, demand, now);
        let target = self.target(id, demand);
        let (one, sharers) = (self.rate.one(), self.sharers());
        let Some(holder) = self.holders.get_mut(&id) else { return Lease { requests: 0, sharers } };
        let (has, free) = (holder.held, u64::try_from(self.free.max(0) / one).unwrap_or(u64::MAX));
        holder.leased = target.min(has + free);
        holder.held = has.max(holder.leased);
        holder.until = now + LEASE;
        let added = holder.held - has;
        self.held += added;
        self.free -= i128::from(added) * one;
        Lease { requests: u32::try_from(holder.leased).unwrap_or(u32::MAX), sharers }
    }

    /// The holder's stream has ended. It may use what it holds to the end of its time.
    pub fn leave(&mut self, id: u64) {
        if let Some(holder) = self.holders.get_mut(&id) {
            holder.is_connected = false;
        }
    }

    /// What is handed out stays; what is free is still so many requests.
    pub fn set_rate(&mut self, rate: Rate, now: Instant) {
        if rate == self.rate {
            return;
        }
        self.settle(now);
        let requests = self.free / self.rate.one();
        (self.rate, self.free) = (rate, 0);
        self.free = (requests * rate.one()).clamp(-rate.size(), self.room().max(0));
    }

    /// Whether nothing would be lost with it.
    pub fn is_as_new(&mut self, now: Instant) -> bool {
        self.settle(now);
        self.holders.is_empty() && self.room() <= 0
    }

    fn sharers(&self) -> u32 {
        let connected = self.holders.values().filter(|holder| holder.is_connected).count();
        u32::try_from(connected).unwrap_or(u32::MAX)
    }

    /// How much may flow in.
    fn room(&self) -> i128 {
        self.rate.size() - self.free - i128::from(self.held) * self.rate.one()
    }

    fn settle(&mut self, now: Instant) {
        let passed = i128::try_from(now.saturating_duration_since(self.at).as_nanos()).unwrap_or(i128::MAX);
        let flowed = passed.saturating_mul(self.rate.requests.into());
        self.free += flowed.min(self.room().max(0));
        self.at = self.at.max(now);
        let held = &mut self.held;
        self.holders.retain(|_, holder| {
            let is_there = holder.is_connected || now < holder.until;
            *held -= if is_there { 0 } else { holder.held };
            is_there
        });
    }

    /// Of what the holder had: what it has used is gone, what it has not and must give back is free.
    fn take_back(&mut self, id: u64, demand: Demand, now: Instant) {
        let fresh = Holder { leased: 0, held: 0, until: now, reported: now, asked: 0.0, used: 0.0, is_connected: true };
        let holder = self.holders.entry(id).or_insert(fresh);
        // More than all that could be there is no use to know of.
        let let_through = demand.let_through.min(holder.held + u64::from(self.rate.burst));
        let left = holder.leased.saturating_sub(let_through);
        let (had, has) = (i128::from(holder.held), i128::from(left));
        let freed = had - has - i128::from(let_through);
        self.held = self.held - holder.held + left;
        (holder.held, holder.is_connected) = (left, true);
        holder.asked_for(Demand { let_through, ..demand }, now);
        self.free = (self.free + freed * self.rate.one()).max(-self.rate.size());
    }

    /// What the holder should hold. What each has used lately counts as if it still had it, so that it does not matter
    /// who asks first when something has flowed in.
    fn target(&self, id: u64, demand: Demand) -> u64 {
        // Half of the burst is for sidecars that nobody asks, in equal parts.
        let idle = match self.sharers() {
            0 | 1 => self.rate.burst.div_ceil(2),
            several => self.rate.burst / 2 / several,
        };
        let wants = |holder: &Holder| holder.used + holder.asked.ceil().clamp(idle.into(), self.rate.burst.into());
        let free = (self.free.max(0) / self.rate.one()) as f64;
        let all = free + self.connected().map(|holder| holder.used + holder.held as f64).sum::<f64>();
        let most = water_level(self.connected().map(wants).collect(), all);
        let share = self.holders.get(&id).map_or(0.0, |holder| wants(holder).min(most) - holder.used);
        // Where there is less than one for each, one is given to who asks.
        let is_asked = demand.let_through > 0 || demand.refused > 0;
        if share < 1.0 && is_asked { share.ceil() as u64 } else { share as u64 }
    }

    fn connected(&self) -> impl Iterator<Item = &Holder> {
        self.holders.values().filter(|holder| holder.is_connected)
    }
}

impl Holder {
    fn asked_for(&mut self, Demand { let_through, refused }: Demand, now: Instant) {
        let faded = 0.5_f64.powf(now.saturating_duration_since(self.reported).as_secs_f64());
        self.asked = self.asked * faded + let_through.saturating_add(refused) as f64;
        self.used = self.used * faded + let_through as f64;
        self.reported = now;
    }
}

/// As much as each gets who wants more than that, so that what all get together is `all`.
fn water_level(mut wants: Vec<f64>, all: f64) -> f64 {
    wants.sort_unstable_by(f64::total_cmp);
    let (mut rest, mut count) = (all, wants.len() as f64);
    for want in wants {
        let fair = rest / count;
        if want > fair {
            return fair;
        }
        rest -= want;
        count -= 1.0;
    }
    f64::INFINITY
}

#[cfg(test)]
mod tests;

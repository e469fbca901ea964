//! Leases: which registered workloads are endpoints now.
//!
//! A lease is held by the report stream that renewed it last. When that stream ends without a farewell, the workload
//! keeps its place for a grace period: a sidecar that reconnects, and a control plane that restarts, must not take
//! endpoints away from callers. Pure: time and events come in, nothing is read or sent. Called by `mesh`.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::time::Instant;

use crate::{snapshot::WorkloadEndpoint, store::Registration};

/// Names one report stream for the life of the control plane.
pub type Holder = u64;

pub struct Leases {
    grace: Duration,
    leases: BTreeMap<String, Lease>,
    /// Those that nobody renews any more, and when they end: few of many.
    lost: BTreeMap<String, Instant>,
}

struct Lease {
    registration: Registration,
    /// `None`: it is lost.
    holder: Option<Holder>,
}

impl Leases {
    pub fn new(grace: Duration) -> Self {
        Self { grace, leases: BTreeMap::new(), lost: BTreeMap::new() }
    }

    /// Takes over what an earlier run of the control plane knew; the sidecars have the grace period to come back.
    pub fn restore(&mut self, id: String, registration: Registration, now: Instant) {
        self.lost.insert(id.clone(), now + self.grace);
        self.leases.insert(id, Lease { registration, holder: None });
    }

    pub fn get(&self, id: &str) -> Option<&Registration> {
        self.leases.get(id).map(|lease| &lease.registration)
    }

    pub fn renew(&mut self, id: String, registration: Registration, holder: Holder) {
        self.lost.remove(&id);
        self.leases.insert(id, Lease { registration, holder: Some(holder) });
    }

    /// Whether another stream has taken this lease over, so that `holder` has no more say in it.
    pub fn is_taken_over(&self, id: &str, holder: Holder) -> bool {
        self.leases.get(id).and_then(|lease| lease.holder).is_some_and(|current| current != holder)
    }

    /// What the lease was for.
    pub fn remove(&mut self, id: &str) -> Option<Registration> {
        self.lost.remove(id);
        self.leases.remove(id).map(|lease| lease.registration)
    }

    /// The stream of `holder` has ended without a farewell.
    pub fn lose(&mut self, id: &str, holder: Holder, now: Instant) {
        if let Some(lease) = self.leases.get_mut(id).filter(|lease| lease.holder == Some(holder)) {
            lease.holder = None;
            self.lost.insert(id.to_owned(), now + self.grace);
        }
    }

    /// What has expired could not be removed and stays until `until`; what has been renewed meanwhile stays as it is.
    pub fn postpone(&mut self, ids: &BTreeSet<String>, until: Instant) {
        for id in ids {
            self.lost.entry(id.clone()).and_modify(|end| *end = until);
        }
    }

    /// The workloads whose grace period is over at `now`; they stay until they are removed.
    pub fn expired(&self, now: Instant) -> BTreeSet<String> {
        self.lost.iter().filter(|(_, until)| **until <= now).map(|(id, _)| id.clone()).collect()
    }

    /// When the next lease runs out, if nobody comes back.
    pub fn next_expiry(&self) -> Option<Instant> {
        self.lost.values().min().copied()
    }

    /// In order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Registration)> {
        self.leases.iter().map(|(id, lease)| (id.as_str(), &lease.registration))
    }
}

/// The registration as what is compiled from it.
pub fn workload(id: &str, registration: &Registration) -> WorkloadEndpoint {
    WorkloadEndpoint {
        id: id.to_owned(),
        service: registration.service_name(),
        service_port: registration.service_port,
        address: registration.address,
        identity: registration.identity.clone(),
        labels: registration.labels.clone(),
        zone: registration.zone.clone(),
        serving: registration.serving,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(30);

    fn registration(port: u16) -> Registration {
        Registration {
            identity: "spiffe://weft.local/ns/shop/sa/orders".parse().unwrap(),
            service: "orders".into(),
            service_port: 80,
            address: format!("127.0.0.1:{port}").parse().unwrap(),
            labels: BTreeMap::new(),
            zone: String::new(),
            serving: true,
        }
    }

    #[test]
    fn a_lost_lease_stays_for_the_grace_period_and_no_longer() {
        let (mut leases, start) = (Leases::new(GRACE), Instant::now());
        leases.renew("a".into(), registration(1), 7);
        assert_eq!(leases.next_expiry(), None);
        leases.lose("a", 7, start);
        assert_eq!(leases.next_expiry(), Some(start + GRACE));
        assert!(leases.expired(start + GRACE - Duration::from_millis(1)).is_empty());
        assert_eq!(leases.iter().count(), 1);
        assert_eq!(leases.expired(start + GRACE), BTreeSet::from(["a".to_owned()]));
    }

    #[test]
    fn a_removal_that_failed_is_put_off() {
        let (mut leases, start) = (Leases::new(GRACE), Instant::now());
        leases.renew("a".into(), registration(1), 7);
        leases.renew("b".into(), registration(2), 8);
        leases.lose("a", 7, start);
        let later = start + GRACE * 2;
        leases.postpone(&["a".to_owned(), "b".to_owned()].into(), later);
        assert_eq!(leases.next_expiry(), Some(later), "it must not be tried again at once, and b is not lost");
        assert_eq!(leases.iter().count(), 2);
    }

    #[test]
    fn a_sidecar_that_comes_back_keeps_its_lease() {
        let (mut leases, start) = (Leases::new(GRACE), Instant::now());
        leases.restore("a".into(), registration(1), start);
        assert_eq!(leases.get("a"), Some(&registration(1)));
        leases.renew("a".into(), registration(1), 1);
        assert!(leases.expired(start + GRACE * 2).is_empty());
    }

    #[test]
    fn the_end_of_an_older_stream_does_not_end_the_lease_of_a_newer() {
        let (mut leases, start) = (Leases::new(GRACE), Instant::now());
        leases.renew("a".into(), registration(1), 1);
        leases.renew("a".into(), registration(2), 2);
        assert!(leases.is_taken_over("a", 1));
        leases.lose("a", 1, start);
        assert_eq!(leases.next_expiry(), None);
        assert!(!leases.is_taken_over("a", 2));
    }
}

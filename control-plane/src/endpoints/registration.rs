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
    /// The greatest order of all that there ever was.
    newest: u64,
}

struct Lease {
    registration: Registration,
    /// When it took its addresses, in the order of all leases.
    order: u64,
    /// `None`: it is lost.
    holder: Option<Holder>,
}

impl Leases {
    pub fn new(grace: Duration) -> Self {
        Self { grace, leases: BTreeMap::new(), lost: BTreeMap::new(), newest: 0 }
    }

    /// Takes over what an earlier run of the control plane knew; the sidecars have the grace period to come back.
    pub fn restore(&mut self, id: String, (registration, order): (Registration, u64), now: Instant) {
        self.lost.insert(id.clone(), now + self.grace);
        self.newest = self.newest.max(order);
        self.leases.insert(id, Lease { registration, order, holder: None });
    }

    pub fn get(&self, id: &str) -> Option<&Registration> {
        self.leases.get(id).map(|lease| &lease.registration)
    }

    pub fn renew(&mut self, id: String, registration: Registration, holder: Holder) {
        self.lost.remove(&id);
        let order = self.order(&id, &registration);
        self.newest = self.newest.max(order);
        self.leases.insert(id, Lease { registration, order, holder: Some(holder) });
    }

    /// The order of a lease for this registration, which may be renewed: an address can come to another workload before
    /// the lease of the one before has ended, and then it is the later one that is there.
    pub fn order(&self, id: &str, registration: &Registration) -> u64 {
        let addresses = |of: &Registration| of.ports.iter().map(|port| port.address).collect::<Vec<_>>();
        match self.leases.get(id) {
            Some(lease) if addresses(&lease.registration) == addresses(registration) => lease.order,
            _ => self.newest + 1,
        }
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
    pub fn iter(&self) -> impl Iterator<Item = WorkloadEndpoint> {
        self.leases.iter().map(|(id, lease)| workload(id, &lease.registration, lease.order))
    }
}

/// The registration as what is compiled from it.
pub fn workload(id: &str, registration: &Registration, order: u64) -> WorkloadEndpoint {
    WorkloadEndpoint {
        id: id.to_owned(),
        service: registration.service_name(),
        ports: registration.ports.clone(),
        order,
        identity: registration.identity.clone(),
        labels: registration.labels.clone(),
        zone: registration.zone.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::WorkloadPort;

    const GRACE: Duration = Duration::from_secs(30);

    fn registration(port: u16) -> Registration {
        Registration {
            identity: "spiffe://weft.local/ns/shop/sa/orders".parse().unwrap(),
            service: "orders".into(),
            ports: port_at(port).into(),
            labels: BTreeMap::new(),
            zone: String::new(),
        }
    }

    fn port_at(port: u16) -> WorkloadPort {
        WorkloadPort { service_port: 80, address: format!("127.0.0.1:{port}").parse().unwrap(), serving: true }
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
        leases.restore("a".into(), (registration(1), 0), start);
        assert_eq!(leases.get("a"), Some(&registration(1)));
        leases.renew("a".into(), registration(1), 1);
        assert!(leases.expired(start + GRACE * 2).is_empty());
    }

    #[test]
    fn who_takes_an_address_later_is_told_from_who_had_it() {
        let (mut leases, start) = (Leases::new(GRACE), Instant::now());
        leases.restore("old".into(), (registration(1), 7), start);
        let order = |leases: &Leases, id: &str| leases.iter().find(|workload| workload.id == id).unwrap().order;
        leases.renew("new".into(), registration(1), 1);
        assert_eq!((order(&leases, "old"), order(&leases, "new")), (7, 8));
        let down = WorkloadPort { serving: false, ..port_at(1) };
        leases.renew("old".into(), Registration { ports: down.into(), ..registration(1) }, 2);
        assert_eq!(order(&leases, "old"), 7, "it has had the address all the time");
        leases.renew("old".into(), registration(2), 2);
        leases.renew("old".into(), registration(1), 2);
        assert_eq!(order(&leases, "old"), 10, "it came back to it");
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

//! The registered workloads, and the services that they stand for.
//!
//! Like the objects, they are shared with the state before: a workload that comes or goes costs its own service, not a
//! walk over all the others.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use weft_proxy_api::{ServiceName, ServicePort};

use super::WorkloadEndpoint;

#[derive(Clone, Debug, Default)]
pub struct Workloads {
    /// Each service's in order of their ids.
    by_service: BTreeMap<Arc<ServiceName>, Arc<Vec<Arc<WorkloadEndpoint>>>>,
    implied: Arc<BTreeSet<ServicePort>>,
    count: usize,
}

impl Workloads {
    /// In place of the one of the same service and id.
    pub fn insert(&mut self, workload: WorkloadEndpoint) {
        let port = workload.service.port(workload.service_port);
        self.remove(&workload.service, &workload.id);
        if !self.by_service.contains_key(&workload.service) {
            self.by_service.insert(Arc::new(workload.service.clone()), Arc::default());
        }
        if let Some(of_service) = self.by_service.get_mut(&workload.service) {
            let at = of_service.partition_point(|other| other.id < workload.id);
            Arc::make_mut(of_service).insert(at, Arc::new(workload));
            self.count += 1;
        }
        if !self.implied.contains(&port) {
            Arc::make_mut(&mut self.implied).insert(port);
        }
    }

    pub fn remove(&mut self, service: &ServiceName, id: &str) {
        let Some(of_service) = self.by_service.get_mut(service) else { return };
        let Ok(at) = of_service.binary_search_by(|workload| workload.id.as_str().cmp(id)) else { return };
        let gone = Arc::make_mut(of_service).remove(at);
        self.count -= 1;
        if !of_service.iter().any(|other| other.service_port == gone.service_port) {
            Arc::make_mut(&mut self.implied).remove(&service.port(gone.service_port));
        }
        if of_service.is_empty() {
            self.by_service.remove(service);
        }
    }

    /// By service, then by id.
    pub fn iter(&self) -> impl Iterator<Item = &WorkloadEndpoint> {
        self.by_service.values().flat_map(|of_service| of_service.iter()).map(AsRef::as_ref)
    }

    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Those that have registered for the service.
    pub fn of<'a>(&'a self, service: &ServiceName) -> impl Iterator<Item = &'a WorkloadEndpoint> + use<'a> {
        self.by_service.get(service).into_iter().flat_map(|of_service| of_service.iter()).map(AsRef::as_ref)
    }

    /// The service ports that exist because a workload has registered for them.
    pub fn implied(&self) -> &BTreeSet<ServicePort> {
        &self.implied
    }

    /// The services of which a workload came, went or changed.
    pub fn differences(&self, later: &Self) -> BTreeSet<ServiceName> {
        let changed = |(service, workloads): &(&Arc<ServiceName>, &Arc<Vec<_>>), other: &Self| {
            !other.by_service.get(*service).is_some_and(|others| Arc::ptr_eq(workloads, others))
        };
        let gone = self.by_service.iter().filter(|entry| changed(entry, later));
        let come = later.by_service.iter().filter(|entry| changed(entry, self));
        gone.chain(come).map(|(service, _)| ServiceName::clone(service)).collect()
    }
}

impl FromIterator<WorkloadEndpoint> for Workloads {
    fn from_iter<I: IntoIterator<Item = WorkloadEndpoint>>(workloads: I) -> Self {
        let mut all = Self::default();
        workloads.into_iter().for_each(|workload| all.insert(workload));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload(id: &str, service: &str, port: u16) -> WorkloadEndpoint {
        WorkloadEndpoint {
            id: id.into(),
            service: ServiceName::new("shop", service),
            service_port: port,
            address: "10.0.2.1:15006".parse().unwrap(),
            identity: "spiffe://weft.local/ns/shop/sa/app".parse().unwrap(),
            labels: BTreeMap::new(),
            zone: String::new(),
            serving: true,
        }
    }

    fn ids(workloads: &Workloads, service: &str) -> Vec<String> {
        workloads.of(&ServiceName::new("shop", service)).map(|workload| workload.id.clone()).collect()
    }

    #[test]
    fn a_service_port_is_implied_for_as_long_as_a_workload_stands_for_it() {
        let mut workloads: Workloads =
            [workload("b", "orders", 80), workload("a", "orders", 80), workload("c", "orders", 81)]
                .into_iter()
                .collect();
        let orders = ServiceName::new("shop", "orders");
        assert_eq!(ids(&workloads, "orders"), ["a", "b", "c"]);
        workloads.remove(&orders, "a");
        workloads.remove(&orders, "c");
        workloads.remove(&orders, "none");
        assert_eq!(*workloads.implied(), BTreeSet::from([orders.port(80)]));
        workloads.insert(workload("b", "orders", 82));
        assert_eq!((workloads.len(), workloads.implied().clone()), (1, BTreeSet::from([orders.port(82)])));
        workloads.remove(&orders, "b");
        assert!(workloads.is_empty() && workloads.implied().is_empty() && workloads.iter().next().is_none());
    }

    #[test]
    fn a_difference_is_told_by_service() {
        let before: Workloads = [workload("a", "orders", 80), workload("b", "cart", 80)].into_iter().collect();
        let mut after = before.clone();
        assert!(before.differences(&after).is_empty());
        after.insert(workload("c", "orders", 80));
        after.insert(workload("d", "web", 80));
        let names = ["orders", "web"].map(|service| ServiceName::new("shop", service));
        assert_eq!(before.differences(&after), BTreeSet::from(names.clone()));
        assert_eq!(after.differences(&before), BTreeSet::from(names));
        assert_eq!((ids(&before, "orders").len(), ids(&after, "orders").len()), (1, 2));
    }
}

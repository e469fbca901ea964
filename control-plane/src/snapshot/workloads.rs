//! The registered workloads, and the services that they stand for.
//!
//! Like the objects, they are shared with the state before: a workload that comes or goes costs its own service, not a
//! walk over all the others.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use weft_proxy_api::{ServiceName, ServicePort};

use super::{WorkloadEndpoint, shards::Shards};

#[derive(Clone, Debug, Default)]
pub struct Workloads {
    /// Each service's in order of their ids.
    by_service: BTreeMap<Arc<ServiceName>, Arc<Vec<Arc<WorkloadEndpoint>>>>,
    by_id: Shards<String, Arc<ServiceName>>,
    implied: Arc<BTreeSet<ServicePort>>,
    count: usize,
}

impl Workloads {
    /// In place of the one of the same service and id.
    pub fn insert(&mut self, workload: WorkloadEndpoint) {
        self.remove(&workload.service, &workload.id);
        let service = match self.by_service.get_key_value(&workload.service) {
            Some((service, _)) => service.clone(),
            None => Arc::new(workload.service.clone()),
        };
        let mut implied: Vec<ServicePort> = workload.ports.iter().map(|port| service.port(port.service_port)).collect();
        implied.retain(|port| !self.implied.contains(port));
        if !implied.is_empty() {
            Arc::make_mut(&mut self.implied).extend(implied);
        }
        self.by_id.insert(workload.id.clone(), service.clone());
        self.by_service.entry(service).or_default();
        if let Some(of_service) = self.by_service.get_mut(&workload.service) {
            let at = of_service.partition_point(|other| other.id < workload.id);
            Arc::make_mut(of_service).insert(at, Arc::new(workload));
            self.count += 1;
        }
    }

    pub fn remove(&mut self, service: &ServiceName, id: &str) {
        let Some((service, _)) = self.by_service.get_key_value(service) else { return };
        let service = service.clone();
        let Some(of_service) = self.by_service.get_mut(&service) else { return };
        let Ok(at) = of_service.binary_search_by(|workload| workload.id.as_str().cmp(id)) else { return };
        let gone = Arc::make_mut(of_service).remove(at);
        self.count -= 1;
        self.by_id.remove(&gone.id, &service);
        for port in gone.ports.iter().map(|port| port.service_port) {
            if !of_service.iter().any(|other| other.ports.iter().any(|of_other| of_other.service_port == port)) {
                Arc::make_mut(&mut self.implied).remove(&service.port(port));
            }
        }
        if of_service.is_empty() {
            self.by_service.remove(&service);
        }
    }

    /// By service, then by id.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<WorkloadEndpoint>> {
        self.by_service.values().flat_map(|of_service| of_service.iter())
    }

    /// The workload of this id; the first by service, should it be there for several.
    pub fn get(&self, id: &str) -> Option<&WorkloadEndpoint> {
        let of_service = self.by_service.get(self.by_id.get(id)?)?;
        let at = of_service.binary_search_by(|workload| workload.id.as_str().cmp(id)).ok()?;
        of_service.get(at).map(AsRef::as_ref)
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

    /// The workloads that are not the very same in `later`, and those that are new there. One that has changed is among
    /// both.
    pub fn differences<'a>(
        &'a self,
        later: &'a Self,
    ) -> (Vec<&'a Arc<WorkloadEndpoint>>, Vec<&'a Arc<WorkloadEndpoint>>) {
        (self.not_in(later), later.not_in(self))
    }

    fn not_in<'a>(&'a self, other: &Self) -> Vec<&'a Arc<WorkloadEndpoint>> {
        let mut all = Vec::new();
        for (service, workloads) in &self.by_service {
            let others = other.by_service.get(service);
            if others.is_some_and(|others| Arc::ptr_eq(workloads, others)) {
                continue;
            }
            let others = others.map(|others| others.as_slice()).unwrap_or_default();
            let is_there = |workload: &&Arc<WorkloadEndpoint>| {
                let at = others.binary_search_by(|other| other.id.cmp(&workload.id)).ok();
                at.and_then(|at| others.get(at)).is_some_and(|other| Arc::ptr_eq(workload, other))
            };
            all.extend(workloads.iter().filter(|workload| !is_there(workload)));
        }
        all
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
    use crate::snapshot::WorkloadPort;

    fn workload(id: &str, service: &str, port: u16) -> WorkloadEndpoint {
        WorkloadEndpoint {
            id: id.into(),
            service: ServiceName::new("shop", service),
            ports: WorkloadPort { service_port: port, address: ([10, 0, 2, 1], 15006).into(), serving: true }.into(),
            order: 0,
            identity: "spiffe://weft.local/ns/shop/sa/app".parse().unwrap(),
            labels: BTreeMap::new(),
            zone: String::new(),
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
    fn a_workload_stands_for_all_of_its_ports() {
        let mut both = workload("a", "queue", 5672);
        let further = WorkloadPort { service_port: 15672, ..both.ports.first };
        both.ports.further_ports.push(further);
        let mut workloads: Workloads = [both, workload("b", "queue", 5672)].into_iter().collect();
        let queue = ServiceName::new("shop", "queue");
        assert_eq!(*workloads.implied(), BTreeSet::from([queue.port(5672), queue.port(15672)]));
        workloads.remove(&queue, "a");
        assert_eq!(*workloads.implied(), BTreeSet::from([queue.port(5672)]));
    }

    #[test]
    fn a_workload_is_found_by_its_id() {
        let mut workloads: Workloads = [workload("a", "orders", 80), workload("b", "cart", 80)].into_iter().collect();
        let before = workloads.clone();
        let service = |workloads: &Workloads, id| workloads.get(id).map(|workload| workload.service.service.clone());
        assert_eq!(service(&workloads, "b").as_deref(), Some("cart"));
        workloads.remove(&ServiceName::new("shop", "cart"), "b");
        assert_eq!(service(&workloads, "b"), None);
        workloads.insert(workload("b", "web", 80));
        assert_eq!(service(&workloads, "b").as_deref(), Some("web"));
        assert_eq!(service(&before, "b").as_deref(), Some("cart"), "what was there stays");
    }

    #[test]
    fn a_difference_is_told_by_workload() {
        let before: Workloads = [workload("a", "orders", 80), workload("b", "cart", 80)].into_iter().collect();
        let mut after = before.clone();
        let told = |before: &Workloads, after: &Workloads| {
            let ids = |all: Vec<&Arc<WorkloadEndpoint>>| -> Vec<String> {
                all.into_iter()
                    .map(|workload| format!("{} {}", workload.id, workload.ports.first.service_port))
                    .collect()
            };
            let (gone, come) = before.differences(after);
            (ids(gone), ids(come))
        };
        assert_eq!(told(&before, &after), (vec![], vec![]));
        after.insert(workload("c", "orders", 80));
        after.insert(workload("d", "web", 80));
        after.insert(workload("b", "cart", 81));
        let (old, new) = (vec!["b 80".to_owned()], ["b 81", "c 80", "d 80"].map(str::to_owned).to_vec());
        assert_eq!(told(&before, &after), (old.clone(), new.clone()));
        assert_eq!(told(&after, &before), (new, old));
        assert_eq!((ids(&before, "orders").len(), ids(&after, "orders").len()), (1, 2));
    }
}

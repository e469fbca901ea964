//! Gives services that have come their virtual addresses, and takes back those of services that are gone. On the disk
//! first, and then published: what sidecars are told is true after every restart.

use std::{collections::BTreeSet, sync::Arc};

use weft_proxy_api::ServiceName;

use crate::{
    snapshot::Input,
    store::{self, AddressChanges, Store},
};

/// `candidates` are the services that may have come or gone since the last time, and none afterwards.
///
/// When the disk fails, those that have come are left without an address, and everything else goes on. They stay
/// candidates for the next publication.
pub async fn settle(store: &Arc<Store>, input: &mut Input, candidates: &mut BTreeSet<ServiceName>) {
    if candidates.is_empty() {
        return;
    }
    let catalog = input.catalog();
    let (there, gone): (Vec<_>, Vec<_>) = candidates.iter().partition(|service| !catalog.ports(service).is_empty());
    let (mut addresses, mut changes) = (input.virtual_addresses.clone(), AddressChanges::default());
    changes.taken_back.extend(gone.into_iter().filter(|service| addresses.take_back(service)).cloned());
    for service in there {
        let given = addresses.give(service);
        changes.given.extend(given.map(|address| (service.clone(), address)));
    }
    if !changes.is_empty() {
        let written = store::blocking(store, move |store| store.put_virtual_addresses(&changes)).await;
        if let Err(error) = written {
            let services = candidates.len();
            tracing::error!(%error, services, "virtual addresses were not written to the disk, so that none are given out");
            return;
        }
        input.virtual_addresses = addresses;
    }
    candidates.clear();
}

/// All that can be candidates: every service that there is, or that has an address.
pub fn all(input: &Input) -> BTreeSet<ServiceName> {
    let there = input.catalog().names().into_iter().map(|(namespace, service)| ServiceName::new(namespace, service));
    there.chain(input.virtual_addresses.services().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::{endpoints::registration::workload, snapshot::WorkloadPort, store::Registration};

    fn registration() -> Registration {
        Registration {
            identity: "spiffe://weft.local/ns/shop/sa/cart".parse().unwrap(),
            service: "cart".into(),
            ports: WorkloadPort { service_port: 80, address: ([10, 0, 0, 1], 80).into(), serving: true }.into(),
            labels: Default::default(),
            zone: String::new(),
        }
    }

    #[tokio::test]
    async fn what_is_not_on_the_disk_is_not_given_out_and_stays_to_be_done() {
        let is_broken = Arc::new(AtomicBool::new(false));
        let store = Arc::new(Store::on_faulty_disk(&Arc::default()));
        let broken = Arc::new(Store::on_faulty_disk(&is_broken));
        is_broken.store(true, Ordering::Relaxed);
        let workloads = Arc::new([workload("w1", &registration(), 1)].into_iter().collect());
        let mut input = Input { workloads, ..Input::default() };
        let cart = registration().service_name();
        let mut candidates = all(&input);
        settle(&broken, &mut input, &mut candidates).await;
        assert_eq!((input.virtual_addresses.of(&cart), candidates.len()), (None, 1));

        settle(&store, &mut input, &mut candidates).await;
        let given = input.virtual_addresses.of(&cart).unwrap();
        assert!(candidates.is_empty());
        assert_eq!(store.virtual_addresses().unwrap(), [(cart.clone(), given)].into());

        input.workloads = Arc::default();
        candidates = all(&input);
        settle(&broken, &mut input, &mut candidates).await;
        assert_eq!((input.virtual_addresses.of(&cart), candidates.len()), (Some(given), 1), "not taken back either");
        settle(&store, &mut input, &mut candidates).await;
        assert_eq!(input.virtual_addresses.of(&cart), None);
        assert!(store.virtual_addresses().unwrap().is_empty());
    }
}

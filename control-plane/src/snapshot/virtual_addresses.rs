//! Which virtual address each service has.
//!
//! A service keeps its address for as long as it exists: programs hold on to what they resolved. The place is sought where
//! the hash of the name says, and from there on when that one is taken, so that a service that was gone mostly comes back
//! to the address that it had. When it is decided and how it is kept is `mesh`'s matter.

use std::net::{IpAddr, Ipv4Addr};

use sha2::{Digest, Sha256};
use weft_proxy_api::{
    ServiceName,
    virtual_address::{VIRTUAL_ADDRESSES, is_usable, virtual_address, virtual_v6},
};

use super::shards::Shards;

#[derive(Clone, Debug, Default)]
pub struct VirtualAddresses {
    by_service: Shards<ServiceName, Ipv4Addr>,
    by_address: Shards<Ipv4Addr, ServiceName>,
}

impl VirtualAddresses {
    /// What was given out before. What is of no use, or given out twice, is left out: its service gets another one.
    pub fn restore(given: impl IntoIterator<Item = (ServiceName, Ipv4Addr)>) -> Self {
        let mut all = Self::default();
        for (service, address) in given {
            if is_usable(address) && all.by_address.get(&address).is_none() && all.of(&service).is_none() {
                all.put(service, address);
            }
        }
        all
    }

    /// Gives the service an address, unless it has one: that, if it is new. `None` as well when there is none left.
    pub fn give(&mut self, service: &ServiceName) -> Option<Ipv4Addr> {
        if self.of(service).is_some() {
            return None;
        }
        let first = first_place(service);
        let places = (first..VIRTUAL_ADDRESSES).chain(0..first).map(virtual_address);
        let address = places.into_iter().find(|address| self.by_address.get(address).is_none())?;
        self.put(service.clone(), address);
        Some(address)
    }

    /// Whether it had one.
    pub fn take_back(&mut self, service: &ServiceName) -> bool {
        let Some(address) = self.of(service) else { return false };
        self.by_service.remove(service, &address);
        self.by_address.remove(&address, service);
        true
    }

    pub fn of(&self, service: &ServiceName) -> Option<Ipv4Addr> {
        self.by_service.get(service).copied()
    }

    /// Both addresses of the service, the IPv4 one first.
    pub fn all_of(&self, service: &ServiceName) -> Vec<IpAddr> {
        let address = self.of(service);
        address.map(|address| vec![address.into(), virtual_v6(address).into()]).unwrap_or_default()
    }

    pub fn service_of(&self, address: Ipv4Addr) -> Option<&ServiceName> {
        self.by_address.get(&address)
    }

    /// In no order that means anything.
    pub fn services(&self) -> impl Iterator<Item = &ServiceName> {
        self.by_service.iter().map(|(service, _)| service)
    }

    fn put(&mut self, service: ServiceName, address: Ipv4Addr) {
        self.by_service.insert(service.clone(), address);
        self.by_address.insert(address, service);
    }
}

/// A digest that is the same everywhere and for ever.
fn first_place(service: &ServiceName) -> u32 {
    let digest = Sha256::digest(service.to_string());
    let number = digest.iter().take(8).fold(0, |number: u64, byte| (number << 8) | u64::from(*byte));
    u32::try_from(number % u64::from(VIRTUAL_ADDRESSES)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(name: &str) -> ServiceName {
        ServiceName::new("shop", name)
    }

    #[test]
    fn a_service_has_one_address_of_each_family() {
        let mut all = VirtualAddresses::default();
        let address = all.give(&service("orders")).unwrap();
        assert_eq!(all.give(&service("orders")), None, "it has one");
        assert_eq!(all.of(&service("orders")), Some(address));
        assert_eq!(all.service_of(address), Some(&service("orders")));
        let addresses = all.all_of(&service("orders"));
        assert_eq!(addresses, [IpAddr::from(address), virtual_v6(address).into()]);
        assert!(all.all_of(&service("cart")).is_empty());
        // It must never be another one, or every mesh would change its addresses with the version of weft.
        assert_eq!(address, "247.46.154.9".parse::<Ipv4Addr>().unwrap());
    }

    /// Two names whose hashes say the same place.
    const COLLIDING: [&str; 2] = ["s16823", "s17837"];

    #[test]
    fn of_two_that_want_one_place_the_later_gets_the_next_and_none_moves() {
        let [one, other] = COLLIDING.map(service);
        assert_eq!(first_place(&one), first_place(&other));
        let place = virtual_address(first_place(&one));
        let next = virtual_address(first_place(&one) + 1);
        let mut all = VirtualAddresses::default();
        assert_eq!((all.give(&other), all.give(&one)), (Some(place), Some(next)));
        assert!(all.take_back(&other) && !all.take_back(&other));
        assert_eq!((all.of(&one), all.service_of(place)), (Some(next), None));
        assert_eq!(all.give(&other), Some(place), "it comes back to where it was");
    }

    #[test]
    fn the_search_goes_on_from_the_first_place_after_the_last() {
        let near_the_end = service("s16718201");
        let taken = first_place(&near_the_end)..VIRTUAL_ADDRESSES;
        assert!(taken.len() < 100, "another name is needed");
        let mut all = VirtualAddresses::default();
        taken.for_each(|place| all.put(service(&format!("other-{place}")), virtual_address(place)));
        assert_eq!(all.give(&near_the_end), Some(virtual_address(0)));
    }

    #[test]
    fn what_was_kept_and_cannot_be_is_left_out() {
        let address = |text: &str| text.parse::<Ipv4Addr>().unwrap();
        let kept = [
            (service("a"), address("240.1.1.1")),
            (service("b"), address("240.1.1.1")),
            (service("c"), address("10.0.0.1")),
        ];
        let all = VirtualAddresses::restore(kept);
        assert_eq!(all.of(&service("a")), Some(address("240.1.1.1")));
        assert_eq!((all.of(&service("b")), all.of(&service("c"))), (None, None));
    }
}

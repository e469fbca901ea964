//! The addresses that the mesh gives out itself: which there are, and how the two of a service belong together.
//!
//! IPv4: 240.0.0.0/4, which is reserved and routed nowhere, so that it collides with no network that a workload is in.
//! IPv6: a unique local prefix of the mesh's own, followed by the IPv4 address. Which service has which is decided by
//! the control plane; that nothing meant for them leaves the mesh, by the sidecar.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// fd77:6566:7400::/96.
const V6_PREFIX: u128 = 0xfd77_6566_7400 << 80;
/// 240.0.0.0 to 254.255.255.255: 255 belongs to broadcast.
const FIRST_BYTES: std::ops::RangeInclusive<u8> = 240..=254;
/// Of each /24: not .0 and not .255, which some programs take for a network and its broadcast.
const HOSTS: u32 = 254;
/// All /24 of the range but the first and the last.
const NETWORKS: u32 = 15 * 65_536 - 2;

/// How many virtual addresses there are.
pub const VIRTUAL_ADDRESSES: u32 = NETWORKS * HOSTS;

/// The address of a place below [`VIRTUAL_ADDRESSES`].
pub fn virtual_address(place: u32) -> Ipv4Addr {
    let (network, host) = (place / HOSTS + 1, place % HOSTS + 1);
    Ipv4Addr::from((240 << 24) + (network << 8) + host)
}

/// Whether it is an address that [`virtual_address`] gives.
pub fn is_usable(address: Ipv4Addr) -> bool {
    let below = u32::from(address).checked_sub(240 << 24);
    below.is_some_and(|below| (1..=NETWORKS).contains(&(below >> 8)) && (1..=HOSTS).contains(&(below & 0xff)))
}

/// The IPv6 address that belongs to a virtual IPv4 address.
pub fn virtual_v6(address: Ipv4Addr) -> Ipv6Addr {
    Ipv6Addr::from(V6_PREFIX | u128::from(u32::from(address)))
}

/// The virtual IPv4 address that an address is or belongs to; given out or not. `None`: it is not the mesh's.
pub fn as_virtual(address: IpAddr) -> Option<Ipv4Addr> {
    match address.to_canonical() {
        IpAddr::V4(address) => Some(address).filter(|address| FIRST_BYTES.contains(&address.octets()[0])),
        IpAddr::V6(address) => {
            let rest = u128::from(address) ^ V6_PREFIX;
            u32::try_from(rest).ok().map(Ipv4Addr::from)
        }
    }
}

/// Whether an address is one that only services of the mesh have.
pub fn is_virtual(address: IpAddr) -> bool {
    as_virtual(address).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_a_usable_address_of_its_own() {
        let address = |place| virtual_address(place).to_string();
        assert_eq!(address(0), "240.0.1.1");
        assert_eq!(address(HOSTS - 1), "240.0.1.254");
        assert_eq!(address(HOSTS), "240.0.2.1");
        assert_eq!(address(VIRTUAL_ADDRESSES - 1), "254.255.254.254");
        let mut last = 0;
        for place in (0..VIRTUAL_ADDRESSES).step_by(997) {
            let address = virtual_address(place);
            assert!(is_usable(address) && u32::from(address) >= last, "{address}");
            last = u32::from(address);
        }
    }

    #[test]
    fn what_is_not_to_be_used_is_told() {
        for text in ["240.0.0.1", "254.255.255.1", "240.0.1.0", "240.0.1.255", "239.1.1.1", "255.1.1.1", "10.0.0.1"] {
            assert!(!is_usable(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn both_addresses_of_a_service_lead_back_to_one() {
        let address: Ipv4Addr = "240.7.8.9".parse().unwrap();
        assert_eq!(virtual_v6(address).to_string(), "fd77:6566:7400::f007:809");
        assert_eq!(as_virtual(address.into()), Some(address));
        assert_eq!(as_virtual(virtual_v6(address).into()), Some(address));
        assert_eq!(as_virtual(address.to_ipv6_mapped().into()), Some(address));
        for text in ["10.0.0.1", "255.0.0.1", "fd77:6566:7401::f007:809", "fd77:6566:7400::1:f007:809", "::1"] {
            assert_eq!(as_virtual(text.parse().unwrap()), None, "{text}");
        }
    }
}

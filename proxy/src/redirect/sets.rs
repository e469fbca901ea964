//! Ports and networks as a person writes them, and as the sets that nftables matches against.
//!
//! Whatever overlaps is made one, since nftables refuses sets whose intervals do.

use std::{
    fmt::{self, Display, Formatter},
    net::IpAddr,
    str::FromStr,
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// One port, or all from the first to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortRange {
    first: u16,
    last: u16,
}

/// Ranges in ascending order, none of which touches another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ports(Vec<PortRange>);

/// Networks of both families, none of which lies in another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks {
    pub v4: Vec<Ipv4Net>,
    pub v6: Vec<Ipv6Net>,
}

impl FromStr for PortRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let port = |text: &str| text.parse().ok().filter(|port| *port > 0).ok_or("expected 1 to 65535, or FIRST-LAST");
        match (port(first)?, port(last)?) {
            (first, last) if first > last => {
                Err(format!("the range ends before it begins: did you mean {last}-{first}?"))
            }
            (first, last) => Ok(Self { first, last }),
        }
    }
}

impl From<u16> for PortRange {
    fn from(port: u16) -> Self {
        Self { first: port, last: port }
    }
}

impl Display for PortRange {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self { first, last } if first == last => write!(f, "{first}"),
            Self { first, last } => write!(f, "{first}-{last}"),
        }
    }
}

impl Ports {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn contains(&self, port: u16) -> bool {
        self.0.iter().any(|range| (range.first..=range.last).contains(&port))
    }
}

impl FromIterator<PortRange> for Ports {
    fn from_iter<I: IntoIterator<Item = PortRange>>(ranges: I) -> Self {
        let mut sorted: Vec<PortRange> = ranges.into_iter().collect();
        sorted.sort();
        let mut merged: Vec<PortRange> = Vec::new();
        for range in sorted {
            match merged.last_mut() {
                Some(before) if range.first <= before.last.saturating_add(1) => {
                    before.last = before.last.max(range.last)
                }
                _ => merged.push(range),
            }
        }
        Self(merged)
    }
}

impl Display for Ports {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&set(&self.0))
    }
}

impl Networks {
    pub fn contains(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.v4.iter().any(|network| network.contains(&address)),
            IpAddr::V6(address) => self.v6.iter().any(|network| network.contains(&address)),
        }
    }
}

impl FromIterator<IpNet> for Networks {
    fn from_iter<I: IntoIterator<Item = IpNet>>(networks: I) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for network in networks {
            match network {
                IpNet::V4(network) => v4.push(network),
                IpNet::V6(network) => v6.push(network),
            }
        }
        Self { v4: Ipv4Net::aggregate(&v4), v6: Ipv6Net::aggregate(&v6) }
    }
}

/// A network, or an address, which is a network of one. Bits beyond the prefix are refused: they are a slip in either
/// the address or the prefix, and whoever wrote them knows which.
pub fn network(text: &str) -> Result<IpNet, String> {
    let network: IpNet = text
        .parse()
        .or_else(|_| text.parse().map(|address: IpAddr| address.into()))
        .map_err(|_| "expected ADDRESS or ADDRESS/PREFIX, such as 10.0.0.0/8 or fd00::/8".to_owned())?;
    match network.trunc() {
        whole if whole == network => Ok(network),
        whole => Err(format!("there are bits beyond the prefix: did you mean {whole}?")),
    }
}

/// `{ 1, 2-3 }`
pub fn set<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    format!("{{ {} }}", items.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(ranges: &[&str]) -> String {
        ranges.iter().map(|range| range.parse::<PortRange>().unwrap()).collect::<Ports>().to_string()
    }

    #[test]
    fn ports_are_sorted_and_made_one_where_they_meet() {
        assert_eq!(ports(&["443"]), "{ 443 }");
        assert_eq!(ports(&["8000-8010", "22", "8005-8020", "8021", "22"]), "{ 22, 8000-8021 }");
        assert_eq!(ports(&["1-65535", "65535"]), "{ 1-65535 }");
        let some: Ports = ["8000-8010", "22"].map(|range| range.parse().unwrap()).into_iter().collect();
        assert!([22, 8000, 8010].into_iter().all(|port| some.contains(port)));
        assert!([21, 23, 7999, 8011].into_iter().all(|port| !some.contains(port)));
    }

    #[test]
    fn what_is_no_port_is_refused() {
        for text in ["", "0", "65536", "-1", "80-", "-80", "80-0", "http", "80 ", "1-2-3", "+80-"] {
            assert!(text.parse::<PortRange>().is_err(), "{text:?}");
        }
        assert!("20-10".parse::<PortRange>().unwrap_err().contains("did you mean 10-20?"));
    }

    #[test]
    fn networks_are_told_apart_and_made_one_where_they_meet() {
        let texts = ["10.0.0.0/8", "10.1.0.0/16", "fd00::/8", "2001:db8::1", "192.0.2.1", "fd00::/9"];
        let networks: Networks = texts.into_iter().map(|text| network(text).unwrap()).collect();
        assert_eq!(set(&networks.v4), "{ 10.0.0.0/8, 192.0.2.1/32 }");
        assert_eq!(set(&networks.v6), "{ 2001:db8::1/128, fd00::/8 }");
        assert!(networks.contains([10, 9, 8, 7].into()) && !networks.contains([11, 0, 0, 0].into()));
        assert!(networks.contains("fdff::1".parse().unwrap()) && !networks.contains("fe80::1".parse().unwrap()));
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in ["", "10.0.0.0/33", "fd00::/129", "10.0.0", "localhost", "10.0.0.0/", "::/8x"] {
            assert!(network(text).is_err(), "{text:?}");
        }
        assert!(network("10.1.2.3/8").unwrap_err().contains("did you mean 10.0.0.0/8?"));
        assert!(network("fd00::1/8").unwrap_err().contains("did you mean fd00::/8?"));
    }
}

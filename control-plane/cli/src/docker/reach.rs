//! On which of its networks a service is reached by the others of the mesh.
//!
//! A workload has one address there: its own on the way to the control plane. So the network on which a sidecar looks for
//! the control plane decides who can call it. Networks that keep services apart today go on doing so.

use std::collections::{BTreeMap, BTreeSet};

/// A service that is to be reached, with the names of its networks.
pub struct Station<'a> {
    pub service: &'a str,
    pub networks: BTreeSet<&'a str>,
    pub depends_on: BTreeSet<&'a str>,
}

/// The network of one service.
#[derive(Debug, PartialEq, Eq)]
pub struct Reached {
    pub network: String,
    /// It has others, so that its sidecar must be told which one to use.
    pub chosen: bool,
    /// Who shares another network with it, but not this one, and so cannot call it.
    pub cut_off: Vec<String>,
}

/// For each station its network. One that all share serves all; else each gets the one on which most can call it, those first
/// that depend on it.
pub fn networks(stations: &[Station<'_>]) -> BTreeMap<String, Reached> {
    if let Some(shared) = shared(stations) {
        let reached = |_: &Station<'_>| Reached { network: shared.to_owned(), chosen: false, cut_off: Vec::new() };
        return stations.iter().map(|station| (station.service.to_owned(), reached(station))).collect();
    }
    stations.iter().map(|station| (station.service.to_owned(), of_one(station, stations))).collect()
}

fn shared<'a>(stations: &[Station<'a>]) -> Option<&'a str> {
    let mut sets = stations.iter().map(|station| &station.networks);
    let first = sets.next()?.clone();
    let all = sets.fold(first, |all, networks| all.intersection(networks).copied().collect());
    all.get("default").or_else(|| all.first()).copied()
}

fn of_one(station: &Station<'_>, stations: &[Station<'_>]) -> Reached {
    let neighbours: Vec<_> = stations
        .iter()
        .filter(|other| other.service != station.service && !other.networks.is_disjoint(&station.networks))
        .collect();
    let callers = |network: &str| {
        let there = neighbours.iter().filter(|other| other.networks.contains(network));
        let dependent = there.clone().filter(|other| other.depends_on.contains(station.service)).count();
        (dependent, there.count())
    };
    // Of several that are as good, the first by name.
    let network = station.networks.iter().rev().max_by_key(|network| callers(network)).copied().unwrap_or("default");
    let cut_off = neighbours.iter().filter(|other| !other.networks.contains(network));
    Reached {
        network: network.to_owned(),
        chosen: station.networks.len() > 1,
        cut_off: cut_off.map(|other| other.service.to_owned()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Given<'a> = (&'a str, &'a [&'a str], &'a [&'a str]);

    fn of(stations: &[Given<'_>]) -> Vec<(String, String, bool, String)> {
        let stations: Vec<_> = stations
            .iter()
            .map(|(service, networks, depends_on)| Station {
                service,
                networks: networks.iter().copied().collect(),
                depends_on: depends_on.iter().copied().collect(),
            })
            .collect();
        let reached = networks(&stations).into_iter();
        reached.map(|(name, reached)| (name, reached.network, reached.chosen, reached.cut_off.join(","))).collect()
    }

    fn row(service: &str, network: &str, chosen: bool, cut_off: &str) -> (String, String, bool, String) {
        (service.to_owned(), network.to_owned(), chosen, cut_off.to_owned())
    }

    #[test]
    fn a_network_that_all_share_serves_all() {
        let two: [Given<'_>; 2] = [("a", &["back", "default"], &[]), ("b", &["back", "default", "more"], &[])];
        assert_eq!(of(&two), [row("a", "default", false, ""), row("b", "default", false, "")]);
        assert_eq!(of(&[("a", &["x"], &[])]), [row("a", "x", false, "")]);
    }

    #[test]
    fn between_two_networks_those_that_depend_on_a_service_can_call_it() {
        let three: [Given<'_>; 3] =
            [("api", &["private", "public"], &["db"]), ("db", &["private"], &[]), ("front", &["public"], &["api"])];
        assert_eq!(
            of(&three),
            [row("api", "public", true, "db"), row("db", "private", false, ""), row("front", "public", false, "")]
        );
    }
}

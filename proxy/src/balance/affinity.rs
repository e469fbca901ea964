//! What ties a request to an endpoint: its session, or the key that a hashing load balancer is told to use.
//!
//! The source of a request is the address that connected to the sidecar. An application on the sidecar's own machine
//! comes from loopback, as all applications with a sidecar do: hashed as it is, the whole mesh would meet at one endpoint.
//! There the key is the workload itself, which has the same effect as a client's address has at a server: one caller, one
//! endpoint.

use std::{borrow::Cow, net::IpAddr};

use http::{HeaderMap, Uri};
use weft_proxy_api::policy::{Algorithm, HashKey};
use xxhash_rust::xxh3::xxh3_64;

use crate::http::key;

/// No affinity is the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Affinity {
    /// The tag of the endpoint that has the request's session.
    pub session: Option<u64>,
    /// The hash of the request's key, where the algorithm asks for one and the request has it.
    pub key: Option<u64>,
}

/// Where a request comes from.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    pub peer: IpAddr,
    /// This workload's id.
    pub workload: &'a str,
}

/// The hash of the request's key; nothing is read for an algorithm that does not hash.
pub fn key(algorithm: &Algorithm, headers: &HeaderMap, uri: &Uri, source: Source<'_>) -> Option<u64> {
    let (Algorithm::RingHash(key) | Algorithm::Maglev(key)) = algorithm else { return None };
    match key {
        HashKey::Header(name) => key::header(headers, name).map(xxh3_64),
        HashKey::Cookie(name) => key::cookie(headers, name).map(xxh3_64),
        HashKey::Query(name) => parameter(uri, name).map(|value| xxh3_64(value.as_bytes())),
        HashKey::Source => Some(source.hash()),
    }
}

impl Source<'_> {
    fn hash(self) -> u64 {
        match self.peer.to_canonical() {
            peer if peer.is_loopback() => xxh3_64(self.workload.as_bytes()),
            IpAddr::V4(peer) => xxh3_64(&peer.octets()),
            IpAddr::V6(peer) => xxh3_64(&peer.octets()),
        }
    }
}

/// The first parameter of the name, decoded; an empty one is none.
fn parameter<'u>(uri: &'u Uri, name: &str) -> Option<Cow<'u, str>> {
    let mut parameters = form_urlencoded::parse(uri.query()?.as_bytes());
    parameters.find(|(key, _)| key == name).map(|(_, value)| value).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn source(peer: &str) -> Source<'_> {
        Source { peer: peer.parse().unwrap(), workload: "orders-1" }
    }

    fn hash(of: HashKey, uri: &str, lines: &[(&'static str, &'static str)]) -> Option<u64> {
        let line = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        let headers = lines.iter().map(line).collect();
        key(&Algorithm::RingHash(of), &headers, &uri.parse().unwrap(), source("10.0.0.1"))
    }

    #[test]
    fn only_hashing_algorithms_have_a_key() {
        let uri = Uri::from_static("/");
        for algorithm in [Algorithm::PeakEwma, Algorithm::LeastRequest, Algorithm::RoundRobin, Algorithm::Random] {
            assert_eq!(key(&algorithm, &HeaderMap::new(), &uri, source("10.0.0.1")), None);
        }
        let maglev = Algorithm::Maglev(HashKey::Source);
        assert!(key(&maglev, &HeaderMap::new(), &uri, source("10.0.0.1")).is_some());
    }

    #[test]
    fn the_key_is_read_from_where_it_is() {
        let anna = Some(xxh3_64(b"anna"));
        let header = HashKey::Header(HeaderName::from_static("x-user"));
        let cookie = HashKey::Cookie("user".into());
        let query = HashKey::Query("user".into());
        assert_eq!(hash(header.clone(), "/", &[("x-user", " anna ")]), anna);
        assert_eq!(hash(cookie.clone(), "/", &[("cookie", "a=b; user=anna")]), anna);
        assert_eq!(hash(query.clone(), "/?a=b&user=%61nna&user=otto", &[]), anna);
        for (without, uri, lines) in
            [(header, "/", &[("x-user", "")][..]), (cookie, "/", &[("cookie", "user2=anna")]), (query, "/?user=", &[])]
        {
            assert_eq!(hash(without.clone(), uri, lines), None, "{without:?}");
        }
    }

    #[test]
    fn callers_on_loopback_are_told_apart_by_their_workload() {
        assert_eq!(source("127.0.0.1").hash(), source("::1").hash());
        assert_ne!(source("127.0.0.1").hash(), Source { workload: "orders-2", ..source("127.0.0.1") }.hash());
        assert_ne!(source("10.0.0.1").hash(), source("10.0.0.2").hash());
        assert_eq!(source("10.0.0.1").hash(), source("::ffff:10.0.0.1").hash());
        assert_eq!(source("10.0.0.1").hash(), Source { workload: "orders-2", ..source("10.0.0.1") }.hash());
    }

    /// Callers meet the same endpoint from every sidecar, of any version: this must never change.
    #[test]
    fn the_hash_is_the_same_everywhere() {
        assert_eq!(
            hash(HashKey::Header(HeaderName::from_static("x-user")), "/", &[("x-user", "anna")]),
            Some(6_806_125_601_362_424_889)
        );
    }
}

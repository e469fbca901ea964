//! How the next endpoint is picked.

use std::time::Duration;

use http::HeaderName;

use crate::{
    proto::api::v1 as pb,
    wire::{WireError, millis, required, to_millis},
};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadBalancer {
    pub algorithm: Algorithm,
    /// For how long a new endpoint, or one that has just recovered, gets less than its share.
    pub slow_start: Option<Duration>,
    /// Endpoints of the caller's own zone come first. Where less than this share of them can be used, 1 to 100, what
    /// they cannot take spills over to the others. Keys and sessions know no zones. `None`: zones do not matter.
    pub zone_min_healthy_percent: Option<u32>,
    /// Where less than this share of the endpoints can be used, 1 to 100, all of them are. `None`: never.
    pub panic_percent: Option<u32>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Algorithm {
    /// The better of two random endpoints, by a peak-sensitive moving average of latency times requests in flight.
    #[default]
    PeakEwma,
    /// The better of two random endpoints, by requests in flight.
    LeastRequest,
    RoundRobin,
    Random,
    /// Consistent hashing on a ring: a key keeps its endpoint while that is there.
    RingHash(HashKey),
    /// Consistent hashing by a lookup table (Eisenbud et al., "Maglev", NSDI 2016): evener than a ring, and a little more
    /// keys move when endpoints change.
    Maglev(HashKey),
}

/// What of a request is hashed. A request without it goes to a random endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashKey {
    Header(HeaderName),
    Cookie(String),
    /// A parameter of the query.
    Query(String),
    /// The address that the request comes from; from loopback, where an application beside its sidecar comes from, the
    /// calling workload.
    Source,
}

impl From<Algorithm> for LoadBalancer {
    fn from(algorithm: Algorithm) -> Self {
        Self { algorithm, ..Self::default() }
    }
}

impl From<&LoadBalancer> for pb::LoadBalancer {
    fn from(value: &LoadBalancer) -> Self {
        use pb::load_balancer::Algorithm as Wire;
        let (algorithm, key) = match &value.algorithm {
            Algorithm::PeakEwma => (Wire::PeakEwma, None),
            Algorithm::LeastRequest => (Wire::LeastRequest, None),
            Algorithm::RoundRobin => (Wire::RoundRobin, None),
            Algorithm::Random => (Wire::Random, None),
            Algorithm::RingHash(key) => (Wire::RingHash, Some(key)),
            Algorithm::Maglev(key) => (Wire::Maglev, Some(key)),
        };
        Self {
            algorithm: algorithm.into(),
            hash_key: key.map(Into::into),
            slow_start_ms: to_millis(value.slow_start),
            zone_min_healthy_percent: value.zone_min_healthy_percent.unwrap_or(0),
            panic_percent: value.panic_percent.unwrap_or(0),
        }
    }
}

impl TryFrom<pb::LoadBalancer> for LoadBalancer {
    type Error = WireError;

    fn try_from(wire: pb::LoadBalancer) -> Result<Self, WireError> {
        use pb::load_balancer::Algorithm as Wire;
        let key = || required(wire.hash_key.clone(), "hash_key")?.try_into();
        let percent = |value: u32| (value > 0).then(|| value.min(100));
        Ok(Self {
            algorithm: match wire.algorithm() {
                Wire::Unspecified | Wire::PeakEwma => Algorithm::PeakEwma,
                Wire::LeastRequest => Algorithm::LeastRequest,
                Wire::RoundRobin => Algorithm::RoundRobin,
                Wire::Random => Algorithm::Random,
                Wire::RingHash => Algorithm::RingHash(key()?),
                Wire::Maglev => Algorithm::Maglev(key()?),
            },
            slow_start: millis(wire.slow_start_ms),
            zone_min_healthy_percent: percent(wire.zone_min_healthy_percent),
            panic_percent: percent(wire.panic_percent),
        })
    }
}

impl From<&HashKey> for pb::HashKey {
    fn from(value: &HashKey) -> Self {
        use pb::hash_key::Key;
        let key = match value {
            HashKey::Header(name) => Key::Header(name.to_string()),
            HashKey::Cookie(name) => Key::Cookie(name.clone()),
            HashKey::Query(name) => Key::Query(name.clone()),
            HashKey::Source => Key::Source(true),
        };
        Self { key: Some(key) }
    }
}

impl TryFrom<pb::HashKey> for HashKey {
    type Error = WireError;

    fn try_from(wire: pb::HashKey) -> Result<Self, WireError> {
        use pb::hash_key::Key;
        Ok(match required(wire.key, "hash_key.key")? {
            Key::Header(name) => {
                Self::Header(HeaderName::try_from(name).map_err(|e| WireError::new("hash_key.header", e))?)
            }
            Key::Cookie(name) => Self::Cookie(name),
            Key::Query(name) => Self::Query(name),
            Key::Source(_) => Self::Source,
        })
    }
}

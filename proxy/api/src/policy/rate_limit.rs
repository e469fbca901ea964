//! How many requests the application of a sidecar gets.

use std::time::Duration;

use http::HeaderName;

use crate::{
    proto::api::v1 as pb,
    route::RouteMatch,
    wire::{WireError, each, millis, port, required, to_millis},
};

/// A token bucket: `burst` requests at once, and `requests` for each `per`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Of the policy that it comes from, and the name of the limit in it, or its number: `<namespace>/<policy>/<limit>`.
    pub name: String,
    /// Whose requests count, all for the same; none: all of the application's ports.
    pub ports: Vec<u16>,
    /// What it is for.
    pub matches: RouteMatch,
    pub key: RateKey,
    /// At least 1.
    pub requests: u32,
    pub per: Duration,
    /// At least 1.
    pub burst: u32,
    /// The sidecars of the service share the limit, by leases from the control plane. Otherwise each has its own.
    pub shared: bool,
}

/// Whose requests share a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RateKey {
    Total,
    /// Those of one caller, by its SPIFFE ID.
    Identity,
    /// Those with the same value of this header. Those without it share one.
    Header(HeaderName),
    /// Those of one path.
    Path,
}

impl From<&RateLimit> for pb::RateLimit {
    fn from(value: &RateLimit) -> Self {
        use pb::rate_limit::Key;
        let key = match &value.key {
            RateKey::Total => Key::Total(true),
            RateKey::Identity => Key::Identity(true),
            RateKey::Header(name) => Key::Header(name.to_string()),
            RateKey::Path => Key::Path(true),
        };
        Self {
            name: value.name.clone(),
            port: value.ports.first().copied().unwrap_or(0).into(),
            further_ports: value.ports.iter().skip(1).copied().map(Into::into).collect(),
            r#match: Some((&value.matches).into()),
            key: Some(key),
            requests: value.requests,
            per_ms: to_millis(Some(value.per)),
            burst: value.burst,
            shared: value.shared,
        }
    }
}

impl TryFrom<pb::RateLimit> for RateLimit {
    type Error = WireError;

    fn try_from(wire: pb::RateLimit) -> Result<Self, WireError> {
        use pb::rate_limit::Key;
        let key = match required(wire.key, "key")? {
            Key::Total(_) => RateKey::Total,
            Key::Identity(_) => RateKey::Identity,
            Key::Header(name) => {
                RateKey::Header(HeaderName::try_from(name).map_err(|e| WireError::new("key.header", e))?)
            }
            Key::Path(_) => RateKey::Path,
        };
        let first = (wire.port > 0).then(|| port(wire.port, "port")).transpose()?;
        let further = each(wire.further_ports, "further_ports", |further| port(further, "port"))?;
        Ok(Self {
            name: wire.name,
            ports: first.into_iter().chain(further).collect(),
            matches: wire.r#match.unwrap_or_default().try_into().map_err(|e: WireError| e.within("match"))?,
            key,
            requests: wire.requests.max(1),
            per: millis(wire.per_ms).ok_or_else(|| WireError::new("per_ms", "must be more than 0"))?,
            burst: wire.burst.max(1),
            shared: wire.shared,
        })
    }
}

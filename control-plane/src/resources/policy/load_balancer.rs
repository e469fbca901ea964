//! How the next endpoint of a service is picked.

use std::time;

use http::HeaderName;
use schemars::JsonSchema;
use serde::Deserialize;
use weft_proxy_api::policy::{Algorithm, HashKey, LoadBalancer};

use crate::resources::{
    duration::Duration,
    problem::{Path, Report},
};

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Written {
    r#type: Option<Type>,
    hash_on: Option<WrittenHashKey>,
    slow_start: Option<Duration>,
    zone: Option<WrittenZone>,
    #[schemars(range(min = 0, max = 100))]
    panic_percent: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
enum Type {
    PeakEwma,
    LeastRequest,
    RoundRobin,
    Random,
    RingHash,
    Maglev,
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
struct WrittenHashKey {
    header: Option<String>,
    cookie: Option<String>,
    query: Option<String>,
    #[serde(rename = "sourceIP")]
    source_ip: Option<bool>,
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct WrittenZone {
    #[schemars(range(min = 0, max = 100))]
    min_healthy_percent: u32,
}

/// Any part of the settings, over others. Of times and percentages 0 is off.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadBalancerSpec {
    algorithm: Option<Algorithm>,
    slow_start: Option<time::Duration>,
    zone_min_healthy_percent: Option<u32>,
    panic_percent: Option<u32>,
}

impl Written {
    pub fn read(self, path: &Path, report: &mut Report) -> LoadBalancerSpec {
        let key = self.hash_on.map(|written| written.read(&path.field("hashOn"), report));
        let hashes = matches!(self.r#type, Some(Type::RingHash | Type::Maglev));
        if let (Some(kind), true, None) = (self.r#type, hashes, &key) {
            let hint = "add hashOn: {header: x-user}, or cookie, query or sourceIP".to_owned();
            report.error_with_hint(path, format!("{kind:?} needs hashOn, what of a request is hashed"), hint);
        }
        if key.is_some() && !hashes {
            let hint = "write type: RingHash or type: Maglev".to_owned();
            report.error_with_hint(&path.field("hashOn"), "only RingHash and Maglev hash something", hint);
        }
        LoadBalancerSpec {
            algorithm: self.r#type.and_then(|kind| kind.algorithm(key.flatten())),
            slow_start: self.slow_start.map(|duration| duration.0),
            zone_min_healthy_percent: self.zone.map(|zone| zone.min_healthy_percent),
            panic_percent: self.panic_percent,
        }
    }
}

impl Type {
    fn algorithm(self, key: Option<HashKey>) -> Option<Algorithm> {
        Some(match self {
            Self::PeakEwma => Algorithm::PeakEwma,
            Self::LeastRequest => Algorithm::LeastRequest,
            Self::RoundRobin => Algorithm::RoundRobin,
            Self::Random => Algorithm::Random,
            Self::RingHash => Algorithm::RingHash(key?),
            Self::Maglev => Algorithm::Maglev(key?),
        })
    }
}

impl WrittenHashKey {
    fn read(self, path: &Path, report: &mut Report) -> Option<HashKey> {
        match (self.header, self.cookie, self.query, self.source_ip) {
            (Some(header), None, None, None) => {
                let name = HeaderName::from_bytes(header.as_bytes());
                let name =
                    name.map_err(|_| report.error(&path.field("header"), format!("{header:?} is not a header name")));
                name.ok().map(HashKey::Header)
            }
            (None, Some(cookie), None, None) => {
                if HeaderName::from_bytes(cookie.as_bytes()).is_err() {
                    report.error(&path.field("cookie"), format!("{cookie:?} is not a cookie name"));
                }
                Some(HashKey::Cookie(cookie))
            }
            (None, None, Some(query), None) => {
                if query.is_empty() {
                    report.error(&path.field("query"), "a query parameter has a name");
                }
                Some(HashKey::Query(query))
            }
            (None, None, None, Some(true)) => Some(HashKey::Source),
            _ => {
                report.error(path, "expected exactly one of header, cookie, query and sourceIP: true");
                None
            }
        }
    }
}

impl LoadBalancerSpec {
    /// `base`, with what this says in place of what `base` says.
    pub fn over(&self, base: LoadBalancer) -> LoadBalancer {
        let percent = |said: Option<u32>, base| match said {
            None => base,
            Some(percent) => (percent > 0).then_some(percent),
        };
        LoadBalancer {
            algorithm: self.algorithm.clone().unwrap_or(base.algorithm),
            slow_start: match self.slow_start {
                None => base.slow_start,
                Some(duration) => (!duration.is_zero()).then_some(duration),
            },
            zone_min_healthy_percent: percent(self.zone_min_healthy_percent, base.zone_min_healthy_percent),
            panic_percent: percent(self.panic_percent, base.panic_percent),
        }
    }
}

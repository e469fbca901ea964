//! `RateLimitPolicy`: how many requests the workloads of a service take.
//!
//! A workload can be behind several services: the limits of all of them hold for it. How a limit is enforced, and how the
//! workloads share one, is described with the sidecar's `policy::rate_limit`.

use std::{collections::BTreeSet, time};

use gateway_api::experimental::httproutes::HttpRouteRulesMatches;
use schemars::JsonSchema;
use serde::Deserialize;
use weft_proxy_api::{ServiceName, name::is_label, policy::RateKey, route::RouteMatch};

use super::{
    access_policy::WrittenTarget,
    duration::Duration,
    mesh_service::LABEL,
    problem::{Path, Report},
    route::{read_header_name, read_match},
};

/// Each one costs every request a look.
const MAX_LIMITS: usize = 32;
/// Buckets are in memory: a longer interval would promise what a restart forgets.
const MAX_INTERVAL: time::Duration = time::Duration::from_secs(3600);
/// Sidecars ask for leases several times a second, and a lease is of whole requests.
const MIN_SHARED_INTERVAL: time::Duration = time::Duration::from_secs(1);
/// What a shared limit lets flow within this time must be in its burst, since leases cannot be had more often.
const LEASE_TURN: time::Duration = time::Duration::from_millis(100);

/// As it is written: what a file and a CRD hold.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Written {
    target_ref: WrittenTarget,
    limits: Vec<WrittenLimit>,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct WrittenLimit {
    name: Option<String>,
    r#match: Option<HttpRouteRulesMatches>,
    #[schemars(range(min = 1, max = 65535))]
    port: Option<u16>,
    per: Option<WrittenKey>,
    header: Option<String>,
    #[schemars(range(min = 1))]
    requests: u32,
    interval: Duration,
    #[schemars(range(min = 1))]
    burst: Option<u32>,
    #[serde(default)]
    shared: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
enum WrittenKey {
    #[default]
    Total,
    Identity,
    Header,
    Path,
}

#[derive(Clone, Debug, PartialEq)]
pub struct RateLimitPolicySpec {
    /// In the policy's own namespace.
    pub target: ServiceName,
    pub limits: Vec<RateLimitSpec>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct RateLimitSpec {
    /// As it is written, or its number in the policy, from 0.
    pub name: String,
    pub matches: RouteMatch,
    /// A port of the service; `None`: all of them.
    pub port: Option<u16>,
    pub key: RateKey,
    /// At least 1.
    pub requests: u32,
    /// More than zero.
    pub interval: time::Duration,
    /// At least 1.
    pub burst: u32,
    pub shared: bool,
}

impl Written {
    pub fn read(self, namespace: &str, report: &mut Report) -> RateLimitPolicySpec {
        let spec = Path::spec();
        let target = self.target_ref.read(namespace, report);
        let path = spec.field("limits");
        match self.limits.len() {
            0 => report.error(&path, "the policy has no limit"),
            1..=MAX_LIMITS => {}
            count => report.error(&path, format!("a policy has at most {MAX_LIMITS} limits, not {count}")),
        }
        let mut names = BTreeSet::new();
        let read = |(index, limit): (usize, WrittenLimit)| {
            let path = path.index(index);
            let name = read_name(limit.name.as_deref(), index, &path.field("name"), report);
            if !names.insert(name.clone()) {
                report.error(&path.field("name"), format!("the limit name {name:?} is given twice"));
            }
            limit.read(name, &path, report)
        };
        RateLimitPolicySpec { target, limits: self.limits.into_iter().enumerate().map(read).collect() }
    }
}

fn read_name(written: Option<&str>, index: usize, path: &Path, report: &mut Report) -> String {
    let Some(name) = written else { return index.to_string() };
    if !is_label(name) {
        report.error(path, format!("{name:?} is not the name of a limit: {LABEL}"));
    } else if name.bytes().all(|b| b.is_ascii_digit()) {
        let hint = "limits without a name have their number for one".to_owned();
        report.error_with_hint(path, format!("the name {name:?} is a number"), hint);
    }
    name.to_owned()
}

impl WrittenLimit {
    fn read(self, name: String, path: &Path, report: &mut Report) -> RateLimitSpec {
        let matches = self.r#match.map(|written| read_match(written, &path.field("match"), report));
        let key = read_key(self.per.unwrap_or_default(), self.header.as_deref(), path, report);
        let (requests, burst) = (self.requests, self.burst.unwrap_or(self.requests));
        check_interval(self.interval, &path.field("interval"), report);
        let limit = RateLimitSpec {
            name,
            matches: matches.unwrap_or_default(),
            port: self.port,
            key,
            requests,
            interval: self.interval.0,
            burst,
            shared: self.shared,
        };
        if limit.shared {
            check_shared(&limit, path, report);
        }
        limit
    }
}

fn read_key(per: WrittenKey, header: Option<&str>, path: &Path, report: &mut Report) -> RateKey {
    let at = path.field("header");
    match (per, header) {
        (WrittenKey::Header, Some(name)) => read_header_name(name, &at, report).map_or(RateKey::Total, RateKey::Header),
        (WrittenKey::Header, None) => {
            report.error_with_hint(&at, "is missing", "per: Header needs the header's name".to_owned());
            RateKey::Total
        }
        (per, Some(_)) => {
            report.error_with_hint(&at, format!("has no effect with per: {per:?}"), "write per: Header".to_owned());
            RateKey::Total
        }
        (WrittenKey::Total, None) => RateKey::Total,
        (WrittenKey::Identity, None) => RateKey::Identity,
        (WrittenKey::Path, None) => RateKey::Path,
    }
}

fn check_interval(interval: Duration, path: &Path, report: &mut Report) {
    if interval.0.is_zero() {
        report.error(path, "must be more than 0s");
    } else if interval.0 > MAX_INTERVAL {
        let hint = "write the same rate for a shorter one, with a burst".to_owned();
        let reason = format!("must be at most {}, since a sidecar that restarts counts anew", Duration(MAX_INTERVAL));
        report.error_with_hint(path, reason, hint);
    }
}

/// Sidecars lease requests of the limit as a whole. For each key of a limit they would have to lease as well, for as many
/// keys as callers can think of.
fn check_shared(limit: &RateLimitSpec, path: &Path, report: &mut Report) {
    let at = path.field("shared");
    if limit.key != RateKey::Total {
        let hint = "leave shared out, or per".to_owned();
        report.error_with_hint(&at, "only a limit of all requests together (per: Total) can be shared", hint);
    }
    if !limit.interval.is_zero() && limit.interval < MIN_SHARED_INTERVAL {
        let reason = format!("must be at least {} for a limit that is shared", Duration(MIN_SHARED_INTERVAL));
        return report.error(&path.field("interval"), reason);
    }
    let per_turn = u128::from(limit.requests) * LEASE_TURN.as_nanos();
    let least = per_turn.div_ceil(limit.interval.as_nanos().max(1));
    if u128::from(limit.burst) < least {
        let reason = format!("must be at least {least}: what flows in within {}", Duration(LEASE_TURN));
        let hint = "sidecars lease requests of a shared limit in advance".to_owned();
        report.error_with_hint(&path.field("burst"), reason, hint);
    }
}

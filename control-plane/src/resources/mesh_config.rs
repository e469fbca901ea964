//! `MeshConfig`: what holds for the whole mesh, and the defaults under every policy. One object, named `default`.

use std::time;

use schemars::JsonSchema;
use serde::Deserialize;
use weft_proxy_api::{Inbound, policy::LoadBalancer};

use super::{
    circuit_breaker::{CircuitBreakerSpec, EndpointCircuitBreakerSpec, check_breakers},
    duration::Duration,
    problem::{Path, Report},
    traffic_policy::{LoadBalancerSpec, read_connect_timeout},
};

/// The only name that a `MeshConfig` may have.
pub(super) const NAME: &str = "default";

/// As it is written: what a file and a CRD hold.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Written {
    #[serde(default)]
    access_log: bool,
    drain_timeout: Option<Duration>,
    defaults: Option<WrittenDefaults>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct WrittenDefaults {
    load_balancer: Option<LoadBalancerSpec>,
    circuit_breaker: Option<CircuitBreakerSpec>,
    endpoint_circuit_breaker: Option<EndpointCircuitBreakerSpec>,
    timeouts: Option<WrittenTimeouts>,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct WrittenTimeouts {
    connect: Option<Duration>,
    request: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct MeshConfigSpec {
    pub access_log: bool,
    pub drain_timeout: time::Duration,
    pub defaults: Defaults,
}

/// What a `TrafficPolicy` or a route does not say itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Defaults {
    pub load_balancer: Option<LoadBalancer>,
    pub circuit_breaker: Option<CircuitBreakerSpec>,
    pub endpoint_circuit_breaker: Option<EndpointCircuitBreakerSpec>,
    pub connect_timeout: Option<time::Duration>,
    /// Zero is no limit.
    pub request_timeout: Option<time::Duration>,
}

impl Default for MeshConfigSpec {
    fn default() -> Self {
        Self { access_log: false, drain_timeout: Inbound::DEFAULT_DRAIN_TIMEOUT, defaults: Defaults::default() }
    }
}

impl Written {
    pub fn read(self, name: &str, report: &mut Report) -> MeshConfigSpec {
        if name != NAME {
            let path = Path::from("metadata.name");
            let reason = format!("there is one MeshConfig, and its name is {NAME:?}, not {name:?}");
            report.error(&path, reason);
        }
        if self.drain_timeout.is_some_and(|timeout| timeout.0.is_zero()) {
            report.error(&Path::spec().field("drainTimeout"), "must be more than 0s");
        }
        MeshConfigSpec {
            access_log: self.access_log,
            drain_timeout: self.drain_timeout.map_or(Inbound::DEFAULT_DRAIN_TIMEOUT, |d| d.0),
            defaults: self.defaults.map(|written| written.read(report)).unwrap_or_default(),
        }
    }
}

impl WrittenDefaults {
    fn read(self, report: &mut Report) -> Defaults {
        let path = Path::spec().field("defaults");
        check_breakers(&self.circuit_breaker, &self.endpoint_circuit_breaker, &path, report);
        let connect = self.timeouts.as_ref().and_then(|timeouts| timeouts.connect);
        Defaults {
            load_balancer: self.load_balancer.map(Into::into),
            circuit_breaker: self.circuit_breaker,
            endpoint_circuit_breaker: self.endpoint_circuit_breaker,
            connect_timeout: read_connect_timeout(connect, &path, report),
            request_timeout: self.timeouts.and_then(|timeouts| timeouts.request).map(|timeout| timeout.0),
        }
    }
}

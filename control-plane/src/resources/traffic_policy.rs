//! `TrafficPolicy`: how requests are sent toward a service (load balancer, circuit breakers, connect timeout,
//! fallback), or how a route splits them (sticky).
//!
//! Everything is optional: what a policy does not say is taken from the `MeshConfig`, and from the built-in defaults
//! after that. The layers are put together where a backend is compiled.

use std::time;

use http::HeaderName;
use schemars::JsonSchema;
use serde::Deserialize;
use weft_proxy_api::{ServiceName, policy::LoadBalancer, route::Sticky};

use super::{
    circuit_breaker::{CircuitBreakerSpec, EndpointCircuitBreakerSpec, check_breakers},
    duration::Duration,
    kind::{Key, Kind},
    problem::{Path, Report},
    route::{ServiceRef, read_service_ref},
};

/// As it is written: what a file and a CRD hold.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Written {
    target_ref: WrittenTarget,
    load_balancer: Option<LoadBalancerSpec>,
    circuit_breaker: Option<CircuitBreakerSpec>,
    endpoint_circuit_breaker: Option<EndpointCircuitBreakerSpec>,
    timeouts: Option<WrittenTimeouts>,
    fallback: Option<WrittenFallback>,
    sticky_split: Option<WrittenSticky>,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct WrittenTarget {
    group: Option<String>,
    kind: TargetKind,
    name: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
enum TargetKind {
    MeshService,
    Service,
    #[serde(rename = "HTTPRoute")]
    HttpRoute,
    #[serde(rename = "GRPCRoute")]
    GrpcRoute,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub(super) struct LoadBalancerSpec {
    r#type: LoadBalancerType,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
enum LoadBalancerType {
    PeakEwma,
    LeastRequest,
    RoundRobin,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct WrittenTimeouts {
    connect: Option<Duration>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct WrittenFallback {
    backend_ref: WrittenBackendRef,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct WrittenBackendRef {
    group: Option<String>,
    kind: Option<String>,
    name: String,
    namespace: Option<String>,
    #[schemars(range(min = 1, max = 65535))]
    port: Option<u16>,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct WrittenSticky {
    header: Option<String>,
    cookie: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct TrafficPolicySpec {
    pub target: Target,
    pub load_balancer: Option<LoadBalancer>,
    pub circuit_breaker: Option<CircuitBreakerSpec>,
    pub endpoint_circuit_breaker: Option<EndpointCircuitBreakerSpec>,
    pub connect_timeout: Option<time::Duration>,
    pub fallback: Option<ServiceRef>,
    pub sticky: Option<Sticky>,
}

/// What the policy is attached to, in the policy's own namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    Service(ServiceName),
    Route(Key),
}

impl Written {
    pub fn read(self, namespace: &str, report: &mut Report) -> TrafficPolicySpec {
        let spec = Path::spec();
        self.check_target(report);
        let target = match self.target_ref.kind {
            TargetKind::MeshService | TargetKind::Service => {
                Target::Service(ServiceName::new(namespace, &self.target_ref.name))
            }
            TargetKind::HttpRoute => Target::Route(Key::new(Kind::HttpRoute, namespace, &self.target_ref.name)),
            TargetKind::GrpcRoute => Target::Route(Key::new(Kind::GrpcRoute, namespace, &self.target_ref.name)),
        };
        check_breakers(&self.circuit_breaker, &self.endpoint_circuit_breaker, &spec, report);
        let fallback = self.fallback.map(|written| {
            let path = spec.field("fallback").field("backendRef");
            let WrittenBackendRef { group, kind, name, namespace: other, port } = written.backend_ref;
            let kind = kind.as_deref().unwrap_or("Service");
            let service =
                read_service_ref((group.as_deref(), kind), &name, other.as_deref().unwrap_or(namespace), &path, report);
            ServiceRef { service, port }
        });
        if let (Target::Service(own), Some(fallback)) = (&target, &fallback)
            && *own == fallback.service
        {
            report.error(&spec.field("fallback").field("backendRef"), "the fallback is the service itself");
        }
        TrafficPolicySpec {
            target,
            load_balancer: self.load_balancer.map(Into::into),
            circuit_breaker: self.circuit_breaker,
            endpoint_circuit_breaker: self.endpoint_circuit_breaker,
            connect_timeout: read_connect_timeout(self.timeouts.and_then(|t| t.connect), &spec, report),
            fallback,
            sticky: self.sticky_split.and_then(|written| written.read(&spec.field("stickySplit"), report)),
        }
    }

    /// A field that would have no effect on this kind of target is refused.
    fn check_target(&self, report: &mut Report) {
        let target = Path::spec().field("targetRef");
        let (group, to_service) = match self.target_ref.kind {
            TargetKind::MeshService => ("weft.dev", true),
            TargetKind::Service => ("", true),
            TargetKind::HttpRoute | TargetKind::GrpcRoute => ("gateway.networking.k8s.io", false),
        };
        if let Some(written) = self.target_ref.group.as_deref().filter(|written| *written != group) {
            let reason = format!("there is no kind {:?} in the group {written:?}", self.target_ref.kind);
            report.error_with_hint(&target.field("group"), reason, format!("write {group:?}, or leave it out"));
        }
        let fields = [
            ("loadBalancer", self.load_balancer.is_some(), true),
            ("circuitBreaker", self.circuit_breaker.is_some(), true),
            ("endpointCircuitBreaker", self.endpoint_circuit_breaker.is_some(), true),
            ("timeouts", self.timeouts.is_some(), true),
            ("fallback", self.fallback.is_some(), true),
            ("stickySplit", self.sticky_split.is_some(), false),
        ];
        for (name, _, of_service) in
            fields.iter().filter(|(_, present, of_service)| *present && *of_service != to_service)
        {
            let reason = match of_service {
                true => format!("{name} is a policy toward a service, but targetRef names a route"),
                false => format!("{name} is a policy of a route, but targetRef names a service"),
            };
            report.error(&Path::spec().field(name), reason);
        }
        if fields.iter().all(|(_, present, _)| !present) {
            report.error(&Path::spec(), "the policy says nothing beside its target");
        }
    }
}

impl WrittenSticky {
    fn read(self, path: &Path, report: &mut Report) -> Option<Sticky> {
        match (self.header, self.cookie) {
            (Some(header), None) => {
                let name = HeaderName::from_bytes(header.as_bytes());
                let name =
                    name.map_err(|_| report.error(&path.field("header"), format!("{header:?} is not a header name")));
                name.ok().map(Sticky::Header)
            }
            (None, Some(cookie)) => {
                if !is_token(&cookie) {
                    report.error(&path.field("cookie"), format!("{cookie:?} is not a cookie name"));
                }
                Some(Sticky::Cookie(cookie))
            }
            _ => {
                report.error(path, "expected exactly one of header and cookie");
                None
            }
        }
    }
}

/// A cookie's name is a token of RFC 9110, as a header's name is.
fn is_token(text: &str) -> bool {
    HeaderName::from_bytes(text.as_bytes()).is_ok()
}

pub(super) fn read_connect_timeout(
    written: Option<Duration>,
    spec: &Path,
    report: &mut Report,
) -> Option<time::Duration> {
    if written.is_some_and(|timeout| timeout.0.is_zero()) {
        report.error(&spec.field("timeouts").field("connect"), "must be more than 0s");
    }
    written.map(|timeout| timeout.0)
}

impl From<LoadBalancerSpec> for LoadBalancer {
    fn from(spec: LoadBalancerSpec) -> Self {
        match spec.r#type {
            LoadBalancerType::PeakEwma => Self::PeakEwma,
            LoadBalancerType::LeastRequest => Self::LeastRequest,
            LoadBalancerType::RoundRobin => Self::RoundRobin,
        }
    }
}

//! `TrafficPolicy`: how requests are sent toward a service, what becomes of those that are addressed to it or fall under
//! a route, and how a route splits them (sticky).
//!
//! Everything is optional: what a policy does not say is taken from the `MeshConfig`, and from the built-in defaults
//! after that. The layers are put together where a destination is compiled.

use http::HeaderName;
use schemars::JsonSchema;
use serde::Deserialize;
use weft_proxy_api::{ServiceName, route::Sticky};

use super::{
    kind::{Key, Kind},
    policy::{
        BackendSpec, RequestSpec, WrittenBackend, WrittenCache, WrittenFault, WrittenResponse, WrittenRetry,
        WrittenTimeouts,
    },
    problem::{Path, Report},
    route::{ServiceRef, read_service_ref},
};

/// As it is written: what a file and a CRD hold.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Written {
    target_ref: WrittenTarget,
    #[serde(flatten)]
    backend: WrittenBackend,
    timeouts: Option<WrittenTimeouts>,
    retry: Option<WrittenRetry>,
    fault: Option<WrittenFault>,
    cache: Option<WrittenCache>,
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

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct WrittenFallback {
    backend_ref: Option<WrittenBackendRef>,
    response: Option<WrittenResponse>,
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
    /// Toward a service; empty for a route.
    pub backend: BackendSpec,
    /// Requests that are addressed to the service, by whichever rule they are sent, or those of the route.
    pub requests: RequestSpec,
    /// Of a service.
    pub fallback: Option<ServiceRef>,
    /// Of a route.
    pub sticky: Option<Sticky>,
}

/// What the policy is attached to, in the policy's own namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    Service(ServiceName),
    Route(Key),
}

/// Which kind of target a field has an effect on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum For {
    Service,
    Route,
    Both,
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
        let timeouts = self.timeouts.unwrap_or_default();
        let backend = self.backend.read(timeouts.connect, &spec, report);
        if self.fallback.as_ref().is_some_and(|it| it.backend_ref.is_none() && it.response.is_none()) {
            report.error(&spec.field("fallback"), "expected at least one of backendRef and response");
        }
        let (backend_ref, response) = self.fallback.map(|written| (written.backend_ref, written.response)).unzip();
        let path = spec.field("fallback");
        let requests = RequestSpec {
            timeouts: timeouts.read(&spec.field("timeouts"), report),
            retry: self.retry.map(|written| written.read(&spec.field("retry"), report)).unwrap_or_default(),
            fault: self.fault.map(|written| written.read(&spec.field("fault"), report)),
            cache: self.cache.map(|written| written.read(&spec.field("cache"), report)),
            fallback_response: response.flatten().map(|written| written.read(&path.field("response"), report)),
        };
        let fallback = backend_ref.flatten().map(|written| written.read(namespace, &path.field("backendRef"), report));
        if let (Target::Service(own), Some(fallback)) = (&target, &fallback)
            && *own == fallback.service
        {
            report.error(&path.field("backendRef"), "the fallback is the service itself");
        }
        let sticky = self.sticky_split.and_then(|written| written.read(&spec.field("stickySplit"), report));
        TrafficPolicySpec { target, backend, requests, fallback, sticky }
    }

    /// A field that would have no effect on this kind of target is refused.
    fn check_target(&self, report: &mut Report) {
        let target = Path::spec().field("targetRef");
        let (group, own) = match self.target_ref.kind {
            TargetKind::MeshService => ("weft.dev", For::Service),
            TargetKind::Service => ("", For::Service),
            TargetKind::HttpRoute | TargetKind::GrpcRoute => ("gateway.networking.k8s.io", For::Route),
        };
        if let Some(written) = self.target_ref.group.as_deref().filter(|written| *written != group) {
            let reason = format!("there is no kind {:?} in the group {written:?}", self.target_ref.kind);
            report.error_with_hint(&target.field("group"), reason, format!("write {group:?}, or leave it out"));
        }
        let fields = self.fields();
        for (name, _) in fields.iter().filter(|(_, allowed)| *allowed != For::Both && *allowed != own) {
            let last = name.rsplit('.').next().unwrap_or(name);
            let reason = match own {
                For::Route => format!("{last} is a policy toward a service, but targetRef names a route"),
                _ => format!("{last} is a policy of a route, but targetRef names a service"),
            };
            report.error(&name.split('.').fold(Path::spec(), |path, field| path.field(field)), reason);
        }
        if self.cache.is_some() && self.target_ref.kind == TargetKind::GrpcRoute {
            let reason = "answers to gRPC calls, which are POST requests, are not kept";
            report.error(&Path::spec().field("cache"), reason);
        }
        if fields.is_empty() {
            report.error(&Path::spec(), "the policy says nothing beside its target");
        }
    }

    /// The fields that are there.
    fn fields(&self) -> Vec<(&'static str, For)> {
        let toward = self.backend.fields().map(|(name, present)| (name, present, For::Service));
        let (timeouts, fallback) = (self.timeouts.as_ref(), self.fallback.as_ref());
        let others = [
            ("timeouts.connect", timeouts.is_some_and(|it| it.connect.is_some()), For::Service),
            ("timeouts", timeouts.is_some_and(WrittenTimeouts::is_about_requests), For::Both),
            ("retry", self.retry.is_some(), For::Both),
            ("fault", self.fault.is_some(), For::Both),
            ("cache", self.cache.is_some(), For::Both),
            ("fallback.backendRef", fallback.is_some_and(|it| it.backend_ref.is_some()), For::Service),
            ("fallback", fallback.is_some(), For::Both),
            ("stickySplit", self.sticky_split.is_some(), For::Route),
        ];
        let all = toward.into_iter().chain(others);
        all.filter(|(_, present, _)| *present).map(|(name, _, target)| (name, target)).collect()
    }
}

impl WrittenBackendRef {
    fn read(self, own: &str, path: &Path, report: &mut Report) -> ServiceRef {
        let kind = self.kind.as_deref().unwrap_or("Service");
        let namespace = self.namespace.as_deref().unwrap_or(own);
        let service = read_service_ref((self.group.as_deref(), kind), &self.name, namespace, path, report);
        ServiceRef { service, port: self.port }
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

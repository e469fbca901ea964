//! What users write: the kinds, their YAML, and what makes an object valid.
//!
//! One way in for every caller, the admin API, `weft check` and the store's own replay: [`read_yaml`] (text to
//! documents with positions), [`parse`] (documents to typed objects; what one object says for itself), [`check`] (what
//! objects say about each other). Each reports every problem at once. What a valid object means for a sidecar is
//! decided by `snapshot`, and where objects live by `store`.

mod access_policy;
mod catalog;
mod check;
mod duration;
mod health_check;
mod kind;
mod manifest;
mod mesh_config;
mod mesh_service;
pub(crate) mod nearest;
mod objects;
mod parse;
mod policy;
mod problem;
mod protocol;
mod rate_limit_policy;
pub mod route;
mod schema;
mod traffic_policy;
mod yaml;

use std::sync::Arc;

pub use access_policy::AccessPolicySpec;
pub use catalog::{Catalog, Port, Unresolved};
pub use check::check;
pub use duration::{Duration, parse_duration};
pub use health_check::HealthCheckSpec;
pub use kind::{Key, Kind, UnknownKind};
pub use manifest::Manifest;
pub use mesh_config::{Defaults, MeshConfigSpec};
pub use mesh_service::{Dns, MeshServiceSpec, Source, StaticEndpoint, WorkloadSelector};
pub use objects::{Difference, Objects};
pub use parse::parse;
pub use policy::{BackendSpec, RequestSpec};
pub use problem::{Place, Problem, Severity};
pub use rate_limit_policy::{RateLimitPolicySpec, RateLimitSpec};
pub use route::RouteSpec;
pub use traffic_policy::{Target, TrafficPolicySpec};
pub use yaml::{Document, place, read_yaml, to_yaml};

/// A valid object of the mesh.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    pub key: Arc<Key>,
    /// The document, its namespace filled in, without what a server adds; otherwise as it was written.
    pub manifest: Manifest,
    pub spec: Spec,
}

impl Object {
    /// What it says, if it is a route.
    pub fn route(&self) -> Option<&RouteSpec> {
        match &self.spec {
            Spec::HttpRoute(route) | Spec::GrpcRoute(route) | Spec::TlsRoute(route) | Spec::TcpRoute(route) => {
                Some(route)
            }
            Spec::MeshService(_)
            | Spec::TrafficPolicy(_)
            | Spec::AccessPolicy(_)
            | Spec::RateLimitPolicy(_)
            | Spec::MeshConfig(_) => None,
        }
    }
}

/// What an object says, checked: names resolve to types, expressions compile, durations are durations.
#[derive(Clone, Debug, PartialEq)]
pub enum Spec {
    HttpRoute(RouteSpec),
    GrpcRoute(RouteSpec),
    TlsRoute(RouteSpec),
    TcpRoute(RouteSpec),
    MeshService(MeshServiceSpec),
    // Boxed: they are large and few, services are small and many.
    TrafficPolicy(Box<TrafficPolicySpec>),
    AccessPolicy(Box<AccessPolicySpec>),
    RateLimitPolicy(Box<RateLimitPolicySpec>),
    MeshConfig(Box<MeshConfigSpec>),
}

#[cfg(test)]
mod tests;

//! Routes: `HTTPRoute` and `GRPCRoute` of Gateway API, attached to services (GAMMA), read into one form.
//!
//! The crate `gateway-api` says what a route may hold; this module says which of it weft carries out, and refuses the
//! rest, because a filter that is accepted and then ignored is worse than an error. gRPC is HTTP, so that both kinds
//! become the same [`RouteSpec`], in the types that sidecars are told. Where the routes lead is resolved later, against
//! all objects together. Called by `parse`.

mod backends;
mod filters;
mod grpc;
mod http;
mod matches;
mod parents;
mod timeouts;

use std::time::Duration;

use weft_proxy_api::{
    ServiceName,
    route::{Filters, Redirect, RouteMatch},
};

pub(super) use backends::read_service_ref;
pub(super) use grpc::read as read_grpc;
pub(super) use http::read as read_http;

#[derive(Clone, Debug, PartialEq)]
pub struct RouteSpec {
    pub parents: Vec<Parent>,
    pub rules: Vec<RouteRule>,
}

/// The service that a route is attached to: all of its ports, or one by number or by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parent {
    pub service: ServiceName,
    pub port: Option<u16>,
    /// The name of a port.
    pub section: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct RouteRule {
    /// At least one: any of them is enough.
    pub matches: Vec<RankedMatch>,
    pub filters: Filters,
    pub action: RouteAction,
    pub timeouts: RouteTimeouts,
}

#[derive(Clone, Debug, PartialEq)]
pub struct RankedMatch {
    pub matches: RouteMatch,
    pub rank: Rank,
}

/// How specific the path of a match is among routes of its kind; the greater comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank(pub usize, pub usize);

#[derive(Clone, Debug, PartialEq)]
pub enum RouteAction {
    Split(Vec<BackendRef>),
    Redirect(Redirect),
}

#[derive(Clone, Debug, PartialEq)]
pub struct BackendRef {
    pub target: ServiceRef,
    pub weight: u32,
    pub filters: Filters,
}

/// A service, and the port of it where it has several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceRef {
    pub service: ServiceName,
    pub port: Option<u16>,
}

/// `None` is the mesh's default, zero is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouteTimeouts {
    pub request: Option<Duration>,
    pub backend_request: Option<Duration>,
}

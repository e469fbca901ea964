//! Routes: `HTTPRoute`, `GRPCRoute`, `TLSRoute` and `TCPRoute` of Gateway API, attached to services (GAMMA), read into one form.
//!
//! The crate `gateway-api` says what a route may hold; this module says which of it weft carries out, and refuses the
//! rest, because a filter that is accepted and then ignored is worse than an error. All kinds become the same
//! [`RouteSpec`], in the types that sidecars are told. Where the routes lead is resolved later, against
//! all objects together. Called by `parse`.

mod backends;
mod cors;
mod filters;
mod grpc;
mod http;
mod matches;
mod mirror;
mod parents;
mod retry;
mod session;
mod tcp;
mod timeouts;
mod tls;

use weft_proxy_api::{
    ServiceName,
    destination::Protocol,
    policy::Cors,
    route::{Filters, Redirect, RouteMatch},
};

use super::{Kind, Port, RequestSpec};
pub(super) use backends::read_service_ref;
pub use cors::allows_anyone_with_credentials;
pub(super) use filters::read_header;
pub(super) use grpc::read as read_grpc;
pub(super) use http::read as read_http;
pub(super) use matches::{read_header_name, read_match};
pub use session::SessionSpec;
pub(super) use tcp::read as read_tcp;
pub(super) use tls::read as read_tls;

#[derive(Clone, Debug, PartialEq)]
pub struct RouteSpec {
    pub parents: Vec<Parent>,
    /// Of a `TLSRoute`: the server names that it is for, at least one.
    pub hostnames: Vec<String>,
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

impl Parent {
    /// Whether this port of the service is meant.
    pub fn names(&self, port: &Port) -> bool {
        self.port.is_none_or(|number| number == port.number)
            && self.section.as_ref().is_none_or(|section| port.name.as_ref() == Some(section))
    }
}

/// Whether a route of this kind can decide about anything on a port that is declared to speak `protocol`.
pub fn acts_on(kind: Kind, protocol: Protocol) -> bool {
    match protocol {
        Protocol::Detect => true,
        Protocol::Http1 | Protocol::Http2 | Protocol::Grpc => !matches!(kind, Kind::TlsRoute | Kind::TcpRoute),
        Protocol::Tcp => kind == Kind::TcpRoute,
        Protocol::Tls => matches!(kind, Kind::TlsRoute | Kind::TcpRoute),
    }
}

/// Whether what a route of this kind carries is understood by a backend that is declared to speak `protocol`.
pub fn can_be_sent_to(kind: Kind, protocol: Protocol) -> bool {
    acts_on(kind, protocol) || (kind == Kind::TlsRoute && protocol == Protocol::Tcp)
}

#[derive(Clone, Debug, PartialEq)]
pub struct RouteRule {
    /// Any of them is enough. At least one; none in a `TLSRoute`, whose hostnames say what it is for, and in a `TCPRoute`.
    pub matches: Vec<RankedMatch>,
    pub filters: Filters,
    pub action: RouteAction,
    pub requests: RequestSpec,
    pub session: Option<SessionSpec>,
    pub mirrors: Vec<MirrorRef>,
    /// With the number of its filter in the rule.
    pub cors: Option<(usize, Cors)>,
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

/// Where copies of requests go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MirrorRef {
    pub target: ServiceRef,
    /// Of the requests.
    pub per_million: u32,
    /// The number of its filter in the rule.
    pub filter: usize,
}

/// A service, and the port of it where it has several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceRef {
    pub service: ServiceName,
    pub port: Option<u16>,
}

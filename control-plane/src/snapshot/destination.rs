//! One destination: the routes attached to a service port in order of precedence, their rules, and their backends.
//!
//! Precedence is that of Gateway API across all routes of the port: the more special path ([`Rank`]), a method, more
//! headers, more query parameters, then the route's namespace and name (resources have no age here), then the order in
//! the route. `GRPCRoute`s come before `HTTPRoute`s. Of `TLSRoute`s an exact server name comes before a wildcard, and of
//! wildcards the longer. A `TCPRoute` is for all that comes, so that the first decides alone, and only where no route of
//! another kind is attached.
//!
//! Whatever is attached is all that may happen on the port: what cannot be held against it, because it is carried as
//! bytes, is refused. A route that cannot act on what the port is declared to speak is not attached to it.
//!
//! [`Rank`]: crate::resources::route::Rank

use std::cmp::Reverse;

use weft_proxy_api::{
    Service, ServiceName, ServicePort,
    destination::Protocol,
    policy::{Mirror, Policies, Timeouts},
    route::{Action, Origin, Route, RouteMatch, Rule, Split, Sticky, Target as SplitTarget, TlsRoute, WeightedBackend},
};

use super::{backend, relations::Inventory};
use crate::resources::{
    Key, Kind, Port, RequestSpec, RouteSpec, Target,
    route::{BackendRef, MirrorRef, Parent, RankedMatch, RouteAction, RouteRule, ServiceRef, acts_on},
};

/// `None`: there is no such service port.
pub(super) fn compile(name: &ServicePort, inventory: Inventory<'_>) -> Option<Service> {
    let port = inventory.catalog.port(name)?;
    let attached = attached(name, &port, inventory);
    if attached.is_empty() {
        return Some(direct(name, &port, inventory));
    }
    let rules: Vec<Rule> =
        attached.iter().map(|attached| compile_rule(&name.service_name(), *attached, inventory)).collect();
    // Nothing has to be detected where all is carried as bytes.
    let (bytes, detected) = (decides_alone(&attached), port.protocol == Protocol::Detect);
    Some(Service {
        protocol: if bytes && detected { Protocol::Tcp } else { port.protocol },
        routes: if bytes { vec![any_request()] } else { by_precedence(&attached) },
        backends: backend::closure(rules.iter().flat_map(Rule::backends).cloned(), inventory),
        rules,
        tls_routes: by_server_name(&attached),
        opaque_rule: bytes.then_some(0),
    })
}

/// A rule of a route that is attached to this port.
#[derive(Clone, Copy)]
struct Attached<'a> {
    key: &'a Key,
    route: &'a RouteSpec,
    /// Of the rule in its route.
    index: u32,
    rule: &'a RouteRule,
}

fn attached<'a>(name: &ServicePort, port: &Port, inventory: Inventory<'a>) -> Vec<Attached<'a>> {
    let service = name.service_name();
    let is_parent = |parent: &Parent| parent.service == service && parent.names(port);
    let routes = inventory.relations.routes_of(&service);
    let routes = routes.filter(|(key, _)| acts_on(key.kind, port.protocol));
    let routes = routes.filter(|(_, route)| route.parents.iter().any(is_parent));
    let rules = |(key, route): (&'a Key, &'a RouteSpec)| {
        (0..).zip(&route.rules).map(move |(index, rule)| Attached { key, route, index, rule })
    };
    let mut attached: Vec<Attached<'_>> = routes.flat_map(rules).collect();
    if !decides_alone(&attached) {
        attached.retain(|attached| attached.key.kind != Kind::TcpRoute);
    }
    attached
}

/// Whether the first is a `TCPRoute`: they come last.
fn decides_alone(attached: &[Attached<'_>]) -> bool {
    attached.first().is_some_and(|first| first.key.kind == Kind::TcpRoute)
}

/// Without a route, everything goes to the service itself.
fn direct(name: &ServicePort, port: &Port, inventory: Inventory<'_>) -> Service {
    let mut service = Service::direct(weft_proxy_api::Backend::new(name.clone()));
    for rule in &mut service.rules {
        rule.policies = policies(&name.service_name(), None, inventory);
    }
    // Who says that it is HTTP means that it is nothing else.
    let is_http = matches!(port.protocol, Protocol::Http1 | Protocol::Http2 | Protocol::Grpc);
    Service {
        protocol: port.protocol,
        backends: backend::closure([name.clone()], inventory),
        opaque_rule: service.opaque_rule.filter(|_| !is_http),
        ..service
    }
}

/// An application that knows of its sidecar can ask it for requests to a port that is carried as bytes, too.
fn any_request() -> Route {
    Route { matches: RouteMatch::default(), rule: 0 }
}

fn by_precedence(attached: &[Attached<'_>]) -> Vec<Route> {
    let matches = |(rule, attached): (usize, &Attached<'_>)| {
        let http = attached.key.kind != Kind::GrpcRoute;
        attached.rule.matches.iter().map(|ranked| (http, rule, ranked.clone())).collect::<Vec<_>>()
    };
    let mut all: Vec<(bool, usize, RankedMatch)> = attached.iter().enumerate().flat_map(matches).collect();
    // The sort is stable, and the rules are in the order of their routes already.
    all.sort_by_key(|(http, _, RankedMatch { matches, rank })| {
        (*http, Reverse((*rank, matches.method.is_some(), matches.headers.len(), matches.query.len())))
    });
    all.into_iter().map(|(_, rule, ranked)| Route { matches: ranked.matches, rule }).collect()
}

/// One for each server name, so that routes with several fall into one order.
fn by_server_name(attached: &[Attached<'_>]) -> Vec<TlsRoute> {
    let names = |(rule, attached): (usize, &Attached<'_>)| {
        let first = (attached.index == 0).then_some(&attached.route.hostnames);
        first.into_iter().flatten().map(|name| (rule, name.clone())).collect::<Vec<_>>()
    };
    let mut all: Vec<(usize, String)> = attached.iter().enumerate().flat_map(names).collect();
    // The sort is stable, and the rules are in the order of their routes already.
    all.sort_by_key(|(_, name)| if name.starts_with('*') { (true, Reverse(name.len())) } else { (false, Reverse(0)) });
    all.into_iter().map(|(rule, name)| TlsRoute { hostnames: vec![name], rule }).collect()
}

fn compile_rule(
    service: &ServiceName,
    Attached { key, index, rule, .. }: Attached<'_>,
    inventory: Inventory<'_>,
) -> Rule {
    let origin =
        Origin { kind: key.kind.to_string(), namespace: key.namespace.clone(), name: key.name.clone(), rule: index };
    let action = match &rule.action {
        RouteAction::Redirect(redirect) => Action::Redirect(redirect.clone()),
        RouteAction::Split(backends) => Action::Split(Split {
            backends: backends.iter().map(|backend| weighted(backend, inventory)).collect(),
            sticky: sticky(key, inventory),
        }),
    };
    let policies = match key.kind {
        // A connection has no answer that could be waited for.
        Kind::TlsRoute | Kind::TcpRoute => Policies { timeouts: Timeouts::NONE, ..Policies::default() },
        _ => Policies {
            mirrors: rule.mirrors.iter().map(|mirror| copies(mirror, inventory)).collect(),
            cors: rule.cors.as_ref().map(|(_, cors)| cors.clone()),
            session: rule.session.as_ref().map(|session| session.session(key, index)),
            ..policies(service, Some((key, &rule.requests)), inventory)
        },
    };
    Rule { origin, filters: rule.filters.clone(), action, policies }
}

fn weighted(backend: &BackendRef, inventory: Inventory<'_>) -> WeightedBackend {
    let target = resolve(&backend.target, inventory);
    WeightedBackend { weight: backend.weight, target, filters: backend.filters.clone() }
}

fn copies(mirror: &MirrorRef, inventory: Inventory<'_>) -> Mirror {
    Mirror { target: resolve(&mirror.target, inventory), per_million: mirror.per_million }
}

fn resolve(target: &ServiceRef, inventory: Inventory<'_>) -> SplitTarget {
    match inventory.catalog.resolve(target) {
        Ok(name) => SplitTarget::Backend(name),
        Err(error) => SplitTarget::Unresolved(error.reason),
    }
}

fn sticky(route: &Key, inventory: Inventory<'_>) -> Option<Sticky> {
    inventory.relations.policy(&Target::Route(route.clone())).and_then(|policy| policy.sticky.clone())
}

/// What holds for the requests of a rule, the more special over the less special: the rule itself, a `TrafficPolicy` on its
/// route, one on the service that the requests are addressed to, the `MeshConfig`, and what is built in.
fn policies(service: &ServiceName, own: Option<(&Key, &RequestSpec)>, inventory: Inventory<'_>) -> Policies {
    let on = |target| inventory.relations.policy(&target).map(|policy| &policy.requests);
    let layers = [
        Some(&inventory.relations.mesh().defaults.requests),
        on(Target::Service(service.clone())),
        own.and_then(|(route, _)| on(Target::Route(route.clone()))),
        own.map(|(_, rule)| rule),
    ];
    RequestSpec::together(layers.into_iter().flatten())
}

//! One destination: the routes attached to a service port in order of precedence, their rules, and their backends.
//!
//! Precedence is that of Gateway API across all routes of the port: the more special path ([`Rank`]), a method, more
//! headers, more query parameters, then the route's namespace and name (resources have no age here), then the order in
//! the route. `GRPCRoute`s come before `HTTPRoute`s.
//!
//! [`Rank`]: crate::resources::route::Rank

use std::{cmp::Reverse, time::Duration};

use weft_proxy_api::{
    Service, ServicePort,
    policy::Timeouts,
    route::{Action, Origin, Route, Rule, Split, Sticky, Target as SplitTarget, WeightedBackend},
};

use super::{backend, relations::Inventory};
use crate::resources::{
    Key, Kind, Port, Target,
    route::{BackendRef, Parent, RankedMatch, RouteAction, RouteRule, RouteTimeouts},
};

/// `None`: there is no such service port.
pub(super) fn compile(name: &ServicePort, inventory: Inventory<'_>) -> Option<Service> {
    let port = inventory.catalog.port(name)?;
    let attached = attached(name, &port, inventory);
    if attached.is_empty() {
        return Some(direct(name, &port, inventory));
    }
    let rules: Vec<Rule> =
        attached.iter().map(|(key, index, rule)| compile_rule(key, *index, rule, inventory)).collect();
    Some(Service {
        protocol: port.protocol,
        routes: by_precedence(&attached),
        backends: backend::closure(rules.iter().flat_map(targets), inventory),
        rules,
    })
}

/// The rules of all routes that are attached to this port, with their index in the route.
type Attached<'a> = Vec<(&'a Key, u32, &'a RouteRule)>;

fn attached<'a>(name: &ServicePort, port: &Port, inventory: Inventory<'a>) -> Attached<'a> {
    let service = name.service_name();
    let is_parent = |parent: &Parent| {
        parent.service == service
            && parent.port.is_none_or(|number| number == port.number)
            && parent.section.as_ref().is_none_or(|section| port.name.as_ref() == Some(section))
    };
    let routes = inventory.relations.routes_of(&service).filter(|(_, route)| route.parents.iter().any(is_parent));
    routes.flat_map(|(key, route)| (0..).zip(&route.rules).map(move |(index, rule)| (key, index, rule))).collect()
}

/// Without a route, everything goes to the service itself.
fn direct(name: &ServicePort, port: &Port, inventory: Inventory<'_>) -> Service {
    let mut service = Service::direct(weft_proxy_api::Backend::new(name.clone()));
    for rule in &mut service.rules {
        rule.timeouts = timeouts(RouteTimeouts::default(), inventory);
    }
    Service { protocol: port.protocol, backends: backend::closure([name.clone()], inventory), ..service }
}

fn by_precedence(attached: &Attached<'_>) -> Vec<Route> {
    let matches = |(rule, (key, _, of)): (usize, &(&Key, u32, &RouteRule))| {
        let http = key.kind != Kind::GrpcRoute;
        of.matches.iter().map(|ranked| (http, rule, ranked.clone())).collect::<Vec<_>>()
    };
    let mut all: Vec<(bool, usize, RankedMatch)> = attached.iter().enumerate().flat_map(matches).collect();
    // The sort is stable, and the rules are in the order of their routes already.
    all.sort_by_key(|(http, _, RankedMatch { matches, rank })| {
        (*http, Reverse((*rank, matches.method.is_some(), matches.headers.len(), matches.query.len())))
    });
    all.into_iter().map(|(_, rule, ranked)| Route { matches: ranked.matches, rule }).collect()
}

fn compile_rule(key: &Key, index: u32, rule: &RouteRule, inventory: Inventory<'_>) -> Rule {
    let origin =
        Origin { kind: key.kind.to_string(), namespace: key.namespace.clone(), name: key.name.clone(), rule: index };
    let action = match &rule.action {
        RouteAction::Redirect(redirect) => Action::Redirect(redirect.clone()),
        RouteAction::Split(backends) => Action::Split(Split {
            backends: backends.iter().map(|backend| weighted(backend, inventory)).collect(),
            sticky: sticky(key, inventory),
        }),
    };
    Rule { origin, filters: rule.filters.clone(), action, timeouts: timeouts(rule.timeouts, inventory) }
}

fn weighted(backend: &BackendRef, inventory: Inventory<'_>) -> WeightedBackend {
    let target = match inventory.catalog.resolve(&backend.target) {
        Ok(name) => SplitTarget::Backend(name),
        Err(error) => SplitTarget::Unresolved(error.reason),
    };
    WeightedBackend { weight: backend.weight, target, filters: backend.filters.clone() }
}

fn sticky(route: &Key, inventory: Inventory<'_>) -> Option<Sticky> {
    inventory.relations.policy(&Target::Route(route.clone())).and_then(|policy| policy.sticky.clone())
}

fn timeouts(written: RouteTimeouts, inventory: Inventory<'_>) -> Timeouts {
    let limit = |timeout: Duration| (timeout != Duration::ZERO).then_some(timeout);
    let request =
        written.request.or(inventory.relations.mesh().defaults.request_timeout).unwrap_or(Timeouts::DEFAULT_REQUEST);
    Timeouts { request: limit(request), backend_request: written.backend_request.and_then(limit) }
}

fn targets(rule: &Rule) -> Vec<ServicePort> {
    let Action::Split(split) = &rule.action else { return Vec::new() };
    let target = |backend: &WeightedBackend| match &backend.target {
        SplitTarget::Backend(name) => Some(name.clone()),
        SplitTarget::Unresolved(_) => None,
    };
    split.backends.iter().filter_map(target).collect()
}

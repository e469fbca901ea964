//! `TCPRoute`: for connections that are carried as bytes. Its rule has backends and weights as that of an `HTTPRoute`, and
//! nothing else.

use gateway_api::experimental::{httproutes::HttpRouteRulesBackendRefs, tcproutes::TcpRouteSpec};
use weft_proxy_api::route::Filters;

use super::{
    RouteAction, RouteRule, RouteSpec, backends::read_backends, filters::same_shape, http::check_rules,
    parents::read_parents,
};
use crate::resources::{
    RequestSpec,
    problem::{Path, Report},
};

pub fn read(spec: TcpRouteSpec, namespace: &str, report: &mut Report) -> RouteSpec {
    let parents = spec.parent_refs.unwrap_or_default().iter().map(same_shape).collect();
    let parents = read_parents(parents, namespace, report);
    check_rules(spec.rules.iter().map(|rule| rule.name.as_deref()), report);
    let backends = spec.rules.iter().map(|rule| rule.backend_refs.iter().map(same_shape).collect());
    let why = "a TCPRoute's rules are for all connections, so that only the first is ever used";
    RouteSpec { parents, hostnames: Vec::new(), rules: read_rules(backends, why, namespace, report) }
}

/// The rules of a route for connections, each with its backends. Only the first can ever be used; `why` says for what.
pub(super) fn read_rules(
    rules: impl Iterator<Item = Vec<HttpRouteRulesBackendRefs>>,
    why: &str,
    namespace: &str,
    report: &mut Report,
) -> Vec<RouteRule> {
    let path = Path::spec().field("rules");
    let mut read = Vec::new();
    for (index, backends) in rules.enumerate() {
        let path = path.index(index);
        if index > 0 {
            report.error(&path, why);
        }
        if backends.is_empty() {
            report.error(&path.field("backendRefs"), "the list is empty, so that the rule leads nowhere");
        }
        let backends = if backends.is_empty() { Vec::new() } else { read_backends(backends, namespace, &path, report) };
        read.push(RouteRule {
            matches: Vec::new(),
            filters: Filters::default(),
            action: RouteAction::Split(backends),
            requests: RequestSpec::default(),
            session: None,
            mirrors: Vec::new(),
            cors: None,
        });
    }
    read
}

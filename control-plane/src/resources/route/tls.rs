//! `TLSRoute`: for connections that carry the application's own TLS, by the server name that they ask for. Its rule has
//! backends and weights as that of an `HTTPRoute`, and nothing else.

use std::net::IpAddr;

use gateway_api::tlsroutes::{TlsRouteRules, TlsRouteSpec};
use weft_proxy_api::{name::is_label, route::Filters};

use super::{
    RouteAction, RouteRule, RouteSpec, backends::read_backends, filters::same_shape, http::check_rules,
    parents::read_parents,
};
use crate::resources::{
    RequestSpec,
    mesh_service::LABEL,
    problem::{Path, Report},
};

pub fn read(spec: TlsRouteSpec, namespace: &str, report: &mut Report) -> RouteSpec {
    let parents = spec.parent_refs.unwrap_or_default().iter().map(same_shape).collect();
    let parents = read_parents(parents, namespace, report);
    check_hostnames(&spec.hostnames, &Path::spec().field("hostnames"), report);
    check_rules(spec.rules.iter().map(|rule| rule.name.as_deref()), report);
    let path = Path::spec().field("rules");
    let mut rules = Vec::new();
    for (index, rule) in spec.rules.into_iter().enumerate() {
        let path = path.index(index);
        if index > 0 {
            let reason = "the rules of a TLSRoute are for the same hostnames, so that only the first is ever used";
            report.error(&path, reason);
        }
        rules.push(read_rule(rule, namespace, &path, report));
    }
    RouteSpec { parents, hostnames: spec.hostnames, rules }
}

fn read_rule(rule: TlsRouteRules, namespace: &str, path: &Path, report: &mut Report) -> RouteRule {
    let backends = match rule.backend_refs.is_empty() {
        true => {
            report.error(&path.field("backendRefs"), "the list is empty, so that the rule leads nowhere");
            Vec::new()
        }
        false => read_backends(rule.backend_refs.iter().map(same_shape).collect(), namespace, path, report),
    };
    RouteRule {
        matches: Vec::new(),
        filters: Filters::default(),
        action: RouteAction::Split(backends),
        requests: RequestSpec::default(),
        session: None,
        mirrors: Vec::new(),
        cors: None,
    }
}

fn check_hostnames(hostnames: &[String], path: &Path, report: &mut Report) {
    if hostnames.is_empty() {
        report.error(path, "the list is empty, so that no connection matches");
    }
    for (index, hostname) in hostnames.iter().enumerate() {
        let at = path.index(index);
        if let Err(reason) = check_hostname(hostname) {
            report.error(&at, format!("{hostname:?} {reason}"));
        }
        if hostnames.iter().take(index).any(|other| other == hostname) {
            report.error(&at, format!("{hostname:?} is listed twice"));
        }
    }
}

/// As Gateway API has it: a DNS name in lower case, or one below which all names are meant.
fn check_hostname(hostname: &str) -> Result<(), String> {
    let name = hostname.strip_prefix("*.").unwrap_or(hostname);
    if hostname.parse::<IpAddr>().is_ok() {
        return Err("is an address, which no client asks for as a server name".to_owned());
    }
    if name.contains('*') {
        return Err("has a wildcard that is not the whole first label, as in *.example.com".to_owned());
    }
    if hostname.len() > 253 || !name.split('.').all(is_label) {
        return Err(format!("is not a DNS name: {LABEL}, joined by '.'"));
    }
    Ok(())
}

//! `TLSRoute`: for connections that carry the application's own TLS, by the server name that they ask for. Its rule has
//! backends and weights as that of an `HTTPRoute`, and nothing else.

use std::net::IpAddr;

use gateway_api::tlsroutes::TlsRouteSpec;
use weft_proxy_api::name::is_label;

use super::{RouteSpec, filters::same_shape, http::check_rules, parents::read_parents, tcp::read_rules};
use crate::resources::{
    mesh_service::LABEL,
    problem::{Path, Report},
};

pub fn read(spec: TlsRouteSpec, namespace: &str, report: &mut Report) -> RouteSpec {
    let parents = spec.parent_refs.unwrap_or_default().iter().map(same_shape).collect();
    let parents = read_parents(parents, namespace, report);
    check_hostnames(&spec.hostnames, &Path::spec().field("hostnames"), report);
    check_rules(spec.rules.iter().map(|rule| rule.name.as_deref()), report);
    let backends = spec.rules.iter().map(|rule| rule.backend_refs.iter().map(same_shape).collect());
    let why = "the rules of a TLSRoute are for the same hostnames, so that only the first is ever used";
    let rules = read_rules(backends, why, namespace, report);
    RouteSpec { parents, hostnames: spec.hostnames, rules }
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

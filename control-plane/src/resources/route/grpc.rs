//! `GRPCRoute`: a gRPC method is the path `/<service>/<method>`; the rest of a rule is that of an `HTTPRoute`.

use gateway_api::experimental::{
    grpcroutes::{
        GrpcRouteRulesMatches, GrpcRouteRulesMatchesMethod, GrpcRouteRulesMatchesMethodType as MethodType,
        GrpcRouteSpec,
    },
    httproutes::HttpRouteRules,
};
use weft_proxy_api::route::{PathMatch, Pattern, RouteMatch};

use super::{
    Rank, RankedMatch, RouteSpec,
    filters::same_shape,
    http::{check_hostnames, check_rules, read_rule},
    matches::read_headers,
    mirror::check_mirrors,
    parents::read_parents,
};
use crate::resources::problem::{Path, Report};

pub fn read(spec: GrpcRouteSpec, namespace: &str, report: &mut Report) -> RouteSpec {
    check_hostnames(spec.hostnames.as_deref(), report);
    let parents = spec.parent_refs.unwrap_or_default().iter().map(same_shape).collect();
    let parents = read_parents(parents, namespace, report);
    let rules = spec.rules.unwrap_or_default();
    check_rules(rules.iter().map(|rule| rule.name.as_deref()), report);
    let mut read = Vec::new();
    for (index, mut rule) in rules.into_iter().enumerate() {
        let path = Path::spec().field("rules").index(index);
        let matches = read_matches(rule.matches.take().unwrap_or_default(), &path.field("matches"), report);
        let rest: HttpRouteRules = same_shape(&rule);
        read.push(read_rule(rest, matches, namespace, &path, report));
    }
    check_mirrors(&parents, &read, report);
    RouteSpec { parents, hostnames: Vec::new(), rules: read }
}

fn read_matches(written: Vec<GrpcRouteRulesMatches>, path: &Path, report: &mut Report) -> Vec<RankedMatch> {
    if written.is_empty() {
        return vec![RankedMatch { matches: RouteMatch::default(), rank: Rank::default() }];
    }
    let one = |(index, written): (usize, GrpcRouteRulesMatches)| {
        let path = path.index(index);
        let headers = written.headers.unwrap_or_default().iter().map(same_shape).collect();
        let headers = read_headers(headers, &path.field("headers"), report);
        let rank = written.method.as_ref().map(rank).unwrap_or_default();
        let method = written.method.and_then(|written| read_method(written, &path.field("method"), report));
        RankedMatch { matches: RouteMatch { path: method, headers, ..RouteMatch::default() }, rank }
    };
    written.into_iter().enumerate().map(one).collect()
}

/// By the characters of the service, then of the method, as Gateway API has it for gRPC.
fn rank(written: &GrpcRouteRulesMatchesMethod) -> Rank {
    let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    Rank(length(&written.service), length(&written.method))
}

fn read_method(written: GrpcRouteRulesMatchesMethod, path: &Path, report: &mut Report) -> Option<PathMatch> {
    let exact = written.r#type.unwrap_or(MethodType::Exact) == MethodType::Exact;
    let parts = [("service", &written.service), ("method", &written.method)];
    for (name, part) in parts.iter().filter(|_| exact) {
        if let Some(part) = part.as_deref().filter(|part| !is_identifier(part)) {
            report.error(&path.field(name), format!("{part:?} is not the name of a gRPC {name}"));
        }
    }
    match (exact, written.service, written.method) {
        (_, None, None) => {
            report.error(path, "expected at least one of service and method");
            None
        }
        (true, Some(service), Some(method)) => Some(PathMatch::Exact(format!("/{service}/{method}"))),
        (true, Some(service), None) => Some(PathMatch::Prefix(format!("/{service}"))),
        (true, None, Some(method)) => read_pattern(ANY, &regex::escape(&method), path, report),
        (false, service, method) => {
            let (service, method) = (service.as_deref().unwrap_or(ANY), method.as_deref().unwrap_or(ANY));
            read_pattern(service, method, path, report)
        }
    }
}

/// Any one segment of a path.
const ANY: &str = "[^/]+";

fn read_pattern(service: &str, method: &str, path: &Path, report: &mut Report) -> Option<PathMatch> {
    // Each part by itself, so that the error names it, and so that no parenthesis leaves its part.
    for (name, part) in [("service", service), ("method", method)] {
        if let Err(error) = Pattern::new(part) {
            let reason = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
            report.error(&path.field(name), format!("the regular expression does not compile: {reason}"));
            return None;
        }
    }
    let pattern = Pattern::new(format!("/(?:{service})/(?:{method})"));
    pattern.map_err(|error| report.error(path, error)).ok().map(PathMatch::Regex)
}

fn is_identifier(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    name.split('.').all(|part| !part.is_empty() && part.bytes().all(inner))
}

//! `HTTPRoute`, and what its rules have in common with those of a `GRPCRoute`.

use gateway_api::experimental::httproutes::{HttpRouteRules, HttpRouteSpec};

use super::{
    RankedMatch, RouteAction, RouteRule, RouteSpec,
    backends::read_backends,
    filters::{AllFilters, read_filters},
    matches::read_matches,
    mirror::check_mirrors,
    parents::read_parents,
    retry::read_retry,
    session::read_session,
    timeouts::read_timeouts,
};
use crate::resources::{
    RequestSpec,
    problem::{Path, Report},
};

pub fn read(spec: HttpRouteSpec, namespace: &str, report: &mut Report) -> RouteSpec {
    let path = Path::spec();
    check_hostnames(spec.hostnames.as_deref(), report);
    let parents = read_parents(spec.parent_refs.unwrap_or_default(), namespace, report);
    let rules = spec.rules.unwrap_or_default();
    check_rules(rules.iter().map(|rule| rule.name.as_deref()), report);
    let rule = |(index, mut rule): (usize, HttpRouteRules)| {
        let path = path.field("rules").index(index);
        let matches = read_matches(rule.matches.take().unwrap_or_default(), &path.field("matches"), report);
        read_rule(rule, matches, namespace, &path, report)
    };
    let rules: Vec<RouteRule> = rules.into_iter().enumerate().map(rule).collect();
    check_mirrors(&parents, &rules, report);
    RouteSpec { parents, hostnames: Vec::new(), rules }
}

pub(super) fn check_hostnames(hostnames: Option<&[String]>, report: &mut Report) {
    if hostnames.is_some_and(|names| !names.is_empty()) {
        let reason = "a route attached to a service matches that service; hostnames have no effect";
        report.error(&Path::spec().field("hostnames"), reason);
    }
}

/// `names` has one item for each rule.
pub(super) fn check_rules<'a>(names: impl Iterator<Item = Option<&'a str>>, report: &mut Report) {
    let path = Path::spec().field("rules");
    let mut seen: Vec<Option<&str>> = Vec::new();
    for (index, name) in names.enumerate() {
        if name.is_some() && seen.contains(&name) {
            let reason = format!("the rule name {:?} is given twice", name.unwrap_or_default());
            report.error(&path.index(index).field("name"), reason);
        }
        seen.push(name);
    }
    if seen.is_empty() {
        report.error(&path, "the route has no rule");
    }
}

/// Everything of a rule but its matches.
pub(super) fn read_rule(
    rule: HttpRouteRules,
    mut matches: Vec<RankedMatch>,
    namespace: &str,
    path: &Path,
    report: &mut Report,
) -> RouteRule {
    let at = path.field("filters");
    let all = read_filters(rule.filters.unwrap_or_default(), namespace, &at, report);
    let AllFilters { filters, redirect, mirrors, cors } = all;
    super::filters::fit_prefix_rewrite(&filters, redirect.as_ref(), &mut matches, path, report);
    let backends = rule.backend_refs.unwrap_or_default();
    let action = match redirect {
        Some(redirect) => {
            let nothing_is_sent = [
                ("backendRefs", !backends.is_empty(), "so that no request reaches its backendRefs"),
                ("retry", rule.retry.is_some(), "so that no request is sent that could be sent again"),
                ("sessionPersistence", rule.session_persistence.is_some(), "so that there is no endpoint to stay at"),
                ("filters", !mirrors.is_empty(), "so that there is no request to mirror"),
            ];
            for (field, _, reason) in nothing_is_sent.iter().filter(|(_, present, _)| *present) {
                report.error(&path.field(field), format!("the rule redirects, {reason}"));
            }
            RouteAction::Redirect(redirect)
        }
        None => RouteAction::Split(read_backends(backends, namespace, path, report)),
    };
    let timeouts = rule.timeouts.map(|timeouts| read_timeouts(&timeouts, &path.field("timeouts"), report));
    let retry = rule.retry.map(|retry| read_retry(retry, &path.field("retry"), report));
    let session = rule.session_persistence;
    RouteRule {
        matches,
        filters,
        action,
        requests: RequestSpec {
            timeouts: timeouts.unwrap_or_default(),
            retry: retry.unwrap_or_default(),
            ..RequestSpec::default()
        },
        session: session.map(|session| read_session(session, &path.field("sessionPersistence"), report)),
        mirrors,
        cors,
    }
}

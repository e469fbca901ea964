//! `HTTPRoute`, and what its rules have in common with those of a `GRPCRoute`.

use gateway_api::httproutes::{HttpRouteRules, HttpRouteSpec};

use super::{
    RankedMatch, RouteAction, RouteRule, RouteSpec, backends::read_backends, filters::read_filters,
    matches::read_matches, parents::read_parents, timeouts::read_timeouts,
};
use crate::resources::problem::{Path, Report};

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
    RouteSpec { parents, rules: rules.into_iter().enumerate().map(rule).collect() }
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
    let (filters, redirect) = read_filters(rule.filters.unwrap_or_default(), &path.field("filters"), report);
    super::filters::fit_prefix_rewrite(&filters, redirect.as_ref(), &mut matches, path, report);
    let backends = rule.backend_refs.unwrap_or_default();
    let action = match redirect {
        Some(redirect) => {
            if !backends.is_empty() {
                let reason = "the rule redirects, so that no request reaches its backendRefs";
                report.error(&path.field("backendRefs"), reason);
            }
            RouteAction::Redirect(redirect)
        }
        None => RouteAction::Split(read_backends(backends, namespace, path, report)),
    };
    let timeouts = rule.timeouts.map(|timeouts| read_timeouts(&timeouts, &path.field("timeouts"), report));
    RouteRule { matches, filters, action, timeouts: timeouts.unwrap_or_default() }
}

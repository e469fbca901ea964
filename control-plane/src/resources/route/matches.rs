//! What a request must be like for a rule to apply.

use gateway_api::experimental::httproutes::{
    HttpRouteRulesMatches, HttpRouteRulesMatchesHeaders, HttpRouteRulesMatchesHeadersType as HeadersType,
    HttpRouteRulesMatchesPath, HttpRouteRulesMatchesPathType as PathType, HttpRouteRulesMatchesQueryParams,
    HttpRouteRulesMatchesQueryParamsType as QueryType,
};
use http::{HeaderName, Method};
use weft_proxy_api::route::{HeaderMatch, PathMatch, Pattern, QueryMatch, RouteMatch, ValueMatch};

use super::{Rank, RankedMatch};
use crate::resources::problem::{Path, Report};

pub(super) fn read_matches(written: Vec<HttpRouteRulesMatches>, path: &Path, report: &mut Report) -> Vec<RankedMatch> {
    if written.is_empty() {
        return vec![ranked(RouteMatch::default())];
    }
    let one = |(index, written)| ranked(read_match(written, &path.index(index), report));
    written.into_iter().enumerate().map(one).collect()
}

pub(in crate::resources) fn read_match(written: HttpRouteRulesMatches, path: &Path, report: &mut Report) -> RouteMatch {
    RouteMatch {
        path: written.path.and_then(|written| read_path(written, &path.field("path"), report)),
        method: written.method.as_ref().and_then(method),
        headers: read_headers(written.headers.unwrap_or_default(), &path.field("headers"), report),
        query: read_query(written.query_params.unwrap_or_default(), &path.field("queryParams"), report),
    }
}

/// Gateway API puts an exact path before a prefix, a longer prefix before a shorter, and leaves the place of regular
/// expressions open. Here they come between: who writes one means something more special than the prefix around it.
fn ranked(matches: RouteMatch) -> RankedMatch {
    let rank = match &matches.path {
        Some(PathMatch::Exact(path)) => Rank(3, path.len()),
        Some(PathMatch::Regex(pattern)) => Rank(2, pattern.as_str().len()),
        Some(PathMatch::Prefix(path)) => Rank(1, path.len()),
        // Without a path, Gateway API means the prefix `/`.
        None => Rank(1, 1),
    };
    RankedMatch { matches, rank }
}

fn read_path(written: HttpRouteRulesMatchesPath, path: &Path, report: &mut Report) -> Option<PathMatch> {
    let value = written.value.unwrap_or_else(|| "/".into());
    let path = path.field("value");
    match written.r#type.unwrap_or(PathType::PathPrefix) {
        PathType::RegularExpression => read_pattern(value, &path, report).map(PathMatch::Regex),
        PathType::Exact => {
            check_path(&value, &path, report);
            Some(PathMatch::Exact(value))
        }
        PathType::PathPrefix => {
            check_path(&value, &path, report);
            // A prefix is matched by whole segments, so that `/a/` is `/a`.
            let trimmed = value.trim_end_matches('/');
            Some(PathMatch::Prefix(if trimmed.is_empty() { "/".into() } else { trimmed.to_owned() }))
        }
    }
}

/// The rules of Gateway API for paths that are compared as text.
pub(super) fn check_path(value: &str, path: &Path, report: &mut Report) {
    if !value.starts_with('/') {
        report.error_with_hint(path, format!("a path starts with '/', unlike {value:?}"), format!("write /{value}"));
        return;
    }
    let lower = value.to_ascii_lowercase();
    let forbidden = ["//", "/./", "/../", "%2f", "#", "?"].into_iter().find(|part| lower.contains(part));
    let forbidden = forbidden.or_else(|| ["/.", "/.."].into_iter().find(|end| lower.ends_with(end)));
    if let Some(part) = forbidden {
        report.error(
            path,
            format!("no path of a request has {part:?} in it after normalization, so that {value:?} never matches"),
        );
    } else if value.bytes().any(|b| !b.is_ascii_graphic()) {
        report.error_with_hint(
            path,
            format!("{value:?} has characters that a URL writes with %"),
            "percent-encode them".to_owned(),
        );
    }
}

fn read_pattern(source: String, path: &Path, report: &mut Report) -> Option<Pattern> {
    let pattern = Pattern::new(source);
    pattern
        .map_err(|error| report.error(path, format!("the regular expression does not compile: {}", last_line(&error))))
        .ok()
}

/// The library draws the expression over several lines and ends with what is wrong.
fn last_line(error: &str) -> &str {
    let line = error.lines().last().unwrap_or(error);
    line.strip_prefix("error: ").unwrap_or(line)
}

fn method(written: &impl serde::Serialize) -> Option<Method> {
    // The generated type knows its name only as JSON; every variant is a method.
    let name = serde_json::to_value(written).ok()?;
    Method::from_bytes(name.as_str()?.as_bytes()).ok()
}

pub(super) fn read_headers(
    written: Vec<HttpRouteRulesMatchesHeaders>,
    path: &Path,
    report: &mut Report,
) -> Vec<HeaderMatch> {
    let mut headers: Vec<HeaderMatch> = Vec::new();
    for (index, header) in written.into_iter().enumerate() {
        let path = path.index(index);
        let regex = header.r#type == Some(HeadersType::RegularExpression);
        let value = read_value(regex, header.value, &path, report);
        let Some(name) = read_header_name(&header.name, &path.field("name"), report) else { continue };
        if headers.iter().any(|other| other.name == name) {
            report.error(&path.field("name"), format!("the header {name} is matched twice"));
        }
        headers.extend(value.map(|value| HeaderMatch { name, value }));
    }
    headers
}

fn read_query(written: Vec<HttpRouteRulesMatchesQueryParams>, path: &Path, report: &mut Report) -> Vec<QueryMatch> {
    let mut query: Vec<QueryMatch> = Vec::new();
    for (index, param) in written.into_iter().enumerate() {
        let path = path.index(index);
        let regex = param.r#type == Some(QueryType::RegularExpression);
        let value = read_value(regex, param.value, &path, report);
        if param.name.is_empty() {
            report.error(&path.field("name"), "a query parameter has a name");
        }
        if query.iter().any(|other| other.name == param.name) {
            report.error(&path.field("name"), format!("the query parameter {:?} is matched twice", param.name));
        }
        query.extend(value.map(|value| QueryMatch { name: param.name, value }));
    }
    query
}

fn read_value(regex: bool, value: String, path: &Path, report: &mut Report) -> Option<ValueMatch> {
    match regex {
        true => read_pattern(value, &path.field("value"), report).map(ValueMatch::Regex),
        false => Some(ValueMatch::Exact(value)),
    }
}

pub(in crate::resources) fn read_header_name(name: &str, path: &Path, report: &mut Report) -> Option<HeaderName> {
    let parsed = HeaderName::from_bytes(name.as_bytes());
    parsed.map_err(|_| report.error(path, format!("{name:?} is not a header name"))).ok()
}

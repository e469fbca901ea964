//! Routes in words, for people. Called by the admin API for `weft routes`.

use weft_proxy_api::{
    Destination, Service, State,
    destination::Protocol,
    policy::{MILLION, Mirror},
    route::{Action, PathMatch, PathRewrite, Redirect, Route, RouteMatch, Rule, Split, Sticky, Target, ValueMatch},
};

use crate::admin_api::RouteLine;

/// One line for each route, in order of precedence; none for an unknown service.
pub fn describe_routes(destination: &Destination) -> Vec<RouteLine> {
    let State::Service(service) = &destination.state else { return Vec::new() };
    let requests = service.routes.iter().filter_map(|route| describe(what(route, service), route.rule, service));
    let connections = service.tls_routes.iter().filter_map(|route| {
        let names = format!("TLS for {}", route.hostnames.join(", "));
        describe(names, route.rule, service)
    });
    requests.chain(connections).collect()
}

fn what(route: &Route, service: &Service) -> String {
    match service.protocol {
        Protocol::Tcp | Protocol::Tls => "any connection".into(),
        _ => describe_match(&route.matches),
    }
}

fn describe(matches: String, rule: usize, service: &Service) -> Option<RouteLine> {
    let rule = service.rules.get(rule)?;
    let (mut to, sticky) = match &rule.action {
        Action::Redirect(redirect) => (vec![describe_redirect(redirect)], None),
        Action::Split(split) => (describe_split(split, service), split.sticky.as_ref().map(describe_sticky)),
    };
    to.extend(rule.policies.mirrors.iter().map(describe_mirror));
    Some(RouteLine { matches, to, sticky, from: describe_origin(rule) })
}

/// For example `a copy of 5 % to shop/orders-v2:80`.
fn describe_mirror(mirror: &Mirror) -> String {
    let share = percent(mirror.per_million, MILLION.into());
    match &mirror.target {
        Target::Backend(name) => format!("a copy of {share} to {name}"),
        Target::Unresolved(reason) => format!("a copy of {share} nowhere: {reason}"),
    }
}

fn describe_origin(rule: &Rule) -> String {
    match rule.origin.kind.as_str() {
        "MeshService" => "no route: the service itself".into(),
        _ => rule.origin.to_string(),
    }
}

/// For example `GET /orders* header x-user=anna`.
fn describe_match(matches: &RouteMatch) -> String {
    let mut words: Vec<String> = Vec::new();
    words.extend(matches.method.as_ref().map(ToString::to_string));
    words.extend(matches.path.as_ref().map(|path| match path {
        PathMatch::Exact(path) => path.clone(),
        PathMatch::Prefix(prefix) if prefix == "/" => "/*".into(),
        PathMatch::Prefix(prefix) => format!("{prefix}[/*]"),
        PathMatch::Regex(pattern) => format!("~ {}", pattern.as_str()),
    }));
    words.extend(
        matches.headers.iter().map(|header| format!("header {}{}", header.name, describe_value(&header.value))),
    );
    words.extend(matches.query.iter().map(|query| format!("query {}{}", query.name, describe_value(&query.value))));
    if words.is_empty() { "any request".into() } else { words.join(" ") }
}

fn describe_value(value: &ValueMatch) -> String {
    match value {
        ValueMatch::Exact(value) => format!("={value}"),
        ValueMatch::Regex(pattern) => format!("~{}", pattern.as_str()),
    }
}

fn describe_split(split: &Split, service: &Service) -> Vec<String> {
    let total: u64 = split.backends.iter().map(|backend| u64::from(backend.weight)).sum();
    let describe = |backend: &weft_proxy_api::route::WeightedBackend| {
        let share = percent(backend.weight, total);
        match &backend.target {
            Target::Unresolved(reason) => format!("nowhere {share}: {reason}"),
            Target::Backend(name) => match service.backend(name).and_then(|backend| backend.fallback.as_ref()) {
                Some(fallback) => format!("{name} {share}, while its circuit is open {fallback}"),
                None => format!("{name} {share}"),
            },
        }
    };
    split.backends.iter().map(describe).collect()
}

/// Up to two digits after the point, and only where they say something: `90 %`, `33.33 %`.
fn percent(weight: u32, total: u64) -> String {
    let hundredths = (u64::from(weight) * 10_000 + total / 2).checked_div(total).unwrap_or(0);
    match (hundredths / 100, hundredths % 100) {
        (whole, 0) => format!("{whole} %"),
        (whole, rest) if rest % 10 == 0 => format!("{whole}.{} %", rest / 10),
        (whole, rest) => format!("{whole}.{rest:02} %"),
    }
}

/// What the request does not keep: `redirect 301 https://…/new`.
fn describe_redirect(redirect: &Redirect) -> String {
    let mut to = String::new();
    if let Some(scheme) = &redirect.scheme {
        to += &format!("{scheme}://");
    }
    match (&redirect.hostname, &redirect.scheme) {
        (Some(host), _) => to += host,
        (None, Some(_)) => to += "<host>",
        (None, None) => {}
    }
    if let Some(port) = redirect.port {
        to += &format!(":{port}");
    }
    match &redirect.path {
        None => to += "<path>",
        Some(PathRewrite::Full(path)) => to += path,
        Some(PathRewrite::Prefix(prefix)) => to += &format!("{}<rest of the path>", prefix.trim_end_matches('/')),
    }
    format!("redirect {} {to}", redirect.status.as_u16())
}

fn describe_sticky(sticky: &Sticky) -> String {
    match sticky {
        Sticky::Header(name) => format!("by header {name}"),
        Sticky::Cookie(name) => format!("by cookie {name}"),
    }
}

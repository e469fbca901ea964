//! The routes of a service, compiled.

use http::{HeaderMap, Method, Uri};
use weft_proxy_api::Service;

use super::matcher::Matcher;

/// The routes in order of precedence.
#[derive(Debug)]
pub struct RouteTable {
    routes: Vec<(Matcher, usize)>,
}

/// The route that a request takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Matched {
    /// Index into the service's rules.
    pub rule: usize,
    /// The length of the path prefix that matched, without a slash at its end; `None` if the route has no prefix.
    pub matched_prefix_len: Option<usize>,
}

impl RouteTable {
    pub fn compile(service: &Service) -> Self {
        Self { routes: service.routes.iter().map(|route| (Matcher::compile(&route.matches), route.rule)).collect() }
    }

    /// The first route that matches; `None` is answered with 404.
    pub fn find(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Option<Matched> {
        self.routes.iter().find_map(|(matcher, rule)| {
            let prefix = matcher.matches(method, uri, headers)?;
            Some(Matched { rule: *rule, matched_prefix_len: prefix.matched_len })
        })
    }
}

#[cfg(test)]
mod tests;

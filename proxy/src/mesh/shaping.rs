//! What a rule does to its requests beside sending them, live. Most rules do nothing of it.

use std::sync::Arc;

use http::HeaderValue;
use weft_proxy_api::{self as api, policy::FixedResponse, route::Filters};

use super::{
    Destination,
    compile::{Action, Backends, Rule, To, lead},
};
use crate::{
    http::cache::Cache,
    policy::{Cors, Fault},
};

pub struct Shaping {
    pub cors: Option<Cors>,
    pub fault: Option<Fault>,
    pub mirrors: Vec<Mirror>,
    pub fixed: Option<FixedResponse>,
    pub cache: Option<Arc<Cache>>,
}

pub struct Mirror {
    pub to: To,
    pub per_million: u32,
    /// What its copies say where they come from.
    pub mark: HeaderValue,
}

impl Shaping {
    /// `None`: the rule's requests are only sent.
    pub fn compile(rule: &api::route::Rule, backends: &Backends, before: Option<&Destination>) -> Option<Box<Self>> {
        let policies = &rule.policies;
        // Names of objects are visible ASCII.
        let mark = HeaderValue::try_from(rule.origin.to_string()).unwrap_or(HeaderValue::from_static("?"));
        let mirror = |mirror: &api::policy::Mirror| Mirror {
            to: lead(&mirror.target, backends),
            per_million: mirror.per_million,
            mark: mark.clone(),
        };
        let shaping = Self {
            cors: policies.cors.as_ref().map(Cors::new),
            fault: policies.fault.as_ref().map(Fault::new),
            mirrors: policies.mirrors.iter().map(mirror).collect(),
            fixed: policies.fallback_response.clone(),
            cache: policies.cache.as_ref().map(|settings| cache(settings, rule, before)),
        };
        let Self { cors, fault, mirrors, fixed, cache } = &shaping;
        (cors.is_some() || fault.is_some() || !mirrors.is_empty() || fixed.is_some() || cache.is_some())
            .then(|| Box::new(shaping))
    }
}

/// The cache of the same rule as before, unless something has changed that its answers depend on. Weights may change.
fn cache(settings: &api::policy::Cache, rule: &api::route::Rule, before: Option<&Destination>) -> Arc<Cache> {
    let kept = before.into_iter().flat_map(|before| &before.rules).find(|known| known.origin == rule.origin);
    let kept = kept.filter(|known| known.filters == rule.filters && ways_before(known) == ways(rule));
    let kept = kept.and_then(|known| known.shaping.as_ref()?.cache.clone());
    kept.filter(|cache| cache.settings() == settings).unwrap_or_else(|| Arc::new(Cache::new(settings.clone())))
}

/// Where a rule's requests go, and what is made of them there.
type Ways<'a> = Vec<(Option<&'a api::ServicePort>, &'a Filters)>;

fn ways(rule: &api::route::Rule) -> Ways<'_> {
    match &rule.action {
        api::route::Action::Split(split) => {
            split.backends.iter().map(|share| (share.target.backend(), &share.filters)).collect()
        }
        api::route::Action::Redirect(_) => Vec::new(),
    }
}

fn ways_before(rule: &Rule) -> Ways<'_> {
    fn name(to: &To) -> Option<&api::ServicePort> {
        match to {
            To::Backend { backend, .. } => Some(&backend.settings.name),
            To::Nowhere(_) => None,
        }
    }
    match &rule.action {
        Action::Forward(forward) => forward.shares.iter().map(|share| (name(&share.to), &share.filters)).collect(),
        Action::Redirect(_) => Vec::new(),
    }
}

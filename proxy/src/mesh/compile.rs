//! From the compiled model on the wire to live objects. Backends that stay keep their state.

use std::{collections::HashMap, sync::Arc};

use weft_proxy_api::{
    self as api, ServicePort,
    policy::Timeouts,
    route::{Filters, Origin, Redirect, Target},
};

use super::backend::{Backend, Watchers};
use crate::route::{RouteTable, Split};

pub type Backends = HashMap<ServicePort, Arc<Backend>>;

/// A destination that requests can be sent to. One `Arc` of it serves a whole request, so that no request ever sees
/// half of an update.
pub struct Destination {
    pub name: ServicePort,
    pub routes: RouteTable,
    pub rules: Vec<Rule>,
}

pub struct Rule {
    pub origin: Origin,
    pub filters: Filters,
    pub timeouts: Timeouts,
    pub action: Action,
}

pub enum Action {
    Forward(Forward),
    Redirect(Redirect),
}

/// The shares of a rule and how one of them is chosen.
pub struct Forward {
    pub split: Split,
    /// Indexed by what `split` picks.
    pub shares: Vec<Share>,
}

pub struct Share {
    pub filters: Filters,
    pub to: To,
}

pub enum To {
    Backend {
        backend: Arc<Backend>,
        fallback: Option<Arc<Backend>>,
    },
    /// Why this share leads nowhere.
    Nowhere(String),
}

/// The live backends of a destination. `before` has those in use, whose state is kept.
pub fn backends(service: &api::Service, before: &Backends, watchers: &Watchers) -> Backends {
    let live = |settings: &api::Backend| {
        let known = before.get(&settings.name);
        match known {
            Some(known) if known.settings == *settings => known.clone(),
            known => Arc::new(Backend::new(settings, known.map(Arc::as_ref), watchers)),
        }
    };
    service.backends.iter().map(|settings| (settings.name.clone(), live(settings))).collect()
}

/// The live destination, over its live backends.
pub fn destination(name: &ServicePort, service: &api::Service, backends: &Backends) -> Destination {
    Destination {
        name: name.clone(),
        routes: RouteTable::compile(service),
        rules: service.rules.iter().map(|rule| compile_rule(rule, backends)).collect(),
    }
}

fn compile_rule(rule: &api::route::Rule, backends: &Backends) -> Rule {
    let action = match &rule.action {
        api::route::Action::Redirect(redirect) => Action::Redirect(redirect.clone()),
        api::route::Action::Split(split) => Action::Forward(Forward {
            split: Split::new(split),
            shares: split
                .backends
                .iter()
                .map(|share| Share { filters: share.filters.clone(), to: lead(&share.target, backends) })
                .collect(),
        }),
    };
    Rule { origin: rule.origin.clone(), filters: rule.filters.clone(), timeouts: rule.timeouts.clone(), action }
}

fn lead(target: &Target, backends: &Backends) -> To {
    match target {
        Target::Unresolved(reason) => To::Nowhere(reason.clone()),
        Target::Backend(name) => match backends.get(name) {
            None => To::Nowhere(format!("{name} is not among the backends")),
            Some(backend) => To::Backend {
                backend: backend.clone(),
                fallback: backend.settings.fallback.as_ref().and_then(|name| backends.get(name)).cloned(),
            },
        },
    }
}

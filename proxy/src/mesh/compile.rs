//! From the compiled model on the wire to live objects. Backends that stay keep their state.

use std::{collections::HashMap, sync::Arc, time::Instant};

use weft_proxy_api::{
    self as api, ServicePort,
    destination::Protocol,
    policy::Policies,
    route::{Filters, Origin, Redirect, Target, TlsRoute, WeightedBackend},
};

use super::{
    Shaping,
    backend::{Backend, Watchers},
    speech::Speech,
};
use crate::route::{RouteTable, Split};

pub type Backends = HashMap<ServicePort, Arc<Backend>>;

/// A destination that requests can be sent to. One `Arc` of it serves a whole request, so that no request ever sees
/// half of an update.
pub struct Destination {
    pub name: ServicePort,
    pub protocol: Protocol,
    pub routes: RouteTable,
    pub rules: Vec<Rule>,
    /// For connections that carry the application's own TLS.
    pub tls_routes: Vec<TlsRoute>,
    /// The rule of connections that are carried as bytes; `None`: they are refused.
    pub opaque_rule: Option<usize>,
    pub speech: Arc<Speech>,
}

impl Destination {
    /// The rule of connections that are carried as bytes.
    pub fn opaque(&self) -> Option<&Rule> {
        self.rules.get(self.opaque_rule?)
    }

    /// The rule of connections that carry the application's own TLS and ask for this server name.
    pub fn tls(&self, server_name: Option<&str>) -> Option<&Rule> {
        if self.tls_routes.is_empty() {
            return self.opaque();
        }
        let route = self.tls_routes.iter().find(|route| route.is_for(server_name))?;
        self.rules.get(route.rule)
    }
}

pub struct Rule {
    pub origin: Origin,
    pub filters: Filters,
    pub policies: Policies,
    pub action: Action,
    /// `None`: its requests are only sent.
    pub shaping: Option<Box<Shaping>>,
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
    /// What names it in a session.
    pub tag: u64,
    pub to: To,
}

impl Share {
    pub fn fallback(&self) -> Option<&Arc<Backend>> {
        match &self.to {
            To::Backend { fallback, .. } => fallback.as_ref(),
            To::Nowhere(_) => None,
        }
    }
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

/// The live destination, over its live backends. What `before` keeps for rules that stay is kept.
pub fn destination(
    name: &ServicePort,
    service: &api::Service,
    backends: &Backends,
    before: Option<&Destination>,
    speech: Arc<Speech>,
) -> Destination {
    Destination {
        name: name.clone(),
        protocol: service.protocol,
        routes: RouteTable::compile(service),
        rules: service.rules.iter().map(|rule| compile_rule(rule, backends, before)).collect(),
        tls_routes: service.tls_routes.clone(),
        opaque_rule: service.opaque_rule,
        speech,
    }
}

/// The destination that is one endpoint of `service` alone, as an application reaches it by its address. It has the
/// policies toward the service, and a circuit of its own: there is no other endpoint to go to. It shares the bulkhead of
/// `whole`, the service's backend in use.
pub fn member(
    name: &ServicePort,
    service: &api::Service,
    endpoint: api::Endpoint,
    whole: Option<&Backend>,
    watchers: &Watchers,
    speech: Arc<Speech>,
) -> Destination {
    let unknown = || api::Backend { protocol: service.protocol, ..api::Backend::new(name.clone()) };
    let settings = service.backend(name).cloned().unwrap_or_else(unknown);
    // Server names are for who asks the service; whoever knows the member has chosen already.
    let is_opaque = service.opaque_rule.is_some() || !service.tls_routes.is_empty();
    let direct = api::Service {
        protocol: service.protocol,
        opaque_rule: is_opaque.then_some(0),
        ..api::Service::direct(api::Backend { fallback: None, ..settings })
    };
    let own = |settings: &api::Backend| {
        let backend = Backend::new(settings, None, watchers);
        Arc::new(match whole {
            Some(whole) => backend.within(whole),
            None => backend,
        })
    };
    let live: Backends = direct.backends.iter().map(|settings| (settings.name.clone(), own(settings))).collect();
    live.values().for_each(|backend| backend.balancer.update(std::slice::from_ref(&endpoint), Instant::now()));
    destination(name, &direct, &live, None, speech)
}

fn compile_rule(rule: &api::route::Rule, backends: &Backends, before: Option<&Destination>) -> Rule {
    let action = match &rule.action {
        api::route::Action::Redirect(redirect) => Action::Redirect(redirect.clone()),
        api::route::Action::Split(shares) => {
            let split = Split::new(shares);
            let share = |(tag, share): (u64, &WeightedBackend)| Share {
                filters: share.filters.clone(),
                tag,
                to: lead(&share.target, backends),
            };
            Action::Forward(Forward { shares: split.tags().zip(&shares.backends).map(share).collect(), split })
        }
    };
    Rule {
        origin: rule.origin.clone(),
        filters: rule.filters.clone(),
        policies: rule.policies.clone(),
        action,
        shaping: Shaping::compile(rule, backends, before),
    }
}

pub(super) fn lead(target: &Target, backends: &Backends) -> To {
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

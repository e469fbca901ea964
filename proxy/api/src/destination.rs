//! A destination: all that a caller needs to reach one service port.

use std::{collections::BTreeSet, time::Duration};

use crate::{
    name::{ServicePort, named},
    policy::{self, Bulkhead, CircuitBreaker, LoadBalancer, RetryBudget},
    proto::api::v1 as pb,
    route::{Action, Origin, Route, RouteMatch, Rule, Split, Target, TlsRoute, WeightedBackend},
    wire::{WireError, each, millis, non_empty, required, to_millis},
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    pub name: ServicePort,
    pub state: State,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    Service(Service),
    /// No such service port; the nearest known service name hints at a typing error.
    Unknown {
        nearest: Option<String>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    pub protocol: Protocol,
    /// In order of precedence; a request that none of them matches is answered with 404.
    pub routes: Vec<Route>,
    pub rules: Vec<Rule>,
    /// Every backend that a rule or a fallback names, once.
    pub backends: Vec<Backend>,
    /// For connections that carry the application's own TLS: the first that matches. Where there are any, what none of
    /// them matches is refused.
    pub tls_routes: Vec<TlsRoute>,
    /// Index into `rules`: where connections go that are carried as bytes. `None`: they are refused, since the port has a
    /// policy for requests.
    pub opaque_rule: Option<usize>,
}

/// What an application port speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// As the caller speaks it.
    #[default]
    Detect,
    Http1,
    Http2,
    Grpc,
    /// Carried as bytes.
    Tcp,
    /// The application's own TLS, carried as bytes.
    Tls,
}

/// A service port that requests are sent to, with the policies toward it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    pub name: ServicePort,
    pub protocol: Protocol,
    pub load_balancer: LoadBalancer,
    /// Of the backend as a whole.
    pub circuit_breaker: CircuitBreaker,
    /// Of each endpoint: an open one is ejected from balancing.
    pub endpoint_circuit_breaker: CircuitBreaker,
    /// 1 to 100.
    pub max_ejected_percent: u32,
    /// At least so many endpoints always stay; at least 1.
    pub min_available: u32,
    pub bulkhead: Bulkhead,
    pub retry_budget: RetryBudget,
    pub connect_timeout: Duration,
    /// Where requests go while the circuit is open; without one they fail fast with 503.
    pub fallback: Option<ServicePort>,
}

impl Backend {
    /// A backend with the default policies.
    pub fn new(name: ServicePort) -> Self {
        Self {
            name,
            protocol: Protocol::Detect,
            load_balancer: LoadBalancer::default(),
            circuit_breaker: CircuitBreaker::default(),
            endpoint_circuit_breaker: CircuitBreaker::endpoint_default(),
            max_ejected_percent: policy::DEFAULT_MAX_EJECTED_PERCENT,
            min_available: 1,
            bulkhead: Bulkhead::default(),
            retry_budget: RetryBudget::default(),
            connect_timeout: policy::DEFAULT_CONNECT_TIMEOUT,
            fallback: None,
        }
    }
}

impl Service {
    /// The service that no route is attached to: everything goes to `backend`.
    pub fn direct(backend: Backend) -> Self {
        let target =
            WeightedBackend { weight: 1, target: Target::Backend(backend.name.clone()), filters: Default::default() };
        let rule = Rule {
            origin: Origin {
                kind: "MeshService".into(),
                namespace: backend.name.namespace.clone(),
                name: backend.name.service.clone(),
                rule: 0,
            },
            filters: Default::default(),
            action: Action::Split(Split { backends: vec![target], sticky: None }),
            policies: Default::default(),
        };
        Self {
            protocol: backend.protocol,
            routes: vec![Route { matches: RouteMatch::default(), rule: 0 }],
            rules: vec![rule],
            backends: vec![backend],
            tls_routes: Vec::new(),
            opaque_rule: Some(0),
        }
    }

    pub fn backend(&self, name: &ServicePort) -> Option<&Backend> {
        self.backends.iter().find(|backend| backend.name == *name)
    }

    /// Every index and every name must lead somewhere, so that the proxy never meets a hole.
    fn check(&self) -> Result<(), WireError> {
        for (index, route) in self.routes.iter().enumerate() {
            if route.rule >= self.rules.len() {
                return Err(WireError::new(format!("routes[{index}].rule"), "there is no rule of this number"));
            }
        }
        for (index, route) in self.tls_routes.iter().enumerate() {
            if route.rule >= self.rules.len() {
                return Err(WireError::new(format!("tls_routes[{index}].rule"), "there is no rule of this number"));
            }
        }
        if self.opaque_rule.is_some_and(|rule| rule >= self.rules.len()) {
            return Err(WireError::new("opaque_rule", "there is no rule of this number"));
        }
        let known: BTreeSet<&ServicePort> = self.backends.iter().map(|backend| &backend.name).collect();
        let missing = |name: &ServicePort| format!("{name} is not among the backends");
        for (index, rule) in self.rules.iter().enumerate() {
            if let Some(name) = rule.backends().find(|name| !known.contains(name)) {
                return Err(WireError::new(format!("rules[{index}]"), missing(name)));
            }
        }
        for backend in &self.backends {
            if let Some(name) = &backend.fallback
                && !known.contains(name)
            {
                return Err(WireError::new(format!("backends[{}].fallback", backend.name), missing(name)));
            }
        }
        Ok(())
    }
}

impl From<&Destination> for pb::Destination {
    fn from(value: &Destination) -> Self {
        use pb::destination::State as Wire;
        Self {
            name: Some((&value.name).into()),
            state: Some(match &value.state {
                State::Service(service) => Wire::Service(pb::Service {
                    protocol: pb::Protocol::from(service.protocol).into(),
                    routes: service.routes.iter().map(Into::into).collect(),
                    rules: service.rules.iter().map(Into::into).collect(),
                    backends: service.backends.iter().map(Into::into).collect(),
                    tls_routes: service.tls_routes.iter().map(Into::into).collect(),
                    opaque_rule: service.opaque_rule.and_then(|rule| u32::try_from(rule).ok()),
                }),
                State::Unknown { nearest } => {
                    Wire::Unknown(pb::Unknown { nearest: nearest.clone().unwrap_or_default() })
                }
            }),
        }
    }
}

impl TryFrom<pb::Destination> for Destination {
    type Error = WireError;

    fn try_from(wire: pb::Destination) -> Result<Self, WireError> {
        let state = match required(wire.state, "state")? {
            pb::destination::State::Service(service) => {
                State::Service(service.try_into().map_err(|e: WireError| e.within("service"))?)
            }
            pb::destination::State::Unknown(unknown) => State::Unknown { nearest: non_empty(unknown.nearest) },
        };
        Ok(Self { name: named(wire.name)?, state })
    }
}

impl TryFrom<pb::Service> for Service {
    type Error = WireError;

    fn try_from(wire: pb::Service) -> Result<Self, WireError> {
        let service = Self {
            protocol: wire.protocol().into(),
            routes: each(wire.routes, "routes", TryInto::try_into)?,
            rules: each(wire.rules, "rules", TryInto::try_into)?,
            backends: each(wire.backends, "backends", TryInto::try_into)?,
            tls_routes: each(wire.tls_routes, "tls_routes", TryInto::try_into)?,
            opaque_rule: wire.opaque_rule.map(|rule| rule as usize),
        };
        service.check()?;
        Ok(service)
    }
}

impl From<&Backend> for pb::Backend {
    fn from(value: &Backend) -> Self {
        Self {
            name: Some((&value.name).into()),
            protocol: pb::Protocol::from(value.protocol).into(),
            load_balancer: Some((&value.load_balancer).into()),
            circuit_breaker: Some((&value.circuit_breaker).into()),
            endpoint_circuit_breaker: Some((&value.endpoint_circuit_breaker).into()),
            max_ejected_percent: value.max_ejected_percent,
            min_available: value.min_available,
            bulkhead: Some((&value.bulkhead).into()),
            retry_budget: Some(value.retry_budget.into()),
            connect_timeout_ms: to_millis(Some(value.connect_timeout)),
            fallback: value.fallback.as_ref().map(Into::into),
        }
    }
}

impl TryFrom<pb::Backend> for Backend {
    type Error = WireError;

    fn try_from(wire: pb::Backend) -> Result<Self, WireError> {
        let breaker = |wire: Option<pb::CircuitBreaker>, field| {
            required(wire, field)?.try_into().map_err(|e: WireError| e.within(field))
        };
        Ok(Self {
            protocol: wire.protocol().into(),
            load_balancer: wire
                .load_balancer
                .unwrap_or_default()
                .try_into()
                .map_err(|e: WireError| e.within("load_balancer"))?,
            name: named(wire.name)?,
            circuit_breaker: breaker(wire.circuit_breaker, "circuit_breaker")?,
            endpoint_circuit_breaker: breaker(wire.endpoint_circuit_breaker, "endpoint_circuit_breaker")?,
            max_ejected_percent: wire.max_ejected_percent.clamp(1, 100),
            min_available: wire.min_available.max(1),
            bulkhead: wire.bulkhead.unwrap_or_default().into(),
            retry_budget: wire.retry_budget.map_or_else(Default::default, Into::into),
            connect_timeout: millis(wire.connect_timeout_ms)
                .ok_or_else(|| WireError::new("connect_timeout_ms", "must be more than 0"))?,
            fallback: wire.fallback.map(TryInto::try_into).transpose()?,
        })
    }
}

impl From<Protocol> for pb::Protocol {
    fn from(value: Protocol) -> Self {
        match value {
            Protocol::Detect => Self::Unspecified,
            Protocol::Http1 => Self::Http1,
            Protocol::Http2 => Self::Http2,
            Protocol::Grpc => Self::Grpc,
            Protocol::Tcp => Self::Tcp,
            Protocol::Tls => Self::Tls,
        }
    }
}

impl From<pb::Protocol> for Protocol {
    fn from(wire: pb::Protocol) -> Self {
        match wire {
            pb::Protocol::Unspecified => Self::Detect,
            pb::Protocol::Http1 => Self::Http1,
            pb::Protocol::Http2 => Self::Http2,
            pb::Protocol::Grpc => Self::Grpc,
            pb::Protocol::Tcp => Self::Tcp,
            pb::Protocol::Tls => Self::Tls,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn destination() -> Destination {
        let v1 = Backend { fallback: None, ..Backend::new(ServicePort::new("shop", "orders-v1", 80)) };
        let v2 = Backend { fallback: Some(v1.name.clone()), ..Backend::new(ServicePort::new("shop", "orders-v2", 80)) };
        let mut service = Service::direct(v1);
        service.backends.push(v2);
        Destination { name: ServicePort::new("shop", "orders", 80), state: State::Service(service) }
    }

    #[test]
    fn survives_the_wire() {
        let destination = destination();
        assert_eq!(Destination::try_from(pb::Destination::from(&destination)), Ok(destination));
    }

    #[test]
    fn holes_are_refused_with_their_place() {
        let mut wire = pb::Destination::from(&destination());
        let Some(pb::destination::State::Service(service)) = wire.state.as_mut() else { panic!("a service") };
        service.routes[0].rule = 7;
        assert_eq!(Destination::try_from(wire).unwrap_err().field, "service.routes[0].rule");

        let mut wire = pb::Destination::from(&destination());
        let Some(pb::destination::State::Service(service)) = wire.state.as_mut() else { panic!("a service") };
        service.backends.remove(0);
        assert!(Destination::try_from(wire).unwrap_err().reason.contains("shop/orders-v1:80"));
    }
}

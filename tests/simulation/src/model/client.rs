//! A client: an application and its sidecar, with engines of its own for each backend that it calls.

use std::{
    collections::VecDeque,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Instant,
};

use weft_proxy::{
    balance::Balancer,
    policy::{Bulkhead, CircuitBreaker, RetryBudget},
    telemetry::bulkhead::Gauges,
};
use weft_proxy_api as api;

use super::{Policies, Setup, setup::ENDPOINTS};

#[derive(Debug)]
pub struct Client {
    /// By backend; there from its first request on, as a sidecar has it.
    upstreams: Vec<Option<Upstream>>,
    pub slots: Option<Slots>,
}

/// What a sidecar knows of one backend.
#[derive(Debug)]
pub struct Upstream {
    pub balancer: Balancer,
    pub breaker: Arc<CircuitBreaker>,
    pub bulkhead: Option<Bulkhead>,
    pub retry_budget: RetryBudget,
}

/// The calls that an application can have under way at a time.
#[derive(Debug)]
pub struct Slots {
    free: usize,
    waiting: VecDeque<u32>,
}

impl Client {
    pub fn new(setup: &Setup) -> Self {
        let slots = setup.slots.map(|free| Slots { free, waiting: VecDeque::new() });
        Self { upstreams: setup.backends.iter().map(|_| None).collect(), slots }
    }

    pub fn upstream(&mut self, backend: usize, policies: &Policies, now: Instant) -> &mut Upstream {
        self.upstreams[backend].get_or_insert_with(|| Upstream::new(backend, policies, now))
    }

    /// The attempts that the balancers count as under way.
    pub fn in_flight(&self) -> u32 {
        let endpoints = self.upstreams.iter().flatten().map(|upstream| upstream.balancer.endpoints());
        endpoints.map(|all| all.iter().map(|endpoint| endpoint.in_flight()).sum::<u32>()).sum()
    }
}

impl Upstream {
    fn new(backend: usize, policies: &Policies, now: Instant) -> Self {
        let settings = &policies.backend;
        let balancer = Balancer::new(settings, "".into(), Default::default());
        let endpoints: Vec<api::Endpoint> = (backend * ENDPOINTS..(backend + 1) * ENDPOINTS).map(endpoint).collect();
        balancer.update(&endpoints, now);
        Self {
            balancer,
            breaker: Arc::new(CircuitBreaker::new(settings.circuit_breaker.clone())),
            bulkhead: Bulkhead::new(&settings.bulkhead, None, Gauges::default),
            retry_budget: RetryBudget::new(now),
        }
    }
}

/// The number of an endpoint is the port of its address.
fn endpoint(number: usize) -> api::Endpoint {
    api::Endpoint {
        id: number.to_string(),
        address: SocketAddr::from((Ipv4Addr::LOCALHOST, u16::try_from(number).unwrap())),
        identity: None,
        weight: 1,
        zone: String::new(),
        healthy: true,
    }
}

impl Slots {
    /// Whether the request has a place; if not, it waits for one.
    pub fn take(&mut self, request: u32) -> bool {
        if self.free == 0 {
            self.waiting.push_back(request);
            return false;
        }
        self.free -= 1;
        true
    }

    /// A place is free: the request that has it now.
    pub fn pass_on(&mut self) -> Option<u32> {
        let next = self.waiting.pop_front();
        if next.is_none() {
            self.free += 1;
        }
        next
    }
}

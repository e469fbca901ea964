//! Metrics of bulkheads, for the backends that have one.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    backend: String,
}

/// Of all backends.
#[derive(Debug, Default)]
pub struct Bulkheads {
    requests: Family<Labels, Gauge>,
    waiting: Family<Labels, Gauge>,
    limit: Family<Labels, Gauge>,
    refused: Family<Labels, Counter>,
}

/// The handles of one backend.
#[derive(Clone, Debug, Default)]
pub struct Gauges {
    requests: Gauge,
    waiting: Gauge,
    limit: Gauge,
    refused: Counter,
}

impl Bulkheads {
    #[rustfmt::skip] // a table
    pub fn register(&self, registry: &mut Registry) {
        registry.register("bulkhead_requests", "Requests under way to a backend with a bulkhead", self.requests.clone());
        registry.register("bulkhead_waiting", "Requests that wait for one of these to end", self.waiting.clone());
        registry.register("bulkhead_limit", "Requests that may be under way; an adaptive limit follows latency", self.limit.clone());
        registry.register("bulkhead_refused", "Requests refused because the bulkhead was full", self.refused.clone());
    }

    pub fn of(&self, backend: &str) -> Gauges {
        let labels = Labels { backend: backend.to_owned() };
        Gauges {
            requests: self.requests.get_or_create(&labels).clone(),
            waiting: self.waiting.get_or_create(&labels).clone(),
            limit: self.limit.get_or_create(&labels).clone(),
            refused: self.refused.get_or_create(&labels).clone(),
        }
    }

    /// Of requests that got no connection.
    pub fn refused(&self, backend: &str) -> Counter {
        self.refused.get_or_create(&Labels { backend: backend.to_owned() }).clone()
    }

    pub fn forget(&self, backend: &str) {
        let labels = Labels { backend: backend.to_owned() };
        for gauges in [&self.requests, &self.waiting, &self.limit] {
            gauges.remove(&labels);
        }
        self.refused.remove(&labels);
    }
}

impl Gauges {
    pub fn admitted(&self) {
        self.requests.inc();
    }

    pub fn ended(&self) {
        self.requests.dec();
    }

    pub fn waits(&self) {
        self.waiting.inc();
    }

    pub fn waits_no_more(&self) {
        self.waiting.dec();
    }

    pub fn limit(&self, limit: u32) {
        self.limit.set(limit.into());
    }

    pub fn refused(&self) {
        self.refused.inc();
    }
}

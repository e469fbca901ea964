//! What was done to requests on purpose, and what answered in a backend's place, counted.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Result {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct By {
    by: &'static str,
}

#[derive(Default)]
pub struct ShapingMetrics {
    faults: Family<Kind, Counter>,
    mirrored: Family<Result, Counter>,
    degraded: Family<By, Counter>,
    cached: Family<Result, Counter>,
}

impl ShapingMetrics {
    #[rustfmt::skip] // a table
    pub fn register(&self, registry: &mut Registry) {
        registry.register("faults", "Faults that a policy injected, by kind", self.faults.clone());
        registry.register("mirrored_requests", "Copies of requests, by what became of them", self.mirrored.clone());
        registry.register("degraded", "Answers in the place of a backend that was not to be had, by what answered", self.degraded.clone());
        registry.register("cache_requests", "Requests of rules with a cache, by what it did for them", self.cached.clone());
    }

    /// `delay` or `abort`.
    pub fn fault(&self, kind: &'static str) {
        self.faults.get_or_create(&Kind { kind }).inc();
    }

    /// `hit`; `miss`; `stale`, which stood in for a failure.
    pub fn cached(&self, result: &'static str) {
        self.cached.get_or_create(&Result { result }).inc();
    }

    /// `stored`, `fallback` or `fixed_response`.
    pub fn degraded(&self, by: &'static str) {
        self.degraded.get_or_create(&By { by }).inc();
    }

    /// `answered`, with whatever status; `failed`; `rejected` by the backend's circuit; `dropped`, since there are too many;
    /// `too_long`, a body; `incomplete`, the request itself; `unresolved`, the backend.
    pub fn mirrored(&self, result: &'static str) {
        self.mirrored.get_or_create(&Result { result }).inc();
    }
}

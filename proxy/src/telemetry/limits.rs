//! What rate limits did, by limit.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
};

use super::Metrics;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    limit: String,
}

pub struct LimitMetrics {
    refused: Family<Labels, Counter>,
    leased: Family<Labels, Gauge>,
}

impl LimitMetrics {
    pub fn new(metrics: &Metrics) -> Self {
        let (refused, leased) = (Family::default(), Family::default());
        metrics.add(|registry| {
            registry.register("rate_limited", "Requests that a rate limit refused", refused.clone());
            let help = "1 while a shared rate limit is enforced by a lease from the control plane, 0 while by itself";
            registry.register("rate_limit_leased", help, leased.clone());
        });
        Self { refused, leased }
    }

    /// Counts the requests that this limit refuses.
    pub fn refused(&self, limit: &str) -> Counter {
        self.refused.get_or_create(&Labels { limit: limit.to_owned() }).clone()
    }

    pub fn leased(&self, limit: &str, is_leased: bool) {
        self.leased.get_or_create(&Labels { limit: limit.to_owned() }).set(is_leased.into());
    }

    /// Forgets a limit that is not there any more.
    pub fn forget(&self, limit: &str) {
        let labels = Labels { limit: limit.to_owned() };
        self.refused.remove(&labels);
        self.leased.remove(&labels);
    }
}

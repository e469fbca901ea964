//! How queries were answered.

use prometheus_client::{metrics::counter::Counter, registry::Registry};

/// Each query counts once, by the answer that it got, and once more if it was beyond a limit.
#[derive(Clone, Debug, Default)]
pub struct DnsMetrics {
    /// By the mesh: addresses, or that there is nothing.
    pub mesh: Counter,
    /// By a name server.
    pub forwarded: Counter,
    /// By an earlier answer of a name server.
    pub cached: Counter,
    /// By one whose time had run out.
    pub stale: Counter,
    /// With SERVFAIL, or as the name servers refused.
    pub failed: Counter,
    /// Malformed, or nothing that is answered here.
    pub malformed: Counter,
    /// More at a time than are taken: datagrams and connections that were dropped, which have no answer, and questions
    /// that were not passed on.
    pub refused: Counter,
}

impl DnsMetrics {
    #[rustfmt::skip] // a table
    pub fn register(&self, registry: &mut Registry) {
        registry.register("dns_mesh", "DNS queries that the mesh answered", self.mesh.clone());
        registry.register("dns_forwarded", "DNS queries that a name server answered", self.forwarded.clone());
        registry.register("dns_cached", "DNS queries answered from the cache", self.cached.clone());
        registry.register("dns_stale", "DNS queries answered by what had run out, while no name server answered", self.stale.clone());
        registry.register("dns_failed", "DNS queries without an answer", self.failed.clone());
        registry.register("dns_malformed", "DNS messages that were refused", self.malformed.clone());
        registry.register("dns_refused", "DNS queries and connections beyond the limits", self.refused.clone());
    }
}

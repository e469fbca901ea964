//! Metrics in the Prometheus text format. Handles are taken when an object is made, so that a request only adds.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use http::StatusCode;
use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

use super::{ShapingMetrics, bulkhead::Bulkheads};
use crate::{
    error::{Kind, ProxyError},
    policy::retry::Reason,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    Inbound,
    Outbound,
}

impl Direction {
    pub fn as_str(self) -> &'static str {
        match self {
            Direction::Inbound => "inbound",
            Direction::Outbound => "outbound",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    direction: &'static str,
    /// The service port that answered.
    backend: String,
    /// `1xx` to `5xx`.
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BackendLabels {
    direction: &'static str,
    backend: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BytesLabels {
    direction: &'static str,
    backend: String,
    way: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    direction: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DirectionLabels {
    direction: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CircuitLabels {
    backend: String,
    /// Empty for the backend's own circuit.
    endpoint: String,
    to: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DryRunLabels {
    backend: String,
    /// Empty for the backend's own circuit.
    endpoint: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RetryLabels {
    backend: String,
    reason: &'static str,
}

pub struct Metrics {
    registry: Mutex<Registry>,
    requests: Family<RequestLabels, Counter>,
    duration: Family<BackendLabels, Histogram, fn() -> Histogram>,
    failures: Family<ReasonLabels, Counter>,
    connections: Family<DirectionLabels, Gauge>,
    carried: Family<BackendLabels, Counter>,
    carried_bytes: Family<BytesLabels, Counter>,
    handshakes_refused: Family<ReasonLabels, Counter>,
    connections_refused: Family<ReasonLabels, Counter>,
    circuits: Family<CircuitLabels, Counter>,
    panics: Family<BackendLabels, Counter>,
    would_reject: Family<DryRunLabels, Counter>,
    pub shaping: ShapingMetrics,
    pub bulkheads: Bulkheads,
    retries: Family<RetryLabels, Counter>,
    retry_budgets_exhausted: Family<BackendLabels, Counter>,
    pub malformed: Counter,
    pub access_log_dropped: Counter,
    pub svid_not_after: Gauge,
    pub revision: Gauge,
    pub discovery_connected: Gauge,
    pub rejected_resources: Counter,
}

/// The handles of one backend, or of the application behind the inbound side.
#[derive(Debug)]
pub struct RequestMetrics {
    by_class: [Counter; 5],
    duration: Histogram,
}

impl RequestMetrics {
    pub fn record(&self, status: StatusCode, duration: Duration) {
        if let Some(counter) = self.by_class.get(usize::from(status.as_u16() / 100).wrapping_sub(1)) {
            counter.inc();
        }
        self.duration.observe(duration.as_secs_f64());
    }
}

/// 0.5 ms to 16 s.
fn latency() -> Histogram {
    Histogram::new(exponential_buckets(0.0005, 2.0, 16))
}

impl Metrics {
    pub fn new() -> Self {
        let metrics = Self {
            registry: Mutex::new(Registry::with_prefix("weft")),
            requests: Family::default(),
            duration: Family::new_with_constructor(latency as fn() -> Histogram),
            failures: Family::default(),
            connections: Family::default(),
            carried: Family::default(),
            carried_bytes: Family::default(),
            handshakes_refused: Family::default(),
            connections_refused: Family::default(),
            circuits: Family::default(),
            panics: Family::default(),
            would_reject: Family::default(),
            shaping: ShapingMetrics::default(),
            bulkheads: Bulkheads::default(),
            retries: Family::default(),
            retry_budgets_exhausted: Family::default(),
            malformed: Counter::default(),
            access_log_dropped: Counter::default(),
            svid_not_after: Gauge::default(),
            revision: Gauge::default(),
            discovery_connected: Gauge::default(),
            rejected_resources: Counter::default(),
        };
        metrics.register();
        metrics
    }

    #[rustfmt::skip] // a table
    fn register(&self) {
        let mut registry = self.lock();
        registry.register("requests", "Requests by the backend that answered and the class of the status", self.requests.clone());
        registry.register_with_unit("request_duration", "From the request's head to the response's head", Unit::Seconds, self.duration.clone());
        registry.register("failures", "Answers that the sidecar made itself, by reason", self.failures.clone());
        registry.register("connections", "Open connections to the sidecar", self.connections.clone());
        registry.register("tcp_connections", "Connections carried as bytes, by the backend that they led to", self.carried.clone());
        registry.register("tcp_bytes", "Bytes of these connections, from the client (sent) and to it (received)", self.carried_bytes.clone());
        registry.register("tls_handshakes_refused", "TLS handshakes refused by this side or the other, by reason", self.handshakes_refused.clone());
        registry.register("connections_refused", "Connections ended because the other side broke the protocol, sent too much of it, or was too slow, by reason", self.connections_refused.clone());
        registry.register("circuit_transitions", "Transitions of circuit breakers", self.circuits.clone());
        registry.register("balancer_panics", "How often so few endpoints could be used that all were", self.panics.clone());
        registry.register("circuit_dry_run_rejections", "Requests that a circuit breaker in a dry run would have rejected", self.would_reject.clone());
        self.shaping.register(&mut registry);
        self.bulkheads.register(&mut registry);
        registry.register("retries", "Further attempts of requests, by what the attempt before had ended with", self.retries.clone());
        registry.register("retry_budget_exhausted", "Attempts that were not made because of the backend's retry budget", self.retry_budgets_exhausted.clone());
        registry.register("malformed_requests", "Requests refused because they were malformed", self.malformed.clone());
        registry.register("access_log_dropped", "Access log records dropped because the writer was behind", self.access_log_dropped.clone());
        registry.register("svid_not_after_timestamp", "End of the SVID's life, Unix seconds", self.svid_not_after.clone());
        registry.register("config_revision", "Revision of the configuration in use", self.revision.clone());
        registry.register("control_plane_connected", "1 while the discovery stream is open", self.discovery_connected.clone());
        registry.register("config_rejected", "Resources from the control plane that were refused", self.rejected_resources.clone());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub fn requests(&self, direction: Direction, backend: &str) -> Arc<RequestMetrics> {
        let direction = direction.as_str();
        let class = |status| {
            let labels = RequestLabels { direction, backend: backend.to_owned(), status };
            self.requests.get_or_create(&labels).clone()
        };
        let labels = BackendLabels { direction, backend: backend.to_owned() };
        Arc::new(RequestMetrics {
            by_class: [class("1xx"), class("2xx"), class("3xx"), class("4xx"), class("5xx")],
            duration: self.duration.get_or_create(&labels).clone(),
        })
    }

    /// Forgets a backend that nothing leads to any more, so that series do not pile up.
    pub fn forget(&self, direction: Direction, backend: &str) {
        let direction = direction.as_str();
        for status in ["1xx", "2xx", "3xx", "4xx", "5xx"] {
            self.requests.remove(&RequestLabels { direction, backend: backend.to_owned(), status });
        }
        self.duration.remove(&BackendLabels { direction, backend: backend.to_owned() });
        self.carried.remove(&BackendLabels { direction, backend: backend.to_owned() });
        self.bulkheads.forget(backend);
        self.panics.remove(&BackendLabels { direction, backend: backend.to_owned() });
        for way in ["sent", "received"] {
            self.carried_bytes.remove(&BytesLabels { direction, backend: backend.to_owned(), way });
        }
        for reason in Reason::ALL.map(Reason::label) {
            self.retries.remove(&RetryLabels { backend: backend.to_owned(), reason });
        }
        self.retry_budgets_exhausted.remove(&BackendLabels { direction, backend: backend.to_owned() });
    }

    /// Counts a connection that is carried as bytes; returns what counts its bytes, from the client and to it.
    pub fn carried(&self, direction: Direction, backend: &str) -> [Counter; 2] {
        let direction = direction.as_str();
        self.carried.get_or_create(&BackendLabels { direction, backend: backend.to_owned() }).inc();
        ["sent", "received"].map(|way| {
            let labels = BytesLabels { direction, backend: backend.to_owned(), way };
            self.carried_bytes.get_or_create(&labels).clone()
        })
    }

    pub fn failure(&self, direction: Direction, error: &ProxyError) {
        self.failure_of(direction, error.kind);
    }

    fn failure_of(&self, direction: Direction, kind: Kind) {
        let labels = ReasonLabels { direction: direction.as_str(), reason: kind.meaning().label };
        self.failures.get_or_create(&labels).inc();
    }

    pub fn handshake_refused(&self, direction: Direction, reason: &'static str) {
        self.handshakes_refused.get_or_create(&ReasonLabels { direction: direction.as_str(), reason }).inc();
    }

    /// A connection was ended for what the other side did, or did not do in time.
    pub fn connection_refused(&self, direction: Direction, reason: &'static str) {
        self.connections_refused.get_or_create(&ReasonLabels { direction: direction.as_str(), reason }).inc();
    }

    pub fn circuit(&self, backend: &str, endpoint: &str, to: &'static str) {
        let labels = CircuitLabels { backend: backend.to_owned(), endpoint: endpoint.to_owned(), to };
        self.circuits.get_or_create(&labels).inc();
    }

    /// Counts how often the backend's panic threshold is passed.
    pub fn panics(&self, backend: &str) -> Counter {
        let labels = BackendLabels { direction: Direction::Outbound.as_str(), backend: backend.to_owned() };
        self.panics.get_or_create(&labels).clone()
    }

    /// A request that the circuit would have rejected were it not a dry run.
    pub fn would_reject(&self, backend: &str, endpoint: &str) {
        let labels = DryRunLabels { backend: backend.to_owned(), endpoint: endpoint.to_owned() };
        self.would_reject.get_or_create(&labels).inc();
    }

    pub fn retry(&self, backend: &str, reason: Reason) {
        self.retries.get_or_create(&RetryLabels { backend: backend.to_owned(), reason: reason.label() }).inc();
    }

    pub fn retry_budget_exhausted(&self, backend: &str) {
        let direction = Direction::Outbound.as_str();
        self.retry_budgets_exhausted.get_or_create(&BackendLabels { direction, backend: backend.to_owned() }).inc();
    }

    /// A connection, counted as open until the guard is dropped; `None`: there are `limit` already, and this one is
    /// counted as refused.
    pub fn connection(&self, direction: Direction, limit: usize) -> Option<OpenConnection> {
        let gauge = self.connections.get_or_create(&DirectionLabels { direction: direction.as_str() }).clone();
        if usize::try_from(gauge.inc()).is_ok_and(|before| before >= limit) {
            gauge.dec();
            self.failure_of(direction, Kind::TooManyConnections);
            return None;
        }
        Some(OpenConnection(gauge))
    }

    /// Takes in the metrics of another part.
    pub fn add(&self, register: impl FnOnce(&mut Registry)) {
        register(&mut self.lock());
    }

    /// Everything, in the OpenMetrics text format.
    pub fn encode(&self) -> String {
        let mut out = String::new();
        // Writing to a string cannot fail.
        let _ = text::encode(&mut out, &self.lock());
        out
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

pub struct OpenConnection(Gauge);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

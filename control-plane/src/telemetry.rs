//! The control plane's logs and metrics.
//!
//! Handles are made once at the start and passed to who counts; `GET /metrics` encodes them. No label ever holds text
//! from outside, so that the number of series is fixed.

use std::io::IsTerminal;

use anyhow::Context;
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
use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;

/// Sends the logs to standard error; standard output carries the ready line only.
///
/// # Errors
/// `filter` is not a filter, or the process has its logs already.
pub fn start_logs(filter: &str, format: LogFormat) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(filter).with_context(|| format!("--log: {filter:?} is not a log filter"))?;
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Text => logs.try_init(),
        LogFormat::Json => logs.json().flatten_event(true).try_init(),
    }
    .map_err(|error| anyhow::anyhow!("cannot start the logs: {error}"))
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct Reason {
    pub reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct HandshakeFailure {
    pub listener: &'static str,
    pub reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct ResourceKind {
    pub kind: &'static str,
}

pub struct Metrics {
    registry: Registry,
    pub revision: Gauge,
    pub workloads: Gauge,
    pub discovery_streams: Gauge,
    pub resources_sent: Family<ResourceKind, Counter>,
    pub resources_rejected: Family<ResourceKind, Counter>,
    pub compile_seconds: Histogram,
    pub certificates_issued: Counter,
    pub certificates_refused: Family<Reason, Counter>,
    pub registrations_refused: Counter,
    pub handshakes_failed: Family<HandshakeFailure, Counter>,
    pub admin_unauthorized: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("weft_control_plane"),
            revision: Gauge::default(),
            workloads: Gauge::default(),
            discovery_streams: Gauge::default(),
            resources_sent: Family::default(),
            resources_rejected: Family::default(),
            compile_seconds: Histogram::new(exponential_buckets(0.000_1, 4.0, 9)),
            certificates_issued: Counter::default(),
            certificates_refused: Family::default(),
            registrations_refused: Counter::default(),
            handshakes_failed: Family::default(),
            admin_unauthorized: Counter::default(),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("revision", "Current revision of the resources", self.revision.clone());
        registry.register("workloads", "Registered workloads", self.workloads.clone());
        registry.register("discovery_streams", "Open discovery streams", self.discovery_streams.clone());
        registry.register("resources_sent", "Resources sent to sidecars", self.resources_sent.clone());
        registry.register("resources_rejected", "Resources that sidecars refused", self.resources_rejected.clone());
        registry.register_with_unit(
            "snapshot_compile",
            "Time to compile a snapshot",
            Unit::Seconds,
            self.compile_seconds.clone(),
        );
        registry.register("certificates_issued", "SVIDs signed", self.certificates_issued.clone());
        registry.register(
            "certificates_refused",
            "Requests for an SVID that were refused",
            self.certificates_refused.clone(),
        );
        registry.register(
            "registrations_refused",
            "Registrations of workloads that were refused",
            self.registrations_refused.clone(),
        );
        registry.register("handshakes_failed", "TLS handshakes that failed", self.handshakes_failed.clone());
        registry.register(
            "admin_unauthorized",
            "Requests to the admin API without valid credentials",
            self.admin_unauthorized.clone(),
        );
    }

    /// In the OpenMetrics text format.
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_encoded_under_their_names() {
        let metrics = Metrics::default();
        metrics.revision.set(7);
        metrics.certificates_refused.get_or_create(&Reason { reason: "expired" }).inc();
        let text = metrics.encode().unwrap();
        assert!(text.contains("weft_control_plane_revision 7"), "{text}");
        assert!(text.contains("weft_control_plane_certificates_refused_total{reason=\"expired\"} 1"), "{text}");
    }
}

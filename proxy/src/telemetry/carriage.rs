//! One connection that is carried as bytes, as metrics and the access log see it.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use prometheus_client::metrics::counter::Counter;

use super::{
    AccessLog, Metrics,
    access_log::{ConnectionRecord, Line},
    metrics::Direction,
};
use crate::error::ProxyError;

/// How many bytes went each way: in all, and added to a metric as they go.
#[derive(Debug, Default)]
pub struct Moved {
    pub sent: Way,
    pub received: Way,
}

#[derive(Debug, Default)]
pub struct Way {
    total: u64,
    counter: Counter,
}

impl Way {
    pub fn add(&mut self, bytes: usize) {
        self.total += bytes as u64;
        self.counter.inc_by(bytes as u64);
    }

    pub fn total(&self) -> u64 {
        self.total
    }
}

/// Logged when it is dropped, however it ended. Bytes are counted as they go.
pub struct Carriage {
    direction: Direction,
    access_log: Arc<AccessLog>,
    started: Instant,
    /// Where the client wants to go, as it says it.
    destination: Arc<str>,
    /// The service port that is reached, or what stands in its place.
    backend: Arc<str>,
    endpoint: Option<SocketAddr>,
    peer: Option<String>,
    error: Option<String>,
    pub moved: Moved,
}

impl Carriage {
    pub fn begin(
        direction: Direction,
        destination: Arc<str>,
        backend: Arc<str>,
        metrics: &Metrics,
        access_log: &Arc<AccessLog>,
    ) -> Self {
        let [sent, received] = metrics.carried(direction, &backend).map(|counter| Way { total: 0, counter });
        Self {
            direction,
            access_log: access_log.clone(),
            started: Instant::now(),
            destination,
            backend,
            endpoint: None,
            peer: None,
            error: None,
            moved: Moved { sent, received },
        }
    }

    /// Who is reached, and who it proved to be.
    pub fn with(&mut self, endpoint: SocketAddr, peer: Option<&weft_certs::SpiffeId>) {
        self.endpoint = Some(endpoint);
        self.peer = peer.map(ToString::to_string);
    }

    /// It broke.
    pub fn broke(&mut self, error: String) {
        self.error = Some(error);
    }

    fn record(&mut self) -> ConnectionRecord {
        ConnectionRecord {
            duration_ms: self.started.elapsed().as_micros() as f64 / 1000.0,
            sent: self.moved.sent.total(),
            received: self.moved.received.total(),
            backend: Some(self.backend.to_string()),
            endpoint: self.endpoint.map(|endpoint| endpoint.to_string()),
            peer: self.peer.take(),
            error: self.error.take(),
            ..ConnectionRecord::new(self.direction, &self.destination)
        }
    }
}

/// Counts and logs a connection that is not carried.
pub fn refused(direction: Direction, destination: &str, error: &ProxyError, metrics: &Metrics, access_log: &AccessLog) {
    metrics.failure(direction, error);
    if access_log.enabled() {
        let error = Some(format!("{}: {error}", error.kind.meaning().label));
        let record = ConnectionRecord { error, ..ConnectionRecord::new(direction, destination) };
        access_log.write(Line::Connection(record));
    }
}

impl Drop for Carriage {
    fn drop(&mut self) {
        if self.access_log.enabled() {
            let record = self.record();
            self.access_log.write(Line::Connection(record));
        }
    }
}

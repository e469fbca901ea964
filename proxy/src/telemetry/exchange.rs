//! One request and its answer, as metrics and the access log see them.
//!
//! With the access log off an exchange is a start time and a few handles: nothing is formatted or allocated.

use std::{sync::Arc, time::Instant};

use http::{HeaderMap, StatusCode, Version, header, request::Parts, uri::Authority};

use super::{
    AccessLog, Metrics,
    access_log::{Line, Record, now},
    metrics::{Direction, RequestMetrics},
};
use crate::error::ProxyError;

pub struct Exchange {
    direction: Direction,
    started: Instant,
    answered: Option<Instant>,
    /// A gRPC call is answered with a gRPC status.
    pub is_grpc: bool,
    /// Whose metrics count the answer.
    requests: Option<Arc<RequestMetrics>>,
    /// Present only while the access log is on.
    record: Option<Box<Record>>,
}

impl Exchange {
    pub fn begin(direction: Direction, parts: &Parts, access_log: &AccessLog) -> Self {
        let record = access_log.enabled().then(|| Box::new(record(direction, parts)));
        Self {
            direction,
            started: Instant::now(),
            answered: None,
            is_grpc: is_grpc(&parts.headers),
            requests: None,
            record,
        }
    }

    /// When the request came: the clock is read once for all that begins with it.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// When the head of the answer came, where that is known already.
    pub fn answered_at(&mut self, now: Instant) {
        self.answered = Some(now);
    }

    /// Who answers, or is to answer.
    pub fn answered_by(&mut self, backend: &str, requests: &Arc<RequestMetrics>) {
        self.requests = Some(requests.clone());
        self.note(|record| record.backend = Some(backend.to_owned()));
    }

    /// Something else is given in the place of what the backend has answered, or was taken to have answered.
    pub fn replaced(&mut self, status: StatusCode) {
        if let Some(requests) = self.requests.take() {
            requests.record(status, self.answered.unwrap_or_else(Instant::now).duration_since(self.started));
        }
    }

    /// Adds to the access log's record, where there is one.
    pub fn note(&mut self, add: impl FnOnce(&mut Record)) {
        if let Some(record) = &mut self.record {
            add(record);
        }
    }

    pub fn failed(&mut self, error: &ProxyError, metrics: &Metrics) {
        metrics.failure(self.direction, error);
        self.note(|record| record.error = Some(format!("{}: {error}", error.kind.meaning().label)));
    }

    /// The head of the answer is there.
    pub fn finish(self, status: StatusCode, access_log: &AccessLog) {
        let duration = self.answered.unwrap_or_else(Instant::now).duration_since(self.started);
        if let Some(requests) = self.requests {
            requests.record(status, duration);
        }
        if let Some(mut record) = self.record {
            record.status = status.as_u16();
            record.duration_ms = duration.as_micros() as f64 / 1000.0;
            access_log.write(Line::Request(*record));
        }
    }
}

/// Whether the request is a gRPC call.
pub fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

fn record(direction: Direction, parts: &Parts) -> Record {
    let text = |name| {
        let value = parts.headers.get(name).map(|value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()));
        value.map(String::from).unwrap_or_default()
    };
    // Without a user's name and password.
    let host = |authority: &Authority| authority.as_str().rsplit('@').next().unwrap_or_default().to_owned();
    let authority = parts.uri.authority().map_or_else(|| text(header::HOST.as_str()), host);
    Record {
        time: now(),
        direction: direction.as_str(),
        method: parts.method.to_string(),
        authority,
        path: parts.uri.path().to_owned(),
        protocol: if parts.version == Version::HTTP_2 { "HTTP/2" } else { "HTTP/1.1" },
        status: 0,
        duration_ms: 0.0,
        request_id: text("x-request-id"),
        backend: None,
        endpoint: None,
        attempts: None,
        peer: None,
        error: None,
    }
}

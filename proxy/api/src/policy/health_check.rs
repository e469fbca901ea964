//! How a sidecar knows that its application can do its work.

use std::time::Duration;

use http::StatusCode;

use super::shaping::status;
use crate::{
    proto::api::v1 as pb,
    wire::{WireError, each, millis, non_empty, port, required, to_millis},
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// On which the application listens.
    pub port: u16,
    /// The port of the workload, as others know it, that takes part in balancing only while the check succeeds. `None`: all.
    pub traffic_port: Option<u16>,
    pub kind: CheckKind,
    pub interval: Duration,
    pub timeout: Duration,
    /// So many successes in a row make it healthy; at least 1.
    pub healthy_threshold: u32,
    /// So many failures in a row make it unhealthy; at least 1.
    pub unhealthy_threshold: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckKind {
    /// It accepts a connection.
    Tcp,
    Http {
        path: String,
        host: Option<String>,
        /// None: 200 to 299.
        statuses: Vec<StatusCode>,
    },
    /// It serves, by `grpc.health.v1.Health/Check`. The service may be empty: the server as a whole.
    Grpc { service: String },
}

impl From<&HealthCheck> for pb::HealthCheck {
    fn from(value: &HealthCheck) -> Self {
        use pb::health_check::Kind;
        let kind = match &value.kind {
            CheckKind::Tcp => Kind::Tcp(pb::TcpCheck {}),
            CheckKind::Http { path, host, statuses } => Kind::Http(pb::HttpCheck {
                path: path.clone(),
                host: host.clone().unwrap_or_default(),
                statuses: statuses.iter().map(|status| status.as_u16().into()).collect(),
            }),
            CheckKind::Grpc { service } => Kind::Grpc(pb::GrpcCheck { service: service.clone() }),
        };
        Self {
            port: value.port.into(),
            traffic_port: value.traffic_port.unwrap_or(0).into(),
            interval_ms: to_millis(Some(value.interval)),
            timeout_ms: to_millis(Some(value.timeout)),
            healthy_threshold: value.healthy_threshold,
            unhealthy_threshold: value.unhealthy_threshold,
            kind: Some(kind),
        }
    }
}

impl TryFrom<pb::HealthCheck> for HealthCheck {
    type Error = WireError;

    fn try_from(wire: pb::HealthCheck) -> Result<Self, WireError> {
        use pb::health_check::Kind;
        let positive = |value: u64, field| millis(value).ok_or_else(|| WireError::new(field, "must be more than 0"));
        Ok(Self {
            port: port(wire.port, "port")?,
            traffic_port: (wire.traffic_port > 0).then(|| port(wire.traffic_port, "traffic_port")).transpose()?,
            kind: match required(wire.kind, "kind")? {
                Kind::Tcp(_) => CheckKind::Tcp,
                Kind::Http(http) => CheckKind::Http {
                    path: http.path,
                    host: non_empty(http.host),
                    statuses: each(http.statuses, "http.statuses", status)?,
                },
                Kind::Grpc(grpc) => CheckKind::Grpc { service: grpc.service },
            },
            interval: positive(wire.interval_ms, "interval_ms")?,
            timeout: positive(wire.timeout_ms, "timeout_ms")?,
            healthy_threshold: wire.healthy_threshold.max(1),
            unhealthy_threshold: wire.unhealthy_threshold.max(1),
        })
    }
}

//! What one workload enforces on the traffic to its application.

use std::time::Duration;

use crate::{
    proto::api::v1 as pb,
    wire::{WireError, millis, to_millis},
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inbound {
    /// The workload's id: the resource's name.
    pub workload: String,
    /// One JSON line for each request, in both directions.
    pub access_log: bool,
    /// How long requests in flight may take to end when the sidecar stops.
    pub drain_timeout: Duration,
}

impl Inbound {
    pub const DEFAULT_DRAIN_TIMEOUT: Duration = Duration::from_secs(30);
}

impl From<&Inbound> for pb::Inbound {
    fn from(value: &Inbound) -> Self {
        Self {
            workload: value.workload.clone(),
            access_log: value.access_log,
            drain_timeout_ms: to_millis(Some(value.drain_timeout)),
        }
    }
}

impl TryFrom<pb::Inbound> for Inbound {
    type Error = WireError;

    fn try_from(wire: pb::Inbound) -> Result<Self, WireError> {
        if wire.workload.is_empty() {
            return Err(WireError::new("workload", "is missing"));
        }
        Ok(Self {
            workload: wire.workload,
            access_log: wire.access_log,
            drain_timeout: millis(wire.drain_timeout_ms).unwrap_or(Self::DEFAULT_DRAIN_TIMEOUT),
        })
    }
}

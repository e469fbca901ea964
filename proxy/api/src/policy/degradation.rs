//! What is answered when the backend is not to be had, or need not be asked.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};

use super::shaping::status;
use crate::{
    proto::api::v1 as pb,
    route::{header, to_header},
    wire::{WireError, each, millis, to_millis},
};

/// Answers that are kept in the sidecar (RFC 9111).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    /// Fresh ones are served without asking the backend; otherwise they are only for when it fails.
    pub serve_fresh: bool,
    /// How long after its freshness an answer may stand in for a failure (RFC 5861, section 4). `None`: only as long as
    /// the answer itself allows.
    pub stale_if_error: Option<Duration>,
    /// All entries together.
    pub max_bytes: u64,
    pub max_entry_bytes: u64,
}

/// An answer that is written down in a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FixedResponse {
    pub status: StatusCode,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub body: Bytes,
}

impl Cache {
    pub const DEFAULT_MAX_BYTES: u64 = 16 << 20;
    pub const DEFAULT_MAX_ENTRY_BYTES: u64 = 1 << 20;
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            serve_fresh: false,
            stale_if_error: None,
            max_bytes: Self::DEFAULT_MAX_BYTES,
            max_entry_bytes: Self::DEFAULT_MAX_ENTRY_BYTES,
        }
    }
}

impl From<&Cache> for pb::Cache {
    fn from(value: &Cache) -> Self {
        Self {
            serve_fresh: value.serve_fresh,
            stale_if_error_ms: to_millis(value.stale_if_error),
            max_bytes: value.max_bytes,
            max_entry_bytes: value.max_entry_bytes,
        }
    }
}

impl From<pb::Cache> for Cache {
    fn from(wire: pb::Cache) -> Self {
        Self {
            serve_fresh: wire.serve_fresh,
            stale_if_error: millis(wire.stale_if_error_ms),
            max_bytes: wire.max_bytes,
            max_entry_bytes: wire.max_entry_bytes,
        }
    }
}

impl From<&FixedResponse> for pb::FixedResponse {
    fn from(value: &FixedResponse) -> Self {
        Self {
            status: value.status.as_u16().into(),
            headers: value.headers.iter().map(to_header).collect(),
            body: value.body.to_vec(),
        }
    }
}

impl TryFrom<pb::FixedResponse> for FixedResponse {
    type Error = WireError;

    fn try_from(wire: pb::FixedResponse) -> Result<Self, WireError> {
        Ok(Self {
            status: status(wire.status)?,
            headers: each(wire.headers, "headers", header)?,
            body: wire.body.into(),
        })
    }
}

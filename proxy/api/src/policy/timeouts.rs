//! Limits on the time of a request.

use std::time::Duration;

use crate::{
    proto::api::v1 as pb,
    wire::{millis, to_millis},
};

/// `None` is no limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From the request's head to the response's head, all attempts together.
    pub request: Option<Duration>,
    /// `request` is the built-in one. It is not for gRPC calls, which may stream for hours and bring a limit of their own.
    pub request_is_default: bool,
    /// One attempt toward a backend, to the response's head.
    pub backend_request: Option<Duration>,
    /// From a request that was sent whole to the response's head, in each attempt.
    pub response_header: Option<Duration>,
    /// Between two pieces of a body, in either direction.
    pub idle: Option<Duration>,
    /// From the request's head to the response's last byte.
    pub total: Option<Duration>,
}

impl Timeouts {
    pub const DEFAULT_REQUEST: Duration = Duration::from_secs(30);

    /// Nothing is limited.
    pub const NONE: Self = Self {
        request: None,
        request_is_default: false,
        backend_request: None,
        response_header: None,
        idle: None,
        total: None,
    };
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { request: Some(Self::DEFAULT_REQUEST), request_is_default: true, ..Self::NONE }
    }
}

impl From<&Timeouts> for pb::Timeouts {
    fn from(value: &Timeouts) -> Self {
        Self {
            request_ms: to_millis(value.request),
            request_is_default: value.request_is_default,
            backend_request_ms: to_millis(value.backend_request),
            response_header_ms: to_millis(value.response_header),
            idle_ms: to_millis(value.idle),
            total_ms: to_millis(value.total),
        }
    }
}

impl From<pb::Timeouts> for Timeouts {
    fn from(wire: pb::Timeouts) -> Self {
        Self {
            request: millis(wire.request_ms),
            request_is_default: wire.request_is_default,
            backend_request: millis(wire.backend_request_ms),
            response_header: millis(wire.response_header_ms),
            idle: millis(wire.idle_ms),
            total: millis(wire.total_ms),
        }
    }
}

//! When a request is sent again.

use std::time::Duration;

use http::StatusCode;

use super::shaping::status;
use crate::{
    proto::api::v1 as pb,
    wire::{WireError, each, millis, to_millis},
};

/// Which failed attempts are followed by another one.
///
/// What provably reached no application is always sent again, within `attempts`. Everything else is sent again only
/// where the request may be done twice: its method is idempotent (RFC 9110, section 9.2.2), or it has an
/// `Idempotency-Key`, or `any_method` says so, or, for a gRPC call, `grpc_codes` names the code that it was answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// After the first; 0: none.
    pub attempts: u32,
    pub statuses: Vec<StatusCode>,
    /// To name a code is to say that the calls may be repeated.
    pub grpc_codes: Vec<u32>,
    /// A connection that ended without an answer.
    pub on_reset: bool,
    /// An attempt that reached its own limit ([`Timeouts::backend_request`], [`Timeouts::response_header`]).
    ///
    /// [`Timeouts::backend_request`]: super::Timeouts::backend_request
    /// [`Timeouts::response_header`]: super::Timeouts::response_header
    pub on_timeout: bool,
    pub backoff: Backoff,
    pub any_method: bool,
    /// Of a request body that is kept to be sent again; a longer one is sent once.
    pub max_body_bytes: u64,
    /// A longer `Retry-After` is passed on, not waited for.
    pub max_retry_after: Duration,
    pub hedge: Option<Hedge>,
}

/// The wait before the next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backoff {
    None,
    Fixed(Duration),
    /// Random, from 0 to `base`, doubled with each attempt, up to `max`.
    Exponential {
        base: Duration,
        max: Duration,
    },
}

/// Further attempts of an idempotent request before the first has answered; the first answer is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hedge {
    pub after: Duration,
    /// Beside the first; at least 1. They count as retries.
    pub attempts: u32,
}

/// What retries may add to the requests of a backend, as one sidecar sends them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RetryBudget {
    /// Of the requests of the last ten seconds.
    pub percent: u32,
    /// What is allowed in any case, so that a backend with few requests has retries at all.
    pub min_per_second: u32,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 2,
            statuses: vec![
                StatusCode::TOO_MANY_REQUESTS,
                StatusCode::INTERNAL_SERVER_ERROR,
                StatusCode::BAD_GATEWAY,
                StatusCode::SERVICE_UNAVAILABLE,
                StatusCode::GATEWAY_TIMEOUT,
            ],
            grpc_codes: Vec::new(),
            on_reset: true,
            on_timeout: true,
            backoff: Backoff::Exponential { base: Duration::from_millis(25), max: Duration::from_millis(250) },
            any_method: false,
            max_body_bytes: 64 << 10,
            max_retry_after: Duration::from_secs(1),
            hedge: None,
        }
    }
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self { percent: 20, min_per_second: 3 }
    }
}

impl From<&Retry> for pb::Retry {
    fn from(value: &Retry) -> Self {
        let (base, max) = match value.backoff {
            Backoff::None => (Duration::ZERO, Duration::ZERO),
            Backoff::Fixed(wait) => (wait, wait),
            Backoff::Exponential { base, max } => (base, max),
        };
        Self {
            attempts: value.attempts,
            statuses: value.statuses.iter().map(|status| status.as_u16().into()).collect(),
            grpc_codes: value.grpc_codes.clone(),
            on_reset: value.on_reset,
            on_timeout: value.on_timeout,
            backoff_base_ms: to_millis(Some(base)),
            backoff_max_ms: to_millis(Some(max)),
            any_method: value.any_method,
            max_body_bytes: value.max_body_bytes,
            max_retry_after_ms: to_millis(Some(value.max_retry_after)),
            hedge: value
                .hedge
                .map(|hedge| pb::Hedge { after_ms: to_millis(Some(hedge.after)), attempts: hedge.attempts }),
        }
    }
}

impl TryFrom<pb::Retry> for Retry {
    type Error = WireError;

    fn try_from(wire: pb::Retry) -> Result<Self, WireError> {
        Ok(Self {
            attempts: wire.attempts,
            statuses: each(wire.statuses, "statuses", status)?,
            grpc_codes: wire.grpc_codes,
            on_reset: wire.on_reset,
            on_timeout: wire.on_timeout,
            backoff: match (millis(wire.backoff_base_ms), millis(wire.backoff_max_ms)) {
                (None, _) => Backoff::None,
                (Some(base), Some(max)) if base < max => Backoff::Exponential { base, max },
                (Some(wait), _) => Backoff::Fixed(wait),
            },
            any_method: wire.any_method,
            max_body_bytes: wire.max_body_bytes,
            max_retry_after: Duration::from_millis(wire.max_retry_after_ms),
            hedge: wire
                .hedge
                .and_then(|hedge| Some(Hedge { after: millis(hedge.after_ms)?, attempts: hedge.attempts.max(1) })),
        })
    }
}

impl From<RetryBudget> for pb::RetryBudget {
    fn from(value: RetryBudget) -> Self {
        Self { percent: value.percent, min_per_second: value.min_per_second }
    }
}

impl From<pb::RetryBudget> for RetryBudget {
    fn from(wire: pb::RetryBudget) -> Self {
        Self { percent: wire.percent, min_per_second: wire.min_per_second }
    }
}

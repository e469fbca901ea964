//! Rate limits on the way in: whether a request may go to the application, and what its caller is told of its quota.
//!
//! The fields `RateLimit` and `RateLimit-Policy` are those of draft-ietf-httpapi-ratelimit-headers-10: of the limit that
//! refused, or of the one that will be the next to refuse. A gRPC call gets them as metadata.

use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue, request::Parts};

use super::Connection;
use crate::{
    error::{Kind, ProxyError},
    mesh::limits::{Asked, Decision},
};

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// The two fields. A proxy adds to what the application says of its own quota: both are lists.
pub(super) struct Quota {
    limit: HeaderValue,
    policy: HeaderValue,
}

impl Quota {
    pub fn write(self, headers: &mut HeaderMap) {
        headers.append(RATE_LIMIT, self.limit);
        headers.append(RATE_LIMIT_POLICY, self.policy);
    }
}

/// Without limits there is nothing to do: no clock is read, nothing allocated or locked.
pub(super) fn admit(connection: &Connection, parts: &Parts, now: Instant) -> (Result<(), ProxyError>, Option<Quota>) {
    let limits = connection.cx.mesh.limits();
    let Some(limits) = limits.as_ref() else { return (Ok(()), None) };
    let asked = Asked { port: connection.port, caller: connection.peer.as_ref(), parts, now };
    match limits.decide(asked) {
        None => (Ok(()), None),
        Some(decision) => {
            let quota = quota(&decision);
            (decision.taken.map(drop).map_err(|wait| refused(&decision, wait)), quota)
        }
    }
}

fn refused(decision: &Decision<'_>, wait: Duration) -> ProxyError {
    let limit = &decision.limiter.limit;
    let (name, requests, per) = (&limit.name, limit.requests, limit.per);
    let details = format_args!("the rate limit {name} lets {requests} requests through in {per:?}, and more came");
    let retry_after = Some(Duration::from_secs(whole_seconds(wait)));
    ProxyError { retry_after, ..ProxyError::new(Kind::RateLimited, details) }
}

/// `t` is when there is more: the next request after a refusal, else as many as there can be.
fn quota(decision: &Decision<'_>) -> Option<Quota> {
    let limit = &decision.limiter.limit;
    let (left, wait) = decision.taken.map_or_else(|wait| (0, wait), |left| (left.requests, left.full_in));
    let (name, wait) = (&limit.name, whole_seconds(wait));
    let (requests, window) = (limit.requests, whole_seconds(limit.per));
    Some(Quota {
        limit: HeaderValue::try_from(format!("\"{name}\";r={left};t={wait}")).ok()?,
        policy: HeaderValue::try_from(format!("\"{name}\";q={requests};w={window}")).ok()?,
    })
}

/// Rounded up: who waits so long has waited long enough.
fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_rounded_up() {
        for (ms, seconds) in [(0, 0), (1, 1), (999, 1), (1000, 1), (1001, 2), (60_000, 60)] {
            assert_eq!(whole_seconds(Duration::from_millis(ms)), seconds, "{ms}");
        }
    }
}

//! One attempt: an endpoint, the request on its way to it, and how that ended.

use std::{pin::pin, sync::Arc, time::Instant};

use http::Response;

use super::{Call, deadline::TimedOut, request::Outgoing};
use crate::{
    balance::{Affinity, Endpoint, Picked},
    error::{Kind, ProxyError},
    http::{
        body::Body,
        client::{self, BROKEN_REQUEST},
        headers::Mark,
        pool::Unanswered,
    },
    mesh::Backend,
    policy::{
        Cause, Outcome,
        outcome::{GrpcStatus, classify},
        retry::Ended,
    },
};

/// What an attempt brought.
pub(super) type Attempted = Result<(Picked, Response<Body>), Failed>;

/// An attempt that brought no response.
pub(super) struct Failed {
    pub(super) error: ProxyError,
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) how: How,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// Not a byte of the request was sent: it is as it was.
    Untouched,
    /// The other sidecar says that its application has not got it.
    Unprocessed,
    Reset,
    /// It reached a limit of its own.
    Timeout,
    Otherwise,
}

/// The endpoint of one attempt.
pub(in super::super) fn pick(
    backend: &Backend,
    avoid: Option<&Endpoint>,
    affinity: Affinity,
    now: Instant,
) -> Result<Picked, ProxyError> {
    let picked = backend.balancer.pick(now, &mut rand::rng(), avoid, affinity);
    let picked = picked.map_err(|e| ProxyError::new(Kind::NoEndpoints, format_args!("{}: {e}", backend.label)))?;
    backend.picked(&picked);
    Ok(picked)
}

/// Tells the endpoint how an attempt ended that is over.
pub(in super::super) fn end(backend: &Backend, picked: Picked, outcome: Outcome) {
    let endpoint = picked.endpoint().clone();
    let transition = picked.finish(outcome, Instant::now(), rand::random());
    backend.report(Some(&endpoint.id), transition);
}

/// How an attempt ended that has reached no application. Where there is no other endpoint, the same one is tried again if
/// it may be there a moment later.
pub(in super::super) fn unsent(backend: &Backend, error: &ProxyError) -> Ended<'static> {
    let elsewhere = backend.balancer.endpoints().len() > 1;
    let may_come_back = matches!(error.kind, Kind::ConnectRefused | Kind::ConnectFailed | Kind::Reset);
    if elsewhere || may_come_back { Ended::Unsent { elsewhere } } else { Ended::Otherwise }
}

/// How the policy for retries sees it.
pub(super) fn ended<'a>(backend: &Backend, attempted: &'a Attempted) -> Ended<'a> {
    match attempted {
        Ok((_, response)) => Ended::Answered(response.status(), response.headers()),
        Err(failed) => match failed.how {
            How::Untouched | How::Unprocessed => unsent(backend, &failed.error),
            How::Reset => Ended::Reset,
            How::Timeout => Ended::Timeout,
            How::Otherwise => Ended::Otherwise,
        },
    }
}

/// Lets go of what an attempt brought, after which another is made. Returns its endpoint.
pub(super) fn discard(backend: &Backend, attempted: Attempted) -> Arc<Endpoint> {
    match attempted {
        Ok((picked, response)) => {
            let endpoint = picked.endpoint().clone();
            end(backend, picked, classify(response.status(), GrpcStatus::of(response.headers())));
            endpoint
        }
        Err(failed) => failed.endpoint,
    }
}

impl Call<'_> {
    pub(super) async fn attempt(&self, picked: Picked, outgoing: &mut Outgoing) -> Attempted {
        let endpoint = picked.endpoint().clone();
        let sent = {
            let connecting = self.backend.connecting();
            let (request, keep) = (&mut outgoing.request, outgoing.keep);
            // Pinned here: a future that is passed by value is copied at each step.
            let sending = pin!(self.cx.pool.send(&endpoint.target, self.hop, connecting, request, keep));
            self.deadline.bound(self.backend, &outgoing.sent, sending).await
        };
        let is_sent_whole = outgoing.sent.is_whole();
        let (how, error) = match sent {
            Ok(Ok(response)) => {
                match mark(&response, outgoing.is_grpc).filter(|_| endpoint.target.identity.is_some()) {
                    None => return Ok((picked, response)),
                    Some(mark) => {
                        let how = if mark == Mark::Unprocessed { How::Unprocessed } else { How::Reset };
                        (how, client::marked(&endpoint.target, mark))
                    }
                }
            }
            // No endpoint can be reached while there is no room for connections.
            Ok(Err(Unanswered { error, .. })) if error.kind == Kind::BulkheadFull => (How::Otherwise, error),
            Ok(Err(Unanswered { error, untouched: true, .. })) => (How::Untouched, error),
            Ok(Err(_)) if outgoing.sent.is_broken() => {
                // HTTP/2 does not say which side broke a stream off; the body does.
                let broken = || ProxyError::new(Kind::BadRequest, BROKEN_REQUEST);
                (How::Otherwise, self.deadline.stopped_upload().unwrap_or_else(broken))
            }
            Ok(Err(Unanswered { error, .. })) => {
                (if error.kind == Kind::Reset { How::Reset } else { How::Otherwise }, error)
            }
            Err(TimedOut { error, .. }) if !is_sent_whole => {
                // The backend cannot be blamed for a request that it has not got.
                let details = format!("{}, and the request was not complete by then", error.details);
                (How::Otherwise, ProxyError::new(Kind::UploadTimeout, details))
            }
            Err(TimedOut { level, error }) => {
                (if level.is_of_attempt() { How::Timeout } else { How::Otherwise }, error)
            }
        };
        end(self.backend, picked, outcome(&error));
        Err(Failed { error, endpoint, how })
    }
}

/// What the other sidecar says instead of its application; a gRPC call is told so in a head with a status of gRPC.
fn mark(response: &Response<Body>, is_grpc: bool) -> Option<Mark> {
    let (status, headers) = (response.status(), response.headers());
    (status.is_server_error() || is_grpc && headers.contains_key("grpc-status")).then(|| Mark::of(headers)).flatten()
}

/// How a failed attempt counts.
pub(in super::super) fn outcome(error: &ProxyError) -> Outcome {
    match error.kind {
        Kind::ConnectRefused => Outcome::Failure(Cause::ConnectRefused),
        Kind::ConnectTimeout => Outcome::Failure(Cause::ConnectTimeout),
        Kind::ConnectFailed => Outcome::Failure(Cause::ConnectFailed),
        Kind::PeerNotTrusted => Outcome::Failure(Cause::Tls),
        Kind::Reset | Kind::UpgradeFailed => Outcome::Failure(Cause::Reset),
        Kind::ResponseTimeout => Outcome::Failure(Cause::Timeout),
        // The caller's own doing, or nothing was sent.
        Kind::UploadTimeout
        | Kind::BadRequest
        | Kind::NoAuthority
        | Kind::UnknownService
        | Kind::NoConfiguration
        | Kind::NoRoute
        | Kind::UnresolvedBackend
        | Kind::NoEndpoints
        | Kind::CircuitOpen
        | Kind::BulkheadFull
        | Kind::Unsupported
        | Kind::NotHttp
        | Kind::EgressDenied
        | Kind::PlaintextRefused
        | Kind::Loop
        | Kind::TooManyConnections
        | Kind::RateLimited => Outcome::Cancelled,
    }
}

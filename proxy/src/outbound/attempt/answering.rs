//! An answer on its way to the caller: what it holds, and how it is judged in the end.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::{HeaderMap, Response};
use http_body::Body as _;

use super::request::Sent;
use crate::{
    balance::Picked,
    http::{
        body::{Body, End, Hold},
        limited::{Limited, Limits, Of},
    },
    mesh::{Backend, backend::Leave},
    policy::{
        Cause, Outcome,
        bulkhead::Place,
        circuit_breaker::Guard,
        outcome::{GrpcStatus, classify},
    },
    telemetry::exchange::is_grpc,
};

/// What has gone on for so long is a stream, which ends with its process or when somebody has no more patience with it.
const STREAM: Duration = Duration::from_secs(10);

/// The response's head is there. A gRPC call is judged by its trailers, everything else by its status, and by its body
/// if that breaks off; the endpoint's place and the backend's leave are held until the body ends.
pub(super) fn accept(
    backend: &Arc<Backend>,
    leave: Leave,
    picked: Picked,
    response: Response<Body>,
    sent: Sent,
    limits: Option<Limits>,
    now: Instant,
) -> Response<Body> {
    let Leave { mut guard, place } = leave;
    guard.head_arrived(now);
    let (parts, mut body) = response.into_parts();
    let (grpc_status, is_grpc) = (GrpcStatus::of(&parts.headers), is_grpc(&parts.headers));
    let head = (!is_grpc || grpc_status.is_some()).then(|| classify(parts.status, grpc_status));
    let mut hold =
        Answering { backend: backend.clone(), guard: Some(guard), picked, head, begun: now, sent, _place: place };
    match head {
        Some(Outcome::Success) if !hold.is_probe() && !body.is_end_stream() => hold.picked.observe_head(now),
        Some(outcome) => hold.judge(outcome, now),
        None => {}
    }
    if let Some(limits) = limits {
        body = Limited::body(body, limits, if is_grpc { Of::GrpcAnswer } else { Of::Answer });
    }
    Response::from_parts(parts, body.holding(Box::new(hold)))
}

/// Held by a response's body: what is over when the body is.
struct Answering {
    backend: Arc<Backend>,
    /// `None` when the answer has been judged.
    guard: Option<Guard>,
    picked: Picked,
    /// What the head says; `None`: the trailers will.
    head: Option<Outcome>,
    begun: Instant,
    sent: Sent,
    /// Of the backend's bulkhead.
    _place: Option<Place>,
}

impl Answering {
    fn is_probe(&self) -> bool {
        self.picked.endpoint().breaker.is_probing() || self.backend.breaker.is_probing()
    }

    /// Only the first judgement counts.
    fn judge(&mut self, outcome: Outcome, now: Instant) {
        let Some(guard) = self.guard.take() else { return };
        let transition = self.picked.record(outcome, now, rand::random());
        self.backend.report(Some(&self.picked.endpoint().id), transition);
        self.backend.finish(guard, outcome, now);
    }

    /// The answer came whole.
    fn judge_whole(&mut self, trailers: Option<&HeaderMap>) {
        // A gRPC response that ends without a status is broken (gRPC over HTTP/2, "Responses").
        let by_trailers = || {
            let status = trailers.and_then(GrpcStatus::of).unwrap_or(GrpcStatus::UNKNOWN);
            classify(http::StatusCode::OK, Some(status))
        };
        self.judge(self.head.unwrap_or_else(by_trailers), Instant::now());
    }
}

impl Hold for Answering {
    /// A call that streams may take hours to its end. While a circuit probes, the first message tells that the backend
    /// works, so that no stream holds a probe's place.
    fn began(&mut self) {
        if self.guard.is_some() && self.is_probe() {
            self.judge(Outcome::Success, Instant::now());
        }
    }

    fn ended(mut self: Box<Self>, end: End<'_>) {
        if self.guard.is_none() {
            return;
        }
        match end {
            End::Complete { trailers } => self.judge_whole(trailers),
            // HTTP/2 does not say which side broke a stream off; the request's body does.
            End::Failed if self.sent.is_broken() => self.judge(Outcome::Cancelled, Instant::now()),
            End::Failed => {
                let now = Instant::now();
                self.judge(broken(self.head, now.saturating_duration_since(self.begun)), now);
            }
            // The caller has seen enough: what it saw was good, unless that was still to be said.
            End::Dropped => self.judge(self.head.unwrap_or(Outcome::Cancelled), Instant::now()),
        }
    }
}

/// How an answer counts that broke off so long after its head. When a process ends, all of its streams do, which says
/// nothing about the calls to come.
fn broken(head: Option<Outcome>, after: Duration) -> Outcome {
    head.filter(|_| after > STREAM).unwrap_or(Outcome::Failure(Cause::Reset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_breaks_off_is_a_failure_unless_it_was_a_stream() {
        let (success, failure) = (Some(Outcome::Success), Outcome::Failure(Cause::Reset));
        assert_eq!(broken(success, Duration::ZERO), failure);
        assert_eq!(broken(success, STREAM), failure);
        assert_eq!(broken(success, STREAM * 2), Outcome::Success);
        assert_eq!(broken(None, STREAM * 2), failure, "a call of gRPC says how it ends");
    }
}

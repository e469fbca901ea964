//! An answer on its way to the caller: what it holds, and how it is judged in the end.

use std::{sync::Arc, time::Instant};

use http::{HeaderMap, Response};

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

/// The response's head is there. A gRPC call is judged by its trailers, everything else by its status; the endpoint's
/// place and the backend's leave are held until the body ends.
pub(super) fn accept(
    backend: &Arc<Backend>,
    leave: Leave,
    picked: Picked,
    response: Response<Body>,
    limits: Option<Limits>,
    now: Instant,
) -> Response<Body> {
    let Leave { mut guard, place } = leave;
    guard.head_arrived(now);
    let (parts, mut body) = response.into_parts();
    let (grpc_status, is_grpc) = (GrpcStatus::of(&parts.headers), is_grpc(&parts.headers));
    let mut hold = Answering { backend: backend.clone(), guard: Some(guard), picked: Some(picked), _place: place };
    if !is_grpc || grpc_status.is_some() {
        hold.judge(classify(parts.status, grpc_status), now);
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
    picked: Option<Picked>,
    /// Of the backend's bulkhead.
    _place: Option<Place>,
}

impl Answering {
    fn judge(&mut self, outcome: Outcome, now: Instant) {
        if let Some(picked) = &mut self.picked {
            let transition = picked.record(outcome, now, rand::random());
            let endpoint = picked.endpoint().id.as_str();
            self.backend.report(Some(endpoint), transition);
        }
        if let Some(guard) = self.guard.take() {
            self.backend.finish(guard, outcome, now);
        }
    }

    fn judge_trailers(&mut self, trailers: Option<&HeaderMap>) {
        if self.guard.is_some() {
            // A gRPC response that ends without a status is broken (gRPC over HTTP/2, "Responses").
            let status = trailers.and_then(GrpcStatus::of).unwrap_or(GrpcStatus::UNKNOWN);
            self.judge(classify(http::StatusCode::OK, Some(status)), Instant::now());
        }
    }
}

impl Hold for Answering {
    /// A call that streams may take hours to its trailers. While a circuit probes, the first message tells that the
    /// backend works, so that no stream holds a probe's place.
    fn began(&mut self) {
        let endpoint_probes = self.picked.as_ref().is_some_and(|picked| picked.endpoint().breaker.is_probing());
        if self.guard.is_some() && (endpoint_probes || self.backend.breaker.is_probing()) {
            self.judge(Outcome::Success, Instant::now());
        }
    }

    fn ended(mut self: Box<Self>, end: End<'_>) {
        match end {
            End::Complete { trailers } => self.judge_trailers(trailers),
            End::Failed => self.judge(Outcome::Failure(Cause::Reset), Instant::now()),
            End::Dropped => self.judge(Outcome::Cancelled, Instant::now()),
        }
    }
}

//! Attempts: one endpoint after the other, until one takes the request.
//!
//! Another endpoint is tried only when the request was provably not processed, because not a byte of it was sent. How
//! an attempt ended is told to the endpoint and, once for the whole request, to the backend.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderValue, Request, Response, Uri, Version, header, request::Parts};
use weft_proxy_api::policy::Timeouts;

use super::Outbound;
use crate::{
    balance::{Endpoint, Picked},
    error::{Kind, ProxyError},
    http::{
        body::{Body, End, Hold},
        client::BROKEN_REQUEST,
        headers,
        pool::Unanswered,
        upgrade,
    },
    mesh::Backend,
    net::Hop,
    policy::{
        Cause, Outcome,
        circuit_breaker::Guard,
        outcome::{GrpcStatus, classify},
    },
    telemetry::{Exchange, exchange::is_grpc},
};

const MAX_ATTEMPTS: usize = 3;

/// When the response's head must be there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    at: Option<Instant>,
    /// The limit of the route, for the message.
    request: Option<Duration>,
    attempt: Option<Duration>,
}

impl Deadline {
    /// The built-in limit is for calls that are answered once. A gRPC call may be a stream that is silent for hours; it
    /// brings its own limit in `grpc-timeout`, which the callee enforces as well.
    pub fn start(timeouts: &Timeouts, headers: &HeaderMap, now: Instant) -> Self {
        let request = match is_grpc(headers) {
            false => timeouts.request,
            true => {
                let own = timeouts.request.filter(|limit| *limit != Timeouts::DEFAULT_REQUEST);
                [own, grpc_timeout(headers)].into_iter().flatten().min()
            }
        };
        Self { at: request.map(|limit| now + limit), request, attempt: timeouts.backend_request }
    }

    /// Runs one attempt within what is left, and within the limit of a single attempt.
    async fn bound<T>(self, backend: &Backend, attempt: impl Future<Output = T>) -> Result<T, ProxyError> {
        let of_attempt = self.attempt.map(|limit| Instant::now() + limit);
        let Some(end) = [self.at, of_attempt].into_iter().flatten().min() else { return Ok(attempt.await) };
        tokio::time::timeout_at(end.into(), attempt).await.map_err(|_| {
            let (level, limit) = match of_attempt {
                Some(of_attempt) if of_attempt == end => ("attempt", self.attempt),
                _ => ("request", self.request),
            };
            let limit = limit.unwrap_or_default();
            let label = &backend.label;
            tracing::info!(backend = %label, level, ?limit, "timeout");
            ProxyError::new(
                Kind::ResponseTimeout,
                format_args!("{label} did not answer within {limit:?} (the {level} timeout)"),
            )
        })
    }
}

/// The `grpc-timeout` of a call (gRPC over HTTP/2, "Requests"): up to eight digits and a unit.
fn grpc_timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let value: u64 = digits.parse().ok().filter(|_| digits.len() <= 8)?;
    match unit {
        "H" => Some(Duration::from_secs(value * 3600)),
        "M" => Some(Duration::from_secs(value * 60)),
        "S" => Some(Duration::from_secs(value)),
        "m" => Some(Duration::from_millis(value)),
        "u" => Some(Duration::from_micros(value)),
        "n" => Some(Duration::from_nanos(value)),
        _ => None,
    }
}

/// How far the caller is with its request.
#[derive(Clone, Default)]
pub(super) struct Sent(Arc<Upload>);

#[derive(Default)]
struct Upload {
    complete: AtomicBool,
    broken: AtomicBool,
}

impl Hold for Sent {
    fn ended(self: Box<Self>, end: End<'_>) {
        match end {
            End::Complete { .. } => self.0.complete.store(true, Ordering::Relaxed),
            End::Failed => self.0.broken.store(true, Ordering::Relaxed),
            End::Dropped => {}
        }
    }
}

/// The request as the next hop gets it.
pub(super) fn prepare(
    mut parts: Parts,
    body: Body,
    hop: Hop,
    switch: Option<&HeaderValue>,
) -> Result<(Request<Body>, Sent), ProxyError> {
    match hop {
        Hop::Http1 | Hop::Http1Streams => {
            parts.version = Version::HTTP_11;
            // `Host` says it: an authority in the target would travel in HTTP/2 as it came, with what is in it.
            if parts.uri.authority().is_some() {
                parts.uri = parts.uri.path_and_query().cloned().map_or_else(Uri::default, Uri::from);
            }
            headers::join_cookies(&mut parts.headers);
            if let Some(protocol) = switch {
                upgrade::set(&mut parts.headers, protocol.clone());
            }
        }
        Hop::Http2 => {
            let host = parts.headers.remove(header::HOST);
            let authority = host.as_ref().map(HeaderValue::as_bytes).unwrap_or_default();
            let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
            let uri = Uri::builder().scheme("http").authority(authority).path_and_query(path).build();
            parts.version = Version::HTTP_2;
            parts.uri = uri.map_err(|error| {
                ProxyError::new(Kind::BadRequest, format_args!("the request's target is not valid: {error}"))
            })?;
        }
    }
    let sent = Sent::default();
    let body = match http_body::Body::is_end_stream(&body) {
        true => {
            sent.0.complete.store(true, Ordering::Relaxed);
            body
        }
        false => body.holding(Box::new(sent.clone())),
    };
    Ok((Request::from_parts(parts, body), sent))
}

/// What stays the same for all attempts of one request.
pub(super) struct Call<'a> {
    pub cx: &'a Outbound,
    pub backend: &'a Arc<Backend>,
    pub hop: Hop,
    pub deadline: Deadline,
    pub sent: Sent,
}

/// An attempt that brought no response.
struct Failed {
    error: ProxyError,
    endpoint: Arc<Endpoint>,
    /// The request, when not a byte of it was sent.
    unsent: Option<Box<Request<Body>>>,
}

impl Call<'_> {
    /// Sends the request and waits for the response's head. `guard` is the backend's leave; it and the endpoint's place
    /// live on in the response's body.
    pub async fn send(
        &self,
        guard: Guard,
        mut request: Request<Body>,
        exchange: &mut Exchange,
    ) -> Result<(Response<Body>, Arc<Endpoint>), ProxyError> {
        let mut tried = 0;
        let mut avoid: Option<Arc<Endpoint>> = None;
        let mut now = exchange.started();
        loop {
            let picked = self.pick(avoid.as_deref(), exchange, now)?;
            tried += 1;
            match self.attempt(picked, request).await {
                Ok((mut picked, response)) => {
                    let endpoint = picked.endpoint().clone();
                    let now = Instant::now();
                    picked.head_arrived(now);
                    exchange.answered_at(now);
                    return Ok((self.accept(guard, picked, response, now), endpoint));
                }
                Err(Failed { error, endpoint, unsent: Some(unsent) }) if self.another_may_take_it(tried) => {
                    tracing::debug!(backend = %self.backend.label, %error, "another endpoint is tried");
                    request = *unsent;
                    avoid = Some(endpoint);
                    now = Instant::now();
                }
                Err(Failed { error, .. }) => {
                    self.backend.finish(guard, outcome(&error), Instant::now());
                    return Err(ProxyError { details: format!("{}: {}", self.backend.label, error.details), ..error });
                }
            }
        }
    }

    fn pick(&self, avoid: Option<&Endpoint>, exchange: &mut Exchange, now: Instant) -> Result<Picked, ProxyError> {
        let picked = self
            .backend
            .balancer
            .pick(now, &mut rand::rng(), avoid)
            .map_err(|e| ProxyError::new(Kind::NoEndpoints, format_args!("{}: {e}", self.backend.label)))?;
        let endpoint = picked.endpoint();
        self.backend.report(Some(&endpoint.id), picked.transition());
        exchange.note(|record| {
            record.endpoint = Some(endpoint.target.address.to_string());
            record.peer = endpoint.target.identity.as_ref().map(ToString::to_string);
        });
        Ok(picked)
    }

    async fn attempt(&self, picked: Picked, request: Request<Body>) -> Result<(Picked, Response<Body>), Failed> {
        let endpoint = picked.endpoint().clone();
        let sent = {
            let connect_limit = self.backend.settings.connect_timeout;
            // Pinned here: a future that is passed by value is copied at each step.
            let sending = pin!(self.cx.pool.send(&endpoint.target, self.hop, connect_limit, request));
            self.deadline.bound(self.backend, sending).await
        };
        let Unanswered { error, request: unsent } = match sent {
            Ok(Ok(response)) => {
                return Ok((picked, response));
            }
            Ok(Err(Unanswered { request: None, .. })) if self.sent.0.broken.load(Ordering::Relaxed) => {
                // HTTP/2 does not say which side broke a stream off; the body does.
                Unanswered { error: ProxyError::new(Kind::BadRequest, BROKEN_REQUEST), request: None }
            }
            Ok(Err(unanswered)) => unanswered,
            Err(error) if !self.sent.0.complete.load(Ordering::Relaxed) => {
                // The backend cannot be blamed for a request that it has not got.
                let details = format!("{}, and the request was not complete by then", error.details);
                Unanswered { error: ProxyError::new(Kind::UploadTimeout, details), request: None }
            }
            Err(error) => Unanswered { error, request: None },
        };
        let transition = picked.finish(outcome(&error), Instant::now(), rand::random());
        self.backend.report(Some(&endpoint.id), transition);
        Err(Failed { error, endpoint, unsent })
    }

    /// A request that came back unsent was provably not processed, whatever went wrong.
    fn another_may_take_it(&self, tried: usize) -> bool {
        tried < MAX_ATTEMPTS && self.backend.balancer.endpoints().len() > 1
    }

    /// The response's head is there. A gRPC call is judged by its trailers, everything else by its status; the
    /// endpoint's place is held until the body ends.
    fn accept(&self, guard: Guard, picked: Picked, response: Response<Body>, now: Instant) -> Response<Body> {
        let (parts, body) = response.into_parts();
        let grpc_status = GrpcStatus::of(&parts.headers);
        let judged_by_trailers = is_grpc(&parts.headers) && grpc_status.is_none();
        let backend = self.backend.clone();
        let mut hold = Answering { backend, guard: Some(guard), picked: Some(picked) };
        if !judged_by_trailers {
            hold.judge(classify(parts.status, grpc_status), now);
        }
        Response::from_parts(parts, body.holding(Box::new(hold)))
    }
}

/// Held by a response's body: what is over when the body is.
struct Answering {
    backend: Arc<Backend>,
    /// `None` when the answer has been judged.
    guard: Option<Guard>,
    picked: Option<Picked>,
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
        let endpoint_probes = self.picked.as_ref().is_some_and(|picked| !picked.endpoint().breaker.is_closed());
        if self.guard.is_some() && (endpoint_probes || !self.backend.breaker.is_closed()) {
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

/// How a failed attempt counts.
fn outcome(error: &ProxyError) -> Outcome {
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
        | Kind::Unsupported => Outcome::Cancelled,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let lines = lines.iter().map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()));
        lines.collect()
    }

    #[test]
    fn grpc_brings_its_own_limit() {
        let limit = |value| grpc_timeout(&headers(&[("grpc-timeout", value)]));
        assert_eq!(limit("20m"), Some(Duration::from_millis(20)));
        assert_eq!(limit("1H"), Some(Duration::from_secs(3600)));
        assert_eq!(limit("99999999S"), Some(Duration::from_secs(99_999_999)));
        for bad in ["", "S", "1", "1x", "-1S", "999999999S", "\u{e9}"] {
            assert_eq!(limit(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_built_in_limit_is_not_for_streams() {
        let call = |lines: &[_]| headers(&[&[("content-type", "application/grpc")], lines].concat());
        let (default, now) = (Timeouts::default(), Instant::now());
        let own = Timeouts { request: Some(Duration::from_secs(5)), backend_request: None };
        assert_eq!(Deadline::start(&default, &headers(&[]), now).request, Some(Timeouts::DEFAULT_REQUEST));
        assert_eq!(Deadline::start(&default, &call(&[]), now).request, None);
        assert_eq!(
            Deadline::start(&default, &call(&[("grpc-timeout", "40S")]), now).request,
            Some(Duration::from_secs(40))
        );
        assert_eq!(Deadline::start(&own, &call(&[("grpc-timeout", "40S")]), now).request, Some(Duration::from_secs(5)));
    }
}

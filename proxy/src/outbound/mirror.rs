//! Copies of requests that go to another backend, so that it can be watched at work. Nobody sees its answers.
//!
//! A copy never delays or fails the request that it was made of. Its body is kept as it passes on its way to the
//! backend; when all of it has passed, a task of its own sends the copy, once, within [`LIMIT`]. There are bounds to how
//! many copies are under way and how long their bodies are; what exceeds them is not copied, and counted.

use std::{
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use http::{Response, header, request::Parts};
use http_body_util::BodyExt;
use rand::Rng;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use weft_proxy_api::{policy::MILLION, route::Filters};

use super::{
    Outbound,
    attempt::{self, outcome},
    degrade::copy_of,
    forward::{Passage, change_request, hop},
};
use crate::{
    balance::Affinity,
    error::{Kind, ProxyError},
    http::{
        body::{Body, End},
        headers::MIRRORED,
        pool::{Keep, Unanswered},
        tap::Tap,
    },
    mesh::{Backend, backend::Leave, compile::To, shaping::Mirror},
    policy::{
        Outcome,
        outcome::{GrpcStatus, classify},
    },
    telemetry::exchange::is_grpc,
};

/// Copies that one worker has under way, at most.
const PLACES: usize = 128;
/// A longer body is not copied.
const LONGEST_BODY: usize = 64 << 10;
/// From the sending of a copy to the end of its answer.
const LIMIT: Duration = Duration::from_secs(30);

/// The copies that a worker has under way.
#[derive(Clone, Debug)]
pub struct Copies(pub(super) Arc<Semaphore>);

impl Default for Copies {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(PLACES)))
    }
}

/// Has the request copied, for those of the mirrors that draw it. A connection that is to switch to another protocol is
/// not copied.
pub(super) fn copy(mirrors: &[Mirror], passage: &mut Passage<'_>, rng: &mut impl Rng) {
    if passage.switch.is_some() {
        return;
    }
    let drawn = mirrors.iter().filter(|mirror| rng.random_range(0..MILLION) < mirror.per_million);
    let copies: Vec<Copy> = drawn.filter_map(|mirror| begin(mirror, passage)).collect();
    if copies.is_empty() {
        return;
    }
    let copying = Box::new(Copying { copies, body: BytesMut::new() });
    match http_body::Body::is_end_stream(&passage.body) {
        true => copying.ended(End::Complete { trailers: None }),
        false => passage.body = std::mem::replace(&mut passage.body, Body::empty()).tapped(copying),
    }
}

/// A copy whose body is not complete yet.
struct Copy {
    cx: Arc<Outbound>,
    backend: Arc<Backend>,
    parts: Parts,
    _place: OwnedSemaphorePermit,
}

fn begin(mirror: &Mirror, passage: &Passage<'_>) -> Option<Copy> {
    let Passage { cx, rule, to, prefix, parts, .. } = passage;
    let To::Backend { backend, .. } = &mirror.to else {
        cx.metrics.shaping.mirrored("unresolved");
        return None;
    };
    let Ok(place) = cx.copies.0.clone().try_acquire_owned() else {
        cx.metrics.shaping.mirrored("dropped");
        return None;
    };
    let mut parts = copy_of(parts);
    if change_request(&mut parts, &to.host, [&rule.filters, &Filters::default()], *prefix).is_err() {
        cx.metrics.shaping.mirrored("failed");
        return None;
    }
    parts.headers.remove(header::EXPECT); // its body is there
    parts.headers.insert(MIRRORED, mirror.mark.clone());
    Some(Copy { cx: (*cx).clone(), backend: backend.clone(), parts, _place: place })
}

/// Keeps what passes of a body, for those copies that are sent when it has ended.
struct Copying {
    copies: Vec<Copy>,
    body: BytesMut,
}

impl Copying {
    fn give_up(&mut self, why: &'static str) {
        self.copies.drain(..).for_each(|copy| copy.cx.metrics.shaping.mirrored(why));
        self.body = BytesMut::new();
    }
}

impl Tap for Copying {
    fn data(&mut self, data: &Bytes) {
        if self.body.len() + data.len() > LONGEST_BODY {
            self.give_up("too_long");
        }
        if !self.copies.is_empty() {
            self.body.extend_from_slice(data);
        }
    }

    fn ended(mut self: Box<Self>, end: End<'_>) {
        // Bodies may outlive the runtime that they were read in.
        match (end, tokio::runtime::Handle::try_current()) {
            (End::Complete { .. }, Ok(runtime)) => {
                let body = std::mem::take(&mut self.body).freeze();
                for copy in self.copies.drain(..) {
                    runtime.spawn(copy.run(body.clone()));
                }
            }
            _ => self.give_up("incomplete"),
        }
    }
}

impl Copy {
    async fn run(self, body: Bytes) {
        let Self { cx, backend, parts, _place } = self;
        let result = match send(&cx, &backend, parts, body).await {
            Ok(()) => "answered",
            Err(error) if error.kind == Kind::CircuitOpen => "rejected",
            Err(error) => {
                tracing::debug!(backend = %backend.label, %error, "a copy was not answered");
                "failed"
            }
        };
        cx.metrics.shaping.mirrored(result);
    }
}

/// One attempt, and its answer to the end. The backend's circuit and the endpoint's have their say and are told.
async fn send(cx: &Outbound, backend: &Arc<Backend>, parts: Parts, body: Bytes) -> Result<(), ProxyError> {
    let now = Instant::now();
    // A copy waits for nobody.
    let leave = backend.admit(now, Some(now)).await;
    let Leave { mut guard, place: _place } = leave.map_err(|_| ProxyError::new(Kind::CircuitOpen, &backend.label))?;
    let hop = hop(&parts, backend.settings.protocol, None);
    let mut request = attempt::prepare(parts, Body::full(body), hop, None)?;
    let mut picked = backend
        .balancer
        .pick(now, &mut rand::rng(), None, Affinity::default())
        .map_err(|e| ProxyError::new(Kind::NoEndpoints, format_args!("{}: {e}", backend.label)))?;
    backend.picked(&picked);
    let target = picked.endpoint().target.clone();
    let read = {
        let exchange = pin!(async {
            let sent = cx.pool.send(&target, hop, backend.settings.connect_timeout, &mut request, Keep::Nothing).await;
            let response = sent.map_err(|Unanswered { error, .. }| error)?;
            let now = Instant::now();
            picked.head_arrived(now);
            guard.head_arrived(now);
            read(response).await
        });
        tokio::time::timeout(LIMIT, exchange).await.unwrap_or_else(|_| {
            let details = format_args!("{} did not answer within {LIMIT:?}", backend.label);
            Err(ProxyError::new(Kind::ResponseTimeout, details))
        })
    };
    let outcome = read.as_ref().map_or_else(outcome, |outcome| *outcome);
    let now = Instant::now();
    let endpoint = picked.endpoint().id.clone();
    backend.report(Some(&endpoint), picked.finish(outcome, now, rand::random()));
    backend.finish(guard, outcome, now);
    read.map(|_| ())
}

/// Reads an answer to its end and forgets it; how it counts.
async fn read(response: Response<Body>) -> Result<Outcome, ProxyError> {
    let (parts, mut body) = response.into_parts();
    let mut grpc_status = GrpcStatus::of(&parts.headers);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| ProxyError::new(Kind::Reset, e))?;
        if let Some(trailers) = frame.trailers_ref() {
            grpc_status = GrpcStatus::of(trailers).or(grpc_status);
        }
    }
    let missing = is_grpc(&parts.headers).then_some(GrpcStatus::UNKNOWN);
    Ok(classify(parts.status, grpc_status.or(missing)))
}

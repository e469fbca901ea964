//! Limits on the time of a body: how long nothing of it may come (`idle`), and when all of it must be there (`total`).
//!
//! A body that reaches a limit breaks off; a gRPC call gets `DEADLINE_EXCEEDED` in its trailers instead. Only waiting for
//! the body's source counts: while its reader takes nothing, nobody waits. A pace is shared by both bodies of an exchange:
//! what moves in one direction keeps the other going, and once the answer has begun, it alone watches.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::{Body as _, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use super::body::{Body, BodyError};
use crate::policy::outcome::GrpcStatus;

/// When something of an exchange has moved.
#[derive(Debug)]
pub struct Pace {
    limit: Duration,
    since: Instant,
    /// Milliseconds after `since`.
    moved: AtomicU64,
    is_answering: AtomicBool,
    is_over: AtomicBool,
}

impl Pace {
    pub fn new(limit: Duration) -> Arc<Self> {
        let (moved, is_answering, is_over) = Default::default();
        Arc::new(Self { limit, since: Instant::now(), moved, is_answering, is_over })
    }

    pub fn limit(&self) -> Duration {
        self.limit
    }

    /// Whether the request has reached the limit.
    pub fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    fn moves(&self, now: Instant) {
        let moved = u64::try_from((now - self.since).as_millis()).unwrap_or(u64::MAX);
        self.moved.store(moved, Ordering::Relaxed);
    }

    fn ends(&self) -> Instant {
        self.since + Duration::from_millis(self.moved.load(Ordering::Relaxed)) + self.limit
    }
}

/// What a body is limited by.
#[derive(Clone, Debug)]
pub struct Limits {
    pub pace: Option<Arc<Pace>>,
    /// The end, and the limit that it follows from.
    pub total: Option<(Instant, Duration)>,
    /// For the log.
    pub backend: Arc<str>,
}

/// Whose body it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    Request,
    Answer,
    GrpcAnswer,
}

#[derive(Debug)]
pub struct Limited {
    /// `None`: it is over.
    body: Option<Body>,
    limits: Limits,
    of: Of,
    timer: Pin<Box<Sleep>>,
    /// The limit that it reached, and that nobody has been told of.
    reached: Option<&'static str>,
}

impl Limited {
    /// The body within these limits, which begin now; as it is where there are none.
    pub fn body(body: Body, limits: Limits, of: Of) -> Body {
        let Some(pace) = limits.pace.as_ref().map(|pace| pace.limit).or(limits.total.map(|(_, limit)| limit)) else {
            return body;
        };
        if body.is_end_stream() {
            return body;
        }
        let now = Instant::now();
        if let Some(pace) = &limits.pace {
            pace.moves(now);
            pace.is_answering.store(of != Of::Request, Ordering::Relaxed);
        }
        let first = limits.total.map_or(now + pace, |(end, _)| end.min(now + pace));
        let timer = Box::pin(tokio::time::sleep_until(first));
        Body::limited(Self { body: Some(body), limits, of, timer, reached: None })
    }

    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.reached.is_none() {
            let Some(body) = &mut self.body else { return Poll::Ready(None) };
            if let Poll::Ready(frame) = Pin::new(body).poll_frame(cx) {
                if let Some(pace) = &self.limits.pace {
                    pace.moves(Instant::now());
                }
                return Poll::Ready(frame);
            }
        }
        self.poll_limit(cx).map(|level| match self.of {
            Of::GrpcAnswer => Some(Ok(Frame::trailers(deadline_exceeded(level)))),
            Of::Request | Of::Answer => Some(Err(BodyError::TooSlow(level))),
        })
    }

    /// Ready once, when a limit is reached: the body is dropped then.
    fn poll_limit(&mut self, cx: &mut Context<'_>) -> Poll<&'static str> {
        if let Some(level) = self.reached.take() {
            return Poll::Ready(level);
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            let pace = self.limits.pace.as_deref();
            let is_watched =
                self.of == Of::Request && pace.is_some_and(|pace| pace.is_answering.load(Ordering::Relaxed));
            let idle = pace.map(|pace| if is_watched { now + pace.limit } else { pace.ends() });
            let reached = match (self.limits.total, idle) {
                (Some((end, limit)), _) if end <= now => ("total", limit),
                (_, Some(end)) if end <= now => ("idle", pace.map(Pace::limit).unwrap_or_default()),
                (total, idle) => {
                    let next = [total.map(|(end, _)| end), idle].into_iter().flatten().min();
                    self.timer.as_mut().reset(next.unwrap_or(now));
                    continue;
                }
            };
            let (level, limit) = reached;
            tracing::info!(backend = %self.limits.backend, level, ?limit, "timeout");
            if let (Of::Request, Some(pace)) = (self.of, pace) {
                pace.is_over.store(true, Ordering::Relaxed);
            }
            self.body = None;
            return Poll::Ready(level);
        }
        Poll::Pending
    }

    /// While nobody takes the answer, only its end is watched.
    pub fn keep_moving(&mut self, cx: &mut Context<'_>) {
        if let Some(body) = &mut self.body {
            body.keep_moving(cx);
        }
        if self.limits.total.is_some_and(|(end, _)| end <= Instant::now())
            && let Poll::Ready(level) = self.poll_limit(cx)
        {
            self.reached = Some(level);
        }
    }

    pub fn moving(&mut self) {
        self.body = self.body.take().map(Body::moving);
    }

    pub fn is_end_stream(&self) -> bool {
        self.reached.is_none() && self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    pub fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, Body::size_hint)
    }
}

fn deadline_exceeded(level: &'static str) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", GrpcStatus::DEADLINE_EXCEEDED.0.into());
    if let Ok(message) = HeaderValue::from_str(&format!("the call has reached the {level} timeout")) {
        trailers.insert("grpc-message", message);
    }
    trailers
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use tokio::{sync::mpsc, time::sleep};

    use super::*;
    use crate::http::http1;

    const SECOND: Duration = Duration::from_secs(1);

    type Pieces = mpsc::Sender<Result<Frame<Bytes>, http1::Error>>;

    fn limited(limits: &Limits, of: Of) -> (Pieces, Body) {
        let (pieces, body) = mpsc::channel(16);
        (pieces, Limited::body(Body::relayed(body), limits.clone(), of))
    }

    fn limits(idle: Option<Duration>, total: Option<Duration>) -> Limits {
        let total = total.map(|limit| (Instant::now() + limit, limit));
        Limits { pace: idle.map(Pace::new), total, backend: "shop/orders:80".into() }
    }

    async fn send(pieces: &Pieces) {
        pieces.send(Ok(Frame::data(Bytes::from_static(b"x")))).await.unwrap();
    }

    /// After how long the body breaks off, where a piece comes `pieces` times, each second.
    async fn lasts(idle: Option<Duration>, total: Option<Duration>, pieces: u32) -> (Duration, String) {
        let (sender, body) = limited(&limits(idle, total), Of::Answer);
        tokio::spawn(async move {
            for _ in 0..pieces {
                sleep(SECOND).await;
                send(&sender).await;
            }
            sleep(100 * SECOND).await;
        });
        let started = Instant::now();
        let error = body.collect().await.unwrap_err();
        (started.elapsed().max(Duration::from_secs(started.elapsed().as_secs())), error.to_string())
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_breaks_off_at_its_limits() {
        for (idle, total, pieces, seconds, level) in [
            (Some(2 * SECOND), None, 5, 7, "idle"),
            (Some(2 * SECOND), None, 0, 2, "idle"),
            (None, Some(3 * SECOND), 10, 3, "total"),
            (Some(2 * SECOND), Some(4 * SECOND), 1, 3, "idle"),
            (Some(2 * SECOND), Some(4 * SECOND), 10, 4, "total"),
        ] {
            let (lasted, error) = lasts(idle, total, pieces).await;
            assert_eq!(lasted.as_secs(), seconds, "{idle:?} {total:?} {pieces}");
            assert!(error.contains(level), "{error}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_gets_a_status_instead() {
        let (_pieces, body) = limited(&limits(Some(SECOND), None), Of::GrpcAnswer);
        let trailers = body.collect().await.unwrap().trailers().cloned().unwrap();
        assert_eq!(trailers.get("grpc-status").unwrap(), "4");
    }

    #[tokio::test(start_paused = true)]
    async fn what_moves_in_one_direction_keeps_the_other_going() {
        let limits = limits(Some(2 * SECOND), None);
        let (_silent, mut request) = limited(&limits, Of::Request);
        let (pieces, answer) = limited(&limits, Of::Answer);
        let talk = async {
            for _ in 0..5 {
                sleep(SECOND).await;
                send(&pieces).await;
            }
            drop(pieces);
        };
        let read = async {
            tokio::select! {
                answer = answer.collect() => answer.unwrap().to_bytes().len(),
                frame = request.frame() => panic!("{frame:?}"),
            }
        };
        assert_eq!(tokio::join!(talk, read).1, 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_stops_says_so_while_there_is_no_answer() {
        let limits = limits(Some(SECOND), None);
        let (_silent, request) = limited(&limits, Of::Request);
        assert!(request.collect().await.is_err());
        assert!(limits.pace.unwrap().is_over());
    }
}

//! A request body that can be sent again: it streams, and what has passed is kept, up to a limit.
//!
//! The first attempt gets each piece as it comes; the next one gets what was kept at once, and then the rest as it comes,
//! also when the first had not come to its end. A body that turns out to be longer than the limit is let go of, and goes
//! on streaming: it can be sent once. Kept is a copy, so that a small piece does not hold a large buffer.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as _, Frame, SizeHint};

use super::{
    body::{Body, BodyError},
    http1,
};

/// Keeps a body for as long as it may have to be sent again. When it is dropped, nothing more is kept.
#[derive(Clone, Debug)]
pub struct Recorder(Arc<Mutex<Kept>>);

/// The body of one attempt.
#[derive(Debug)]
pub struct Replay {
    of: Arc<Mutex<Kept>>,
    /// Bytes that this attempt has got of what is kept.
    at: usize,
    has_trailers: bool,
    attempt: u64,
}

#[derive(Debug)]
struct Kept {
    source: Body,
    limit: usize,
    data: Vec<u8>,
    trailers: Option<HeaderMap>,
    state: State,
    /// The newest attempt, which alone may read on.
    attempt: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// More is to come.
    Open,
    /// All of it is kept.
    Whole,
    /// It is not kept any more, or broke off.
    Lost,
}

impl Recorder {
    /// # Errors
    /// The body, which says that it is longer than `limit`.
    pub fn new(body: Body, limit: u64) -> Result<Self, Body> {
        if body.size_hint().lower() > limit {
            return Err(body);
        }
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let kept = Kept { source: body, limit, data: Vec::new(), trailers: None, state: State::Open, attempt: 0 };
        Ok(Self(Arc::new(Mutex::new(kept))))
    }

    /// Whether all that has come of it is here.
    pub fn is_kept(&self) -> bool {
        lock(&self.0).state != State::Lost
    }

    /// Whether all of it has come, and is here.
    pub fn is_whole(&self) -> bool {
        lock(&self.0).state == State::Whole
    }

    /// The body for one more attempt, from its beginning. The attempts before read no further than what is kept.
    pub fn replay(&self) -> Replay {
        let mut kept = lock(&self.0);
        kept.attempt += 1;
        Replay { of: self.0.clone(), at: 0, has_trailers: false, attempt: kept.attempt }
    }
}

fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Kept {
    fn let_go(&mut self) {
        self.data = Vec::new();
        self.trailers = None;
        self.state = State::Lost;
    }

    /// The next frame of the source, which is kept if there is room.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(Pin::new(&mut self.source).poll_frame(cx));
        if self.state != State::Lost {
            match &frame {
                None => self.state = State::Whole,
                Some(Err(_)) => self.let_go(),
                Some(Ok(frame)) => self.keep(frame),
            }
        }
        Poll::Ready(frame)
    }

    fn keep(&mut self, frame: &Frame<Bytes>) {
        if let Some(data) = frame.data_ref() {
            if self.data.len().saturating_add(data.len()) > self.limit {
                return self.let_go();
            }
            self.data.extend_from_slice(data);
        }
        if let Some(trailers) = frame.trailers_ref() {
            self.trailers = Some(trailers.clone());
        }
        if frame.is_trailers() || self.source.is_end_stream() {
            self.state = State::Whole;
        }
    }
}

impl Replay {
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let is_alone = Arc::strong_count(&self.of) == 1;
        let mut kept = lock(&self.of);
        if let Some(rest) = kept.data.get(self.at..).filter(|rest| !rest.is_empty()) {
            let rest = Bytes::copy_from_slice(rest);
            self.at += rest.len();
            return Poll::Ready(Some(Ok(Frame::data(rest))));
        }
        if kept.state == State::Whole {
            let trailers = kept.trailers.clone().filter(|_| !std::mem::replace(&mut self.has_trailers, true));
            return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
        }
        if kept.attempt != self.attempt {
            return Poll::Ready(Some(Err(http1::Error::Closed.into())));
        }
        if is_alone {
            kept.let_go();
        }
        let frame = ready!(kept.poll_next(cx));
        self.at = kept.data.len();
        self.has_trailers |= matches!(&frame, Some(Ok(frame)) if frame.is_trailers());
        Poll::Ready(frame)
    }

    pub fn is_end_stream(&self) -> bool {
        let kept = lock(&self.of);
        match kept.state {
            State::Whole => self.at >= kept.data.len() && (self.has_trailers || kept.trailers.is_none()),
            State::Lost => kept.source.is_end_stream(),
            State::Open => false,
        }
    }

    pub fn size_hint(&self) -> SizeHint {
        let kept = lock(&self.of);
        let here = kept.data.len().saturating_sub(self.at) as u64;
        match (kept.state, kept.source.size_hint().exact()) {
            (State::Whole, _) => SizeHint::with_exact(here),
            (_, Some(rest)) => SizeHint::with_exact(here + rest),
            (_, None) => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use tokio::sync::mpsc;

    use super::*;

    /// A body that a test sends piece by piece.
    fn source() -> (mpsc::Sender<Result<Frame<Bytes>, http1::Error>>, Body) {
        let (pieces, body) = mpsc::channel(16);
        (pieces, Body::relayed(body))
    }

    fn data(text: &'static str) -> Result<Frame<Bytes>, http1::Error> {
        Ok(Frame::data(Bytes::from_static(text.as_bytes())))
    }

    async fn next(body: &mut Body) -> String {
        match body.frame().await {
            Some(Ok(frame)) => String::from_utf8(frame.into_data().unwrap().into()).unwrap(),
            Some(Err(error)) => format!("broke off: {error}"),
            None => "end".into(),
        }
    }

    fn recorder(body: Body, limit: u64) -> (Recorder, Body) {
        let recorder = Recorder::new(body, limit).unwrap();
        let first = Body::replay(recorder.replay());
        (recorder, first)
    }

    #[tokio::test]
    async fn another_attempt_gets_what_was_kept_and_then_the_rest() {
        let (pieces, body) = source();
        let (recorder, mut first) = recorder(body, 8);
        pieces.send(data("abc")).await.unwrap();
        assert_eq!(next(&mut first).await, "abc", "it streams");
        pieces.send(data("def")).await.unwrap();
        assert_eq!(next(&mut first).await, "def");
        let mut second = Body::replay(recorder.replay());
        assert_eq!(next(&mut second).await, "abcdef");
        pieces.send(data("gh")).await.unwrap();
        assert_eq!(next(&mut second).await, "gh");
        assert!(next(&mut first).await.starts_with("gh"), "what is kept is for all");
        assert!(next(&mut first).await.starts_with("broke off"), "only the newest reads on");
        drop(pieces);
        assert_eq!(next(&mut second).await, "end");
        assert!(recorder.is_whole());
        assert_eq!(Body::replay(recorder.replay()).collect().await.unwrap().to_bytes(), "abcdefgh");
    }

    #[tokio::test]
    async fn trailers_are_kept() {
        let (pieces, body) = source();
        let (recorder, first) = recorder(body, 8);
        let trailers = HeaderMap::from_iter([(http::header::ETAG, "x".parse().unwrap())]);
        pieces.send(data("abc")).await.unwrap();
        pieces.send(Ok(Frame::trailers(trailers.clone()))).await.unwrap();
        let mut next = first;
        for _ in 0..2 {
            assert!(!next.is_end_stream());
            let collected = next.collect().await.unwrap();
            assert_eq!(collected.trailers(), Some(&trailers));
            assert_eq!(collected.to_bytes(), "abc");
            next = Body::replay(recorder.replay());
        }
    }

    #[tokio::test]
    async fn a_longer_body_streams_and_is_let_go_of() {
        let (pieces, body) = source();
        let (recorder, mut first) = recorder(body, 4);
        for piece in ["abc", "de", "f"] {
            pieces.send(data(piece)).await.unwrap();
            assert_eq!(next(&mut first).await, piece);
            assert_eq!(recorder.is_kept(), piece == "abc");
            assert!(lock(&recorder.0).data.capacity() <= 8, "nothing of it stays");
        }
        drop(pieces);
        assert_eq!(next(&mut first).await, "end");
        assert!(!recorder.is_whole());
    }

    #[tokio::test]
    async fn nothing_is_kept_that_cannot_be_used() {
        assert!(Recorder::new(Body::full("abcde"), 4).is_err(), "it says that it is too long");
        let (pieces, body) = source();
        let (recorder, mut first) = recorder(body, 100);
        pieces.send(data("abc")).await.unwrap();
        pieces.send(Err(http1::Error::Closed)).await.unwrap();
        assert_eq!(next(&mut first).await, "abc");
        assert!(next(&mut first).await.starts_with("broke off"));
        assert!(!recorder.is_kept(), "what broke off is not sent again");

        let (pieces, body) = source();
        let recorder = Recorder::new(body, 100).unwrap();
        let mut first = recorder.replay();
        drop(recorder);
        pieces.send(data("abc")).await.unwrap();
        std::future::poll_fn(|cx| first.poll_frame(cx)).await.unwrap().unwrap();
        assert!(lock(&first.of).data.is_empty(), "nobody would send it again");
    }

    #[test]
    fn every_attempt_says_the_same_length() {
        let (recorder, first) = recorder(Body::full("abc"), 4);
        assert_eq!(first.size_hint().exact(), Some(3));
        let cx = &mut Context::from_waker(std::task::Waker::noop());
        let mut first = first;
        assert!(Pin::new(&mut first).poll_frame(cx).is_ready());
        assert!(first.is_end_stream(), "the reader does not have to ask");
        assert_eq!(Body::replay(recorder.replay()).size_hint().exact(), Some(3));
    }
}

//! A look at what a body carries while it passes: it is neither held up nor changed.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body as _, Frame};

use super::body::{Body, BodyError, End};

/// Shown what passes, and told once how the body ended.
pub trait Tap: Send {
    fn data(&mut self, data: &Bytes);

    fn ended(self: Box<Self>, end: End<'_>);
}

pub struct Tapped {
    pub(super) body: Body,
    tap: Option<Box<dyn Tap>>,
}

impl Tapped {
    pub(super) fn new(body: Body, tap: Box<dyn Tap>) -> Self {
        Self { body, tap: Some(tap) }
    }

    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            None => self.end(End::Complete { trailers: None }),
            Some(Err(_)) => self.end(End::Failed),
            Some(Ok(frame)) => match (frame.data_ref(), frame.trailers_ref()) {
                (Some(data), _) => _ = self.tap.as_mut().map(|tap| tap.data(data)),
                (None, trailers) => self.end(End::Complete { trailers }),
            },
        }
        Poll::Ready(frame)
    }

    fn end(&mut self, end: End<'_>) {
        if let Some(tap) = self.tap.take() {
            tap.ended(end);
        }
    }
}

impl Drop for Tapped {
    fn drop(&mut self) {
        // A reader that sees the end coming does not have to ask for it.
        let is_over = self.body.is_end_stream();
        self.end(if is_over { End::Complete { trailers: None } } else { End::Dropped });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use http_body_util::BodyExt;

    use super::*;

    struct Seen(Sender<String>);

    impl Tap for Seen {
        fn data(&mut self, data: &Bytes) {
            self.0.send(String::from_utf8_lossy(data).into_owned()).unwrap();
        }

        fn ended(self: Box<Self>, end: End<'_>) {
            self.0.send(format!("{end:?}")).unwrap();
        }
    }

    #[tokio::test]
    async fn a_tap_sees_what_passes_and_how_it_ends() {
        let (seen, told) = channel();
        let body = Body::full("abc").tapped(Box::new(Seen(seen.clone())));
        assert_eq!(body.size_hint().exact(), Some(3));
        assert_eq!(body.collect().await.unwrap().to_bytes(), "abc");
        drop(Body::full("abc").tapped(Box::new(Seen(seen.clone()))));
        drop(Body::empty().tapped(Box::new(Seen(seen))));
        let complete = "Complete { trailers: None }";
        assert_eq!(told.iter().collect::<Vec<_>>(), ["abc", complete, "Dropped", complete]);
    }
}

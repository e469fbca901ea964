//! A body that is taken back if nobody has begun to read it: to send the request elsewhere, when not a byte of it was sent.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http_body::{Body as _, SizeHint};

use super::body::Body;

/// Shared by who reads the body and who has lent it.
#[derive(Clone)]
pub struct Lent(Arc<Mutex<Option<Body>>>);

impl Lent {
    pub(super) fn new(body: Body) -> Self {
        Self(Arc::new(Mutex::new(Some(body))))
    }

    /// The body, unless it was taken before: the first who asks gets it.
    pub fn take(&self) -> Option<Body> {
        self.lock().take()
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.lock().as_ref().is_some_and(Body::is_end_stream)
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        self.lock().as_ref().map(Body::size_hint).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Body>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn what_nobody_has_begun_to_read_comes_back() {
        let (body, lent) = Body::full("abc").lend();
        assert_eq!(body.size_hint().exact(), Some(3));
        drop(body);
        assert_eq!(lent.take().expect("untouched").collect().await.unwrap().to_bytes(), "abc");
        assert!(lent.take().is_none());
    }

    #[tokio::test]
    async fn what_somebody_has_begun_to_read_does_not() {
        let (mut body, lent) = Body::full("abc").lend();
        let frame = body.frame().await.expect("a frame").unwrap();
        assert_eq!(frame.into_data().unwrap(), "abc");
        assert!(lent.take().is_none() && body.is_end_stream());
    }
}

//! What an inbound proxy says in an answer of its own about the request: whether the application has got it, so that the
//! caller's side knows what it may send again.
//!
//! The marks are asserted fields (`weft-*`): no application can set them, and none gets to see them.

use http::{HeaderMap, HeaderName, HeaderValue};

const UNPROCESSED: HeaderName = HeaderName::from_static("weft-unprocessed");
const UNANSWERED: HeaderName = HeaderName::from_static("weft-unanswered");

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// The application has not got the request: anybody else may.
    Unprocessed,
    /// It may have got it; the connection ended before a byte of an answer.
    Unanswered,
}

impl Mark {
    pub fn set(self, headers: &mut HeaderMap) {
        headers.insert(self.name(), HeaderValue::from_static("1"));
    }

    /// The mark of an answer, which is to be believed of another sidecar only.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        [Self::Unprocessed, Self::Unanswered].into_iter().find(|mark| headers.contains_key(mark.name()))
    }

    fn name(self) -> HeaderName {
        match self {
            Self::Unprocessed => UNPROCESSED,
            Self::Unanswered => UNANSWERED,
        }
    }
}

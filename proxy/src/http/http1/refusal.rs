//! Why a message is not accepted, and what that means outside: status, metric label.

use http::StatusCode;

use super::{Error, head::MAX_FIELDS};

/// What is wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("its head is malformed")]
    Head,
    #[error("a line of its head ends with LF alone")]
    LoneLf,
    #[error("its head is too large")]
    HeadTooLarge,
    #[error("it has more than {MAX_FIELDS} header fields")]
    TooManyFields,
    #[error("its target is not valid")]
    Target,
    #[error("both content-length and transfer-encoding")]
    BothLengths,
    #[error("content-length is repeated or is not a number")]
    ContentLength,
    #[error("transfer-encoding is not exactly \"chunked\"")]
    TransferEncoding,
    #[error("the framing of a chunk is not valid")]
    Chunk,
    #[error("the trailers are not valid")]
    Trailers,
    /// What is left of the request could be taken for the other protocol.
    #[error("it switches protocols before it has got the request")]
    EarlySwitch,
    #[error("its head was not complete in time")]
    SlowHead,
    #[error("its body stood still for too long")]
    SlowBody,
    /// Nobody is answered: the answer has begun.
    #[error("its answer stood still for too long")]
    SlowAnswer,
}

impl Refusal {
    /// What a caller is answered whose request is refused.
    pub fn status(self) -> StatusCode {
        match self {
            Self::HeadTooLarge | Self::TooManyFields => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::SlowHead | Self::SlowBody | Self::SlowAnswer => StatusCode::REQUEST_TIMEOUT,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// The label of all that are not slow.
    pub const MALFORMED: &str = "malformed";

    /// The value of the metric label `reason`.
    pub fn label(self) -> &'static str {
        match self {
            Self::SlowHead => "slow_head",
            Self::SlowBody => "slow_body",
            Self::SlowAnswer => "slow_answer",
            _ => Self::MALFORMED,
        }
    }

    /// Whether the bytes themselves were wrong, rather than late.
    pub fn is_malformed(self) -> bool {
        self.label() == Self::MALFORMED
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Malformed(refusal)
    }
}

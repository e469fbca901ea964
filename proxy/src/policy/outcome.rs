//! What a finished request says about the health of who answered it.
//!
//! Decides which answers count as failures, for circuit breakers and for balancing. Whether a failure may be retried
//! is another question and is not answered here.

use std::fmt;

use http::{HeaderMap, StatusCode};

/// How a request ended, as its backend is judged by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Success,
    Failure(Cause),
    /// The caller went away, or nothing was sent: says nothing about the backend.
    Cancelled,
}

/// Why a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    ConnectRefused,
    ConnectTimeout,
    /// Any other failure to connect: no route, address not available, reset while connecting.
    ConnectFailed,
    /// The handshake failed, or the peer has another identity than the endpoint must have.
    Tls,
    /// The connection ended before the response did.
    Reset,
    /// No response in the time that the route allows.
    Timeout,
    /// What was received is not a valid response.
    Protocol,
    Status(StatusCode),
    Grpc(GrpcStatus),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ConnectRefused => f.write_str("connect refused"),
            Self::ConnectTimeout => f.write_str("connect timeout"),
            Self::ConnectFailed => f.write_str("connect failed"),
            Self::Tls => f.write_str("TLS handshake failed"),
            Self::Reset => f.write_str("connection closed before the response ended"),
            Self::Timeout => f.write_str("no response in time"),
            Self::Protocol => f.write_str("invalid response"),
            Self::Status(status) => write!(f, "status {}", status.as_u16()),
            Self::Grpc(status) => write!(f, "gRPC status {status}"),
        }
    }
}

/// A gRPC status code as it was received; codes outside 0 to 16 are kept and count as failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrpcStatus(pub u32);

impl GrpcStatus {
    pub const OK: Self = Self(0);
    pub const CANCELLED: Self = Self(1);
    pub const UNKNOWN: Self = Self(2);
    pub const DEADLINE_EXCEEDED: Self = Self(4);
    pub const INTERNAL: Self = Self(13);
    pub const UNAVAILABLE: Self = Self(14);
    pub const DATA_LOSS: Self = Self(15);
    const LAST: u32 = 16;

    /// The `grpc-status` of a response head ("trailers only") or of trailers; `None` when there is none yet.
    /// What is not a number is `UNKNOWN`, as the gRPC specification has it.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let value = headers.get("grpc-status")?;
        let code = value.to_str().ok().and_then(|text| text.parse().ok());
        Some(code.map_or(Self::UNKNOWN, Self))
    }

    fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::UNKNOWN => "UNKNOWN",
            Self::DEADLINE_EXCEEDED => "DEADLINE_EXCEEDED",
            Self::INTERNAL => "INTERNAL",
            Self::UNAVAILABLE => "UNAVAILABLE",
            Self::DATA_LOSS => "DATA_LOSS",
            _ => return None,
        })
    }
}

impl fmt::Display for GrpcStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{name} ({})", self.0),
            None => write!(f, "{}", self.0),
        }
    }
}

/// Judges a response that was received.
///
/// Failures are every 5xx, and of gRPC `UNAVAILABLE`, `INTERNAL`, `DEADLINE_EXCEEDED`, `DATA_LOSS` and `UNKNOWN`: the
/// last is what gRPC frameworks send for an exception that the application did not handle, the 500 of gRPC.
/// `UNIMPLEMENTED`, `RESOURCE_EXHAUSTED` and the like speak about the request, as 4xx does. `CANCELLED` is neither.
pub fn classify(status: StatusCode, grpc_status: Option<GrpcStatus>) -> Outcome {
    if status.is_server_error() {
        return Outcome::Failure(Cause::Status(status));
    }
    let Some(grpc) = grpc_status else { return Outcome::Success };
    match grpc {
        GrpcStatus::CANCELLED => Outcome::Cancelled,
        GrpcStatus::UNKNOWN
        | GrpcStatus::DEADLINE_EXCEEDED
        | GrpcStatus::INTERNAL
        | GrpcStatus::UNAVAILABLE
        | GrpcStatus::DATA_LOSS => Outcome::Failure(Cause::Grpc(grpc)),
        GrpcStatus(code) if code > GrpcStatus::LAST => Outcome::Failure(Cause::Grpc(grpc)),
        GrpcStatus(_) => Outcome::Success,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_errors_are_failures_and_client_errors_are_not() {
        for (status, failed) in
            [(200, false), (302, false), (404, false), (429, false), (500, true), (501, true), (599, true)]
        {
            let status = StatusCode::from_u16(status).unwrap();
            let outcome = classify(status, None);
            assert_eq!(outcome, if failed { Outcome::Failure(Cause::Status(status)) } else { Outcome::Success });
        }
    }

    #[test]
    fn grpc_failures_are_those_of_the_server() {
        let failures: Vec<u32> = (0..=17)
            .filter(|code| matches!(classify(StatusCode::OK, Some(GrpcStatus(*code))), Outcome::Failure(_)))
            .collect();
        assert_eq!(failures, [2, 4, 13, 14, 15, 17]);
        assert_eq!(classify(StatusCode::OK, Some(GrpcStatus::CANCELLED)), Outcome::Cancelled);
        assert_eq!(
            classify(StatusCode::BAD_GATEWAY, Some(GrpcStatus::OK)),
            Outcome::Failure(Cause::Status(StatusCode::BAD_GATEWAY))
        );
    }

    #[test]
    fn grpc_status_is_read_from_headers() {
        let mut headers = HeaderMap::new();
        assert_eq!(GrpcStatus::of(&headers), None);
        headers.insert("grpc-status", "14".parse().unwrap());
        assert_eq!(GrpcStatus::of(&headers), Some(GrpcStatus::UNAVAILABLE));
        headers.insert("grpc-status", "fourteen".parse().unwrap());
        assert_eq!(GrpcStatus::of(&headers), Some(GrpcStatus::UNKNOWN));
    }

    #[test]
    fn causes_read_as_a_person_says_them() {
        assert_eq!(Cause::Grpc(GrpcStatus::UNAVAILABLE).to_string(), "gRPC status UNAVAILABLE (14)");
        assert_eq!(Cause::Status(StatusCode::SERVICE_UNAVAILABLE).to_string(), "status 503");
    }
}

//! Why the sidecar could not do what a request asked, and what that means for everybody who wants to know: the
//! status that the caller gets, the `Proxy-Status` error type (RFC 9209), the gRPC status, the metric label.
//!
//! One exhaustive map and no wildcard arm: a new kind has to choose each of these.

use std::{fmt, time::Duration};

use http::StatusCode;

/// A request's failure, as far as this sidecar made it. Shown to callers: it holds no secrets.
#[derive(Debug)]
pub struct ProxyError {
    pub kind: Kind,
    /// What happened, in words, with the names of the objects involved.
    pub details: String,
    /// When it is worth to ask again.
    pub retry_after: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The request itself is malformed, or its body broke off.
    BadRequest,
    /// The request names no destination.
    NoAuthority,
    UnknownService,
    /// The control plane has not said anything about the destination yet.
    NoConfiguration,
    NoRoute,
    /// The route leads to something that does not exist.
    UnresolvedBackend,
    NoEndpoints,
    CircuitOpen,
    ConnectRefused,
    ConnectTimeout,
    ConnectFailed,
    /// The peer's certificate is not what the endpoint must have, or the peer refused ours.
    PeerNotTrusted,
    /// The connection broke before a response came.
    Reset,
    ResponseTimeout,
    /// The time was over before the caller had sent all of the request.
    UploadTimeout,
    UpgradeFailed,
    Unsupported,
}

impl ProxyError {
    pub fn new(kind: Kind, details: impl fmt::Display) -> Self {
        Self { kind, details: details.to_string(), retry_after: None }
    }
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.details)
    }
}

impl std::error::Error for ProxyError {}

/// What a kind of failure means outside.
#[derive(Clone, Copy, Debug)]
pub struct Meaning {
    pub status: StatusCode,
    /// The gRPC status code of the answer to a gRPC call.
    pub grpc: u8,
    /// RFC 9209, section 2.3.
    pub proxy_status: &'static str,
    /// The value of the metric label `reason`.
    pub label: &'static str,
}

impl Kind {
    #[rustfmt::skip] // a table
    pub fn meaning(self) -> Meaning {
        const INVALID_ARGUMENT: u8 = 3;
        const DEADLINE_EXCEEDED: u8 = 4;
        const UNIMPLEMENTED: u8 = 12;
        const INTERNAL: u8 = 13;
        const UNAVAILABLE: u8 = 14;
        let (status, grpc, proxy_status, label) = match self {
            Kind::BadRequest        => (400, INVALID_ARGUMENT,  "http_request_error",        "bad_request"),
            Kind::NoAuthority       => (400, INVALID_ARGUMENT,  "http_request_error",        "no_authority"),
            Kind::UnknownService    => (502, UNAVAILABLE,       "destination_not_found",     "unknown_service"),
            Kind::NoConfiguration   => (503, UNAVAILABLE,       "destination_unavailable",   "no_configuration"),
            Kind::NoRoute           => (404, UNIMPLEMENTED,     "destination_not_found",     "no_route"),
            Kind::UnresolvedBackend => (500, UNAVAILABLE,       "proxy_configuration_error", "unresolved_backend"),
            Kind::NoEndpoints       => (503, UNAVAILABLE,       "destination_unavailable",   "no_endpoints"),
            Kind::CircuitOpen       => (503, UNAVAILABLE,       "destination_unavailable",   "circuit_open"),
            Kind::ConnectRefused    => (503, UNAVAILABLE,       "connection_refused",        "connect_refused"),
            Kind::ConnectTimeout    => (504, UNAVAILABLE,       "connection_timeout",        "connect_timeout"),
            Kind::ConnectFailed     => (503, UNAVAILABLE,       "destination_unavailable",   "connect_failed"),
            Kind::PeerNotTrusted    => (502, UNAVAILABLE,       "tls_certificate_error",     "peer_not_trusted"),
            Kind::Reset             => (502, UNAVAILABLE,       "connection_terminated",     "reset"),
            Kind::ResponseTimeout   => (504, DEADLINE_EXCEEDED, "http_response_timeout",     "response_timeout"),
            Kind::UploadTimeout     => (504, DEADLINE_EXCEEDED, "http_response_timeout",     "upload_timeout"),
            Kind::UpgradeFailed     => (502, INTERNAL,          "http_upgrade_failed",       "upgrade_failed"),
            Kind::Unsupported       => (501, UNIMPLEMENTED,     "http_request_error",        "unsupported"),
        };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Meaning { status, grpc, proxy_status, label }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const ALL: [Kind; 17] = [
        Kind::BadRequest,
        Kind::NoAuthority,
        Kind::UnknownService,
        Kind::NoConfiguration,
        Kind::NoRoute,
        Kind::UnresolvedBackend,
        Kind::NoEndpoints,
        Kind::CircuitOpen,
        Kind::ConnectRefused,
        Kind::ConnectTimeout,
        Kind::ConnectFailed,
        Kind::PeerNotTrusted,
        Kind::Reset,
        Kind::ResponseTimeout,
        Kind::UploadTimeout,
        Kind::UpgradeFailed,
        Kind::Unsupported,
    ];

    #[test]
    fn every_kind_is_an_error_outside_and_has_a_label_of_its_own() {
        let labels: BTreeSet<_> = ALL.iter().map(|kind| kind.meaning().label).collect();
        assert_eq!(labels.len(), ALL.len());
        for kind in ALL {
            let status = kind.meaning().status;
            assert!(status.is_client_error() || status.is_server_error(), "{kind:?}");
            assert_ne!(kind.meaning().grpc, 0, "{kind:?}");
        }
    }
}

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
    /// The backend is given as much as it may be given at a time.
    BulkheadFull,
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
    /// The port has a policy for requests, and the connection carries none.
    NotHttp,
    /// The address is not of the mesh, and only the mesh may be reached.
    EgressDenied,
    /// The port takes mutual TLS only.
    PlaintextRefused,
    /// The sidecar was about to reach itself.
    Loop,
    /// There are as many connections as there may be.
    TooManyConnections,
    /// More requests came than a rate limit lets through.
    RateLimited,
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
    /// Whether it is found out before anything of the request is sent on.
    pub fn is_before_sending(self) -> bool {
        matches!(self, Self::NoEndpoints | Self::ConnectRefused | Self::ConnectTimeout | Self::ConnectFailed)
    }

    /// Whether nothing of the request that failed so was sent.
    pub fn is_unsent(self) -> bool {
        self.is_before_sending() || matches!(self, Self::CircuitOpen | Self::BulkheadFull | Self::PeerNotTrusted)
    }

    /// Whether the backend was not to be had, so that something else may answer in its place.
    pub fn is_of_the_backend(self) -> bool {
        self.is_unsent() || matches!(self, Self::Reset | Self::ResponseTimeout)
    }

    #[rustfmt::skip] // a table
    pub fn meaning(self) -> Meaning {
        const INVALID_ARGUMENT: u8 = 3;
        const PERMISSION_DENIED: u8 = 7;
        const DEADLINE_EXCEEDED: u8 = 4;
        const RESOURCE_EXHAUSTED: u8 = 8;
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
            // gRPC: as gRFC A32 has it for calls beyond a limit of the client.
            Kind::BulkheadFull      => (503, UNAVAILABLE,       "connection_limit_reached",  "bulkhead_full"),
            Kind::ConnectRefused    => (503, UNAVAILABLE,       "connection_refused",        "connect_refused"),
            Kind::ConnectTimeout    => (504, UNAVAILABLE,       "connection_timeout",        "connect_timeout"),
            Kind::ConnectFailed     => (503, UNAVAILABLE,       "destination_unavailable",   "connect_failed"),
            Kind::PeerNotTrusted    => (502, UNAVAILABLE,       "tls_certificate_error",     "peer_not_trusted"),
            Kind::Reset             => (502, UNAVAILABLE,       "connection_terminated",     "reset"),
            Kind::ResponseTimeout   => (504, DEADLINE_EXCEEDED, "http_response_timeout",     "response_timeout"),
            Kind::UploadTimeout     => (504, DEADLINE_EXCEEDED, "http_response_timeout",     "upload_timeout"),
            Kind::UpgradeFailed     => (502, INTERNAL,          "http_upgrade_failed",       "upgrade_failed"),
            Kind::Unsupported       => (501, UNIMPLEMENTED,     "http_request_error",        "unsupported"),
            Kind::NotHttp           => (400, INVALID_ARGUMENT,  "http_request_error",        "not_http"),
            Kind::EgressDenied      => (403, PERMISSION_DENIED, "destination_ip_prohibited", "egress_denied"),
            Kind::PlaintextRefused  => (403, PERMISSION_DENIED, "http_request_denied",       "plaintext_refused"),
            Kind::Loop              => (508, UNAVAILABLE,       "proxy_loop_detected",       "loop"),
            Kind::TooManyConnections => (503, UNAVAILABLE,      "connection_limit_reached",  "too_many_connections"),
            Kind::RateLimited       => (429, RESOURCE_EXHAUSTED, "http_request_denied",      "rate_limited"),
        };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Meaning { status, grpc, proxy_status, label }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const ALL: [Kind; 24] = [
        Kind::BadRequest,
        Kind::NoAuthority,
        Kind::UnknownService,
        Kind::NoConfiguration,
        Kind::NoRoute,
        Kind::UnresolvedBackend,
        Kind::NoEndpoints,
        Kind::CircuitOpen,
        Kind::BulkheadFull,
        Kind::ConnectRefused,
        Kind::ConnectTimeout,
        Kind::ConnectFailed,
        Kind::PeerNotTrusted,
        Kind::Reset,
        Kind::ResponseTimeout,
        Kind::UploadTimeout,
        Kind::UpgradeFailed,
        Kind::Unsupported,
        Kind::NotHttp,
        Kind::EgressDenied,
        Kind::PlaintextRefused,
        Kind::Loop,
        Kind::TooManyConnections,
        Kind::RateLimited,
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

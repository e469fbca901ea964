//! Faults that are made on purpose, to see how callers take them: which of a rule's requests wait, and which are
//! answered with a failure. Pure; the outbound path asks for each request and does what is decided.

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use rand::Rng;
use weft_proxy_api::policy::{self as api, MILLION};

use crate::route::matcher::HeaderTest;

#[derive(Debug)]
pub struct Fault {
    header: Option<HeaderTest>,
    delay: Option<api::Delay>,
    abort: Option<api::Abort>,
}

/// What befalls one request. The delay comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Injected {
    pub delay: Option<Duration>,
    pub abort: Option<Failure>,
}

/// The answer in the backend's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    pub status: StatusCode,
    /// For gRPC calls.
    pub grpc_code: u32,
}

impl Fault {
    pub fn new(fault: &api::Fault) -> Self {
        Self { header: fault.header.as_ref().map(HeaderTest::compile), delay: fault.delay, abort: fault.abort }
    }

    /// Delay and abort are drawn apart: a request can have both.
    pub fn decide(&self, headers: &HeaderMap, rng: &mut impl Rng) -> Injected {
        if self.header.as_ref().is_some_and(|header| !header.matches(headers)) {
            return Injected::default();
        }
        let mut drawn = |per_million| rng.random_range(0..MILLION) < per_million;
        Injected {
            delay: self.delay.filter(|delay| drawn(delay.per_million)).map(|delay| delay.of),
            abort: self.abort.filter(|abort| drawn(abort.per_million)).map(|abort| Failure {
                status: abort.status,
                grpc_code: abort.grpc_code.unwrap_or_else(|| grpc_code(abort.status)),
            }),
        }
    }
}

/// The gRPC status that an HTTP status stands for (gRPC, "HTTP to gRPC Status Code Mapping").
fn grpc_code(status: StatusCode) -> u32 {
    match status.as_u16() {
        400 => 13,                   // INTERNAL
        401 => 16,                   // UNAUTHENTICATED
        403 => 7,                    // PERMISSION_DENIED
        404 => 12,                   // UNIMPLEMENTED
        429 | 502 | 503 | 504 => 14, // UNAVAILABLE
        _ => 2,                      // UNKNOWN
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderName;
    use rand::{SeedableRng, rngs::StdRng};
    use weft_proxy_api::{
        policy::{Abort, Delay},
        route::{HeaderMatch, ValueMatch},
    };

    use super::*;

    const DELAY: Duration = Duration::from_millis(300);

    fn fault(header: Option<&str>, delayed: u32, aborted: u32) -> Fault {
        let abort = Abort { status: StatusCode::SERVICE_UNAVAILABLE, grpc_code: None, per_million: aborted };
        Fault::new(&api::Fault {
            header: header.map(|value| HeaderMatch {
                name: HeaderName::from_static("x-user"),
                value: ValueMatch::Exact(value.to_owned()),
            }),
            delay: Some(Delay { of: DELAY, per_million: delayed }),
            abort: Some(abort),
        })
    }

    #[test]
    fn all_none_and_a_share_of_the_requests() {
        let mut rng = StdRng::seed_from_u64(7);
        let headers = HeaderMap::new();
        for (delayed, aborted) in [(0, 0), (MILLION, 0), (0, MILLION), (MILLION, MILLION)] {
            let injected = fault(None, delayed, aborted).decide(&headers, &mut rng);
            assert_eq!((injected.delay.is_some(), injected.abort.is_some()), (delayed > 0, aborted > 0));
        }
        let tenth = fault(None, 0, MILLION / 10);
        let aborted = (0..10_000).filter(|_| tenth.decide(&headers, &mut rng).abort.is_some()).count();
        assert!((900..1100).contains(&aborted), "{aborted} of 10,000 at 10 %");
    }

    #[test]
    fn both_are_drawn_apart() {
        let mut rng = StdRng::seed_from_u64(7);
        let half = fault(None, MILLION / 2, MILLION / 2);
        let both = (0..10_000).map(|_| half.decide(&HeaderMap::new(), &mut rng));
        let both = both.filter(|injected| injected.delay.is_some() && injected.abort.is_some()).count();
        assert!((2300..2700).contains(&both), "{both} of 10,000 at a quarter");
    }

    #[test]
    fn only_requests_with_the_header() {
        let mut rng = StdRng::seed_from_u64(7);
        let fault = fault(Some("test"), MILLION, MILLION);
        let with = |value: &str| HeaderMap::from_iter([(HeaderName::from_static("x-user"), value.parse().unwrap())]);
        assert_eq!(fault.decide(&with("anna"), &mut rng), Injected::default());
        assert_eq!(fault.decide(&HeaderMap::new(), &mut rng), Injected::default());
        let failure = Failure { status: StatusCode::SERVICE_UNAVAILABLE, grpc_code: 14 };
        let both = Injected { delay: Some(DELAY), abort: Some(failure) };
        assert_eq!(fault.decide(&with("test"), &mut rng), both);
    }

    #[test]
    fn a_status_of_http_stands_for_one_of_grpc() {
        let codes = [400, 401, 403, 404, 429, 500, 502, 503, 504, 418];
        let codes = codes.map(|status| grpc_code(StatusCode::from_u16(status).unwrap()));
        assert_eq!(codes, [13, 16, 7, 12, 14, 2, 14, 14, 14, 2]);
    }
}

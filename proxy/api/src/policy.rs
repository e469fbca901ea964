//! Policies, as values; the proxy's engines enforce them. Each stands beside its wire form.

mod bulkhead;
mod circuit_breaker;
mod degradation;
mod health_check;
mod load_balancer;
mod rate_limit;
mod retry;
mod session;
mod shaping;
mod timeouts;

use std::time::Duration;

pub use bulkhead::Bulkhead;
pub use circuit_breaker::{CircuitBreaker, SlowCall};
pub use degradation::{Cache, FixedResponse};
pub use health_check::{CheckKind, HealthCheck};
pub use load_balancer::{Algorithm, HashKey, LoadBalancer};
pub use rate_limit::{RateKey, RateLimit};
pub use retry::{Backoff, Hedge, Retry, RetryBudget};
pub use session::{Carrier, Session};
pub use shaping::{Abort, AllowedOrigin, Cors, Delay, Fault, MILLION, Mirror};
pub use timeouts::Timeouts;

use crate::{
    proto::api::v1 as pb,
    wire::{WireError, each},
};

pub const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
pub const DEFAULT_MAX_EJECTED_PERCENT: u32 = 50;

/// What a rule does with its requests beside sending them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policies {
    pub timeouts: Timeouts,
    pub retry: Retry,
    pub mirrors: Vec<Mirror>,
    pub fault: Option<Fault>,
    pub cors: Option<Cors>,
    pub cache: Option<Cache>,
    pub session: Option<Session>,
    /// In the place of a failure of the mesh itself, when nothing else has answered.
    pub fallback_response: Option<FixedResponse>,
}

impl From<&Policies> for pb::Policies {
    fn from(value: &Policies) -> Self {
        Self {
            timeouts: Some((&value.timeouts).into()),
            retry: Some((&value.retry).into()),
            mirrors: value.mirrors.iter().map(Into::into).collect(),
            fault: value.fault.as_ref().map(Into::into),
            cors: value.cors.as_ref().map(Into::into),
            cache: value.cache.as_ref().map(Into::into),
            session: value.session.as_ref().map(Into::into),
            fallback_response: value.fallback_response.as_ref().map(Into::into),
        }
    }
}

impl TryFrom<pb::Policies> for Policies {
    type Error = WireError;

    fn try_from(wire: pb::Policies) -> Result<Self, WireError> {
        let within = |field: &'static str| move |e: WireError| e.within(field);
        Ok(Self {
            timeouts: wire.timeouts.unwrap_or_default().into(),
            retry: wire.retry.unwrap_or_default().try_into().map_err(within("retry"))?,
            mirrors: each(wire.mirrors, "mirrors", TryInto::try_into)?,
            fault: wire.fault.map(TryInto::try_into).transpose().map_err(within("fault"))?,
            cors: wire.cors.map(TryInto::try_into).transpose().map_err(within("cors"))?,
            cache: wire.cache.map(Into::into),
            session: wire.session.map(TryInto::try_into).transpose().map_err(within("session"))?,
            fallback_response: wire
                .fallback_response
                .map(TryInto::try_into)
                .transpose()
                .map_err(within("fallback_response"))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue, Method, StatusCode};

    use super::*;
    use crate::{
        ServicePort,
        route::{HeaderMatch, Target, ValueMatch},
    };

    #[test]
    fn survive_the_wire() {
        let header = HeaderName::from_static("x-user");
        let policies = Policies {
            timeouts: Timeouts {
                request_is_default: false,
                idle: Some(Duration::from_secs(5)),
                total: Some(Duration::from_secs(35)),
                ..Timeouts::default()
            },
            retry: Retry {
                grpc_codes: vec![14],
                backoff: Backoff::Fixed(Duration::from_millis(20)),
                hedge: Some(Hedge { after: Duration::from_millis(50), attempts: 1 }),
                ..Retry::default()
            },
            mirrors: vec![Mirror {
                target: Target::Backend(ServicePort::new("shop", "orders-v2", 80)),
                per_million: 5000,
            }],
            fault: Some(Fault {
                header: Some(HeaderMatch { name: header.clone(), value: ValueMatch::Exact("test".into()) }),
                delay: Some(Delay { of: Duration::from_millis(300), per_million: MILLION }),
                abort: Some(Abort { status: StatusCode::SERVICE_UNAVAILABLE, grpc_code: Some(0), per_million: 10_000 }),
            }),
            cors: Some(Cors {
                allow_origins: vec![AllowedOrigin::Any, AllowedOrigin::new("https://*.Example.com")],
                allow_methods: Some(vec![Method::GET]),
                allow_headers: None,
                expose_headers: vec![header.clone()],
                allow_credentials: true,
                max_age: Some(Duration::from_secs(600)),
            }),
            cache: Some(Cache { serve_fresh: true, stale_if_error: Some(Duration::from_secs(60)), ..Cache::default() }),
            session: Some(Session {
                carrier: Carrier::Cookie { name: "seat".into(), permanent: true },
                absolute: Some(Duration::from_secs(3600)),
                idle: None,
            }),
            fallback_response: Some(FixedResponse {
                status: StatusCode::OK,
                headers: vec![(header, HeaderValue::from_static("1"))],
                body: "[]".into(),
            }),
        };
        assert_eq!(Policies::try_from(pb::Policies::from(&policies)), Ok(policies));
        for algorithm in [Algorithm::Random, Algorithm::Maglev(HashKey::Source)] {
            let balancer = LoadBalancer { panic_percent: Some(30), ..algorithm.into() };
            assert_eq!(LoadBalancer::try_from(pb::LoadBalancer::from(&balancer)), Ok(balancer));
        }
        let breaker = CircuitBreaker {
            slow_call: Some(SlowCall { longer_than: Duration::from_secs(1), rate_percent: 80 }),
            dry_run: true,
            ..CircuitBreaker::default()
        };
        assert_eq!(CircuitBreaker::try_from(pb::CircuitBreaker::from(&breaker)), Ok(breaker));
    }

    #[test]
    fn an_origin_is_allowed_whole() {
        let wildcard = AllowedOrigin::new("https://*.example.com");
        assert!(wildcard.is("https://shop.Example.com"));
        for other in ["https://.example.com", "http://shop.example.com", "https://shop.example.com.evil.org"] {
            assert!(!wildcard.is(other), "{other}");
        }
        assert!(AllowedOrigin::new("https://shop.example.com").is("https://shop.example.com"));
        assert!(!AllowedOrigin::new("https://shop.example.com").is("https://shop.example.com:8443"));
    }
}

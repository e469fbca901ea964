//! Whether a request, or a connection that is carried as bytes, may go to its backend: leave from the circuit breaker and
//! from the bulkhead; else from those of its fallback; else it is refused at once, with the reason.

use std::{sync::Arc, time::Instant};

use http::HeaderValue;
use weft_proxy_api::route::Origin;

use crate::{
    error::{Kind, ProxyError},
    http::{answer, proxy_status::ProxyStatus},
    mesh::{
        Backend,
        backend::{Leave, Refused},
        compile::{Share, To},
    },
    policy::bulkhead,
    telemetry::metrics::Direction,
};

/// A backend that takes the request.
pub(super) struct Admitted {
    pub(super) backend: Arc<Backend>,
    pub(super) leave: Leave,
    pub(super) instead_of: Option<InsteadOf>,
}

/// The backend that the request was for, when its fallback takes it.
pub(super) struct InsteadOf {
    backend: Arc<Backend>,
    refused: Refused,
}

impl InsteadOf {
    /// The failure of the backend, as it would be without a fallback.
    pub(super) fn error(&self) -> ProxyError {
        error(&self.backend, self.refused, Instant::now())
    }

    /// What the response says about it.
    pub(super) fn note(&self, used: &Backend) -> HeaderValue {
        let Self { backend, refused } = self;
        let because = match refused {
            Refused::Circuit(_) => "circuit open",
            Refused::Bulkhead(_) => "bulkhead full",
        };
        let details = format!("{because} for {}, answered by its fallback {}", backend.label, used.label);
        ProxyStatus::new(answer::name(Direction::Outbound)).next_hop(&used.label).details(&details).to_header_value()
    }
}

/// Leave from the backend or from its fallback. A request may have to wait for that, until its time is over.
pub(super) async fn admit(
    share: &Share,
    origin: &Origin,
    now: Instant,
    until: Option<Instant>,
) -> Result<Admitted, ProxyError> {
    let (backend, fallback) = match &share.to {
        To::Nowhere(reason) => {
            return Err(ProxyError::new(Kind::UnresolvedBackend, format_args!("{origin}: {reason}")));
        }
        To::Backend { backend, fallback } => (backend, fallback),
    };
    match backend.admit(now, until).await {
        Ok(leave) => Ok(Admitted { backend: backend.clone(), leave, instead_of: None }),
        Err(refused) => Box::pin(fall_back(backend, fallback.as_ref(), refused, until)).await,
    }
}

async fn fall_back(
    backend: &Arc<Backend>,
    fallback: Option<&Arc<Backend>>,
    refused: Refused,
    until: Option<Instant>,
) -> Result<Admitted, ProxyError> {
    let now = Instant::now();
    let Some(fallback) = fallback else { return Err(error(backend, refused, now)) };
    match fallback.admit(now, until).await {
        Ok(leave) => {
            let instead_of = Some(InsteadOf { backend: backend.clone(), refused });
            Ok(Admitted { backend: fallback.clone(), leave, instead_of })
        }
        Err(also) => {
            let (refused, also) = (error(backend, refused, now), error(fallback, also, now));
            let details = format!("{}; nor can its fallback take the request: {}", refused.details, also.details);
            Err(ProxyError { details, ..refused })
        }
    }
}

fn error(backend: &Backend, refused: Refused, now: Instant) -> ProxyError {
    let label = &backend.label;
    match refused {
        Refused::Circuit(rejected) => ProxyError {
            kind: Kind::CircuitOpen,
            details: format!("the circuit of {label} is open: {}", backend.breaker.status(now).cause),
            retry_after: Some(rejected.retry_after),
        },
        Refused::Bulkhead(full) => ProxyError {
            kind: Kind::BulkheadFull,
            details: format!("the bulkhead of {label} is full: {full}"),
            retry_after: Some(bulkhead::RETRY_AFTER),
        },
    }
}

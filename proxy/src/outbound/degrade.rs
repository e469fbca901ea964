//! What answers when a backend is not to be had. In this order, each where a policy has it:
//!
//! 1. an answer that was stored before, in the place of a failure or of a 500, 502, 503 or 504;
//! 2. the backend's fallback: the request goes there, if nothing of it was sent, or if it has no body and may be done
//!    twice (RFC 9110, section 9.2.2). What was read of a body cannot be sent again;
//! 3. the rule's fixed response, in the place of a failure of the mesh itself;
//! 4. the error.
//!
//! With an answer of the first kind at hand the request does not go to a fallback. A gRPC call gets neither 1 nor 3, which
//! are messages of HTTP, and nor does a request to switch the protocol. Whatever answers, `Proxy-Status` says what failed
//! and who stood in.

use std::{sync::Arc, time::Instant};

use http::{HeaderValue, Method, Request, Response, request::Parts};
use weft_proxy_api::{policy::FixedResponse, route::Origin};

use super::{
    attempt::{self, Call},
    forward::hop,
};
use crate::{
    balance::Endpoint,
    error::ProxyError,
    http::{
        answer,
        body::Body,
        lent::Lent,
        proxy_status::{PROXY_STATUS, ProxyStatus},
    },
    mesh::{
        Backend,
        backend::Refused,
        compile::{Share, To},
    },
    telemetry::{Exchange, metrics::Direction},
};

/// Marks a response that a fallback gave.
#[derive(Clone, Copy, Debug)]
pub(super) struct ByFallback;

/// A request that can go to its backend's fallback.
pub(super) struct Spare {
    fallback: Arc<Backend>,
    head: Parts,
    /// `None`: it has none.
    body: Option<Lent>,
}

impl Spare {
    /// Keeps what is needed to send the request once more, where the share has a fallback.
    pub fn of(share: &Share, parts: &Parts, body: &mut Body) -> Option<Box<Self>> {
        let To::Backend { fallback: Some(fallback), .. } = &share.to else { return None };
        let lent = match http_body::Body::is_end_stream(body) {
            true => None,
            false => {
                let (reading, lent) = std::mem::replace(body, Body::empty()).lend();
                *body = reading;
                Some(lent)
            }
        };
        Some(Box::new(Self { fallback: fallback.clone(), head: copy_of(parts), body: lent }))
    }

    /// Sends the request to the fallback; the answer, who gave it, and what it says about that.
    ///
    /// # Errors
    /// The error that the backend has failed with, and why its fallback does not help.
    pub async fn send(
        self: Box<Self>,
        call: Call<'_>,
        error: ProxyError,
        exchange: &mut Exchange,
    ) -> Result<(Response<Body>, Arc<Endpoint>, HeaderValue), ProxyError> {
        let now = Instant::now();
        let Some(body) = self.body_for(&error).filter(|_| call.deadline.at().is_none_or(|end| now < end)) else {
            return Err(error);
        };
        let Self { fallback, head, .. } = *self;
        let also = |also: &str| ProxyError { details: format!("{}; its fallback: {also}", error.details), ..error };
        let leave = match fallback.admit(now, call.deadline.at()).await {
            Ok(leave) => leave,
            Err(Refused::Circuit(_)) => return Err(also("its circuit is open, too")),
            Err(Refused::Bulkhead(full)) => return Err(also(&format!("its bulkhead is full: {full}"))),
        };
        let hop = hop(&head, fallback.settings.protocol, None);
        let request = attempt::prepare(head, body, hop, None)?;
        exchange.answered_by(&fallback.label, &fallback.requests);
        let call = Call { backend: &fallback, hop, ..call };
        match call.send(leave, request, exchange).await {
            Ok((response, endpoint)) => {
                let note = fallback_note(&error.details, &fallback);
                tracing::debug!(fallback = %fallback.label, %error, "the fallback has answered");
                Ok((response, endpoint, note))
            }
            Err(second) => Err(also(&second.details)),
        }
    }

    /// The body to send once more, if the request may be sent once more after this failure.
    fn body_for(&self, error: &ProxyError) -> Option<Body> {
        let may_have_been_sent = !error.kind.is_unsent();
        if !error.kind.is_of_the_backend() || may_have_been_sent && !self.head.method.is_idempotent() {
            return None;
        }
        match &self.body {
            None => Some(Body::empty()),
            Some(_) if may_have_been_sent => None,
            Some(lent) => lent.take(),
        }
    }
}

/// What the answer of a fallback says about it.
fn fallback_note(failed: &str, used: &Backend) -> HeaderValue {
    let details = format!("{failed}, answered by its fallback {}", used.label);
    ProxyStatus::new(answer::name(Direction::Outbound)).next_hop(&used.label).details(&details).to_header_value()
}

/// The fixed response of a rule in the place of a failure.
pub(super) fn fixed(fixed: &FixedResponse, method: &Method, error: &ProxyError, origin: &Origin) -> Response<Body> {
    let mut response = Response::new(match *method {
        Method::HEAD => Body::empty(),
        _ => Body::full(fixed.body.clone()),
    });
    *response.status_mut() = fixed.status;
    let headers = response.headers_mut();
    for (name, value) in &fixed.headers {
        headers.append(name, value.clone());
    }
    let details = format!("{}, answered by the fixed response of {origin}", error.details);
    let reason = ProxyStatus::new(answer::name(Direction::Outbound)).error(error.kind.meaning().proxy_status);
    headers.insert(PROXY_STATUS, reason.details(&details).to_header_value());
    response
}

/// The same head, without what the connection has attached to it.
pub(super) fn copy_of(parts: &Parts) -> Parts {
    let mut copy = Request::new(()).into_parts().0;
    copy.method.clone_from(&parts.method);
    copy.uri.clone_from(&parts.uri);
    copy.headers.clone_from(&parts.headers);
    copy.version = parts.version;
    copy
}

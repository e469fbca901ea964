//! One request on its way out. This function is the table of contents of the product: every thing that can happen to
//! a request on the caller's side is named here, in the order in which it happens.

use std::{sync::Arc, time::Instant};

use http::{HeaderValue, Request, Response, Version, header, request::Parts, uri::Authority};
use weft_certs::SpiffeId;
use weft_proxy_api::{
    destination::Protocol,
    route::{Filters, Origin, Redirect},
};

use super::{Connection, Outbound, attempt, authority::Addressed};
use crate::{
    error::{Kind, ProxyError},
    http::{
        answer,
        body::Body,
        headers,
        proxy_status::{PROXY_STATUS, ProxyStatus},
        upgrade,
    },
    mesh::{
        Backend, Destination,
        compile::{Action, Forward, Rule, Share, To},
    },
    net::Hop,
    policy::circuit_breaker::Guard,
    telemetry::{Exchange, metrics::Direction},
};

pub(super) async fn forward(
    connection: &Connection,
    mut request: Request<Body>,
    exchange: &mut Exchange,
) -> Result<Response<Body>, ProxyError> {
    let cx = &connection.cx;
    let switch = upgrade::asked(&mut request);
    let (mut parts, body) = request.into_parts();

    let to = connection.addressed(&parts)?;
    let destination = find(cx, &to).await?; // one Arc for the whole request
    let (rule, prefix) = route(&destination, &parts)?;
    let forward = match &rule.action {
        Action::Forward(forward) => forward,
        Action::Redirect(redirect) => return redirected(redirect, &parts, &to.authority, prefix, &rule.origin),
    };
    let share = pick(forward, &parts, &rule.origin)?; // weights; by the user's key when asked
    let Admitted { backend, guard, instead_of } = admit(share, &rule.origin, exchange.started())?; // circuit breaker, fallback
    exchange.answered_by(&backend.label, &backend.requests);

    let filters = [&rule.filters, &share.filters];
    change_request(&mut parts, &to.host, filters, prefix)
        .map_err(|e| ProxyError::new(Kind::UnresolvedBackend, format_args!("{}: {e}", rule.origin)))?;
    let hop = hop(&parts, backend.settings.protocol, switch.is_some());
    let deadline = attempt::Deadline::start(&rule.timeouts, &parts.headers, exchange.started());
    let (request, sent) = attempt::prepare(parts, body, hop, switch.as_ref().map(|switch| &switch.protocol))?;

    let call = attempt::Call { cx, backend: &backend, hop, deadline, sent };
    let (mut response, endpoint) = call.send(guard, request, exchange).await?; // pick endpoint → pool → mTLS → send

    let granted = upgrade::granted(&response);
    change_response(&mut response, filters, endpoint.target.identity.as_ref());
    if let Some(open) = instead_of {
        response.headers_mut().append(PROXY_STATUS, fallback_note(&open, &backend));
    }
    upgrade::finish(response, granted, switch, || cx.drain.place())
}

/// The destination that the authority names.
async fn find(cx: &Outbound, to: &Addressed) -> Result<Arc<Destination>, ProxyError> {
    let found = match cx.mesh.known(&to.name) {
        Some(known) => known,
        None => Box::pin(cx.mesh.destination(&to.name, cx.discovery_timeout)).await,
    };
    found.map_err(|e| ProxyError { details: format!("{}: {}", to.authority, e.details), ..e })
}

/// The rule that the request falls under, and the length of the path prefix that matched.
fn route<'a>(destination: &'a Destination, parts: &Parts) -> Result<(&'a Rule, Option<usize>), ProxyError> {
    let matched = destination.routes.find(&parts.method, &parts.uri, &parts.headers);
    matched.and_then(|matched| Some((destination.rules.get(matched.rule)?, matched.matched_prefix_len))).ok_or_else(
        || ProxyError::new(Kind::NoRoute, format_args!("no route of {} matches the request", destination.name)),
    )
}

/// What the callee gets of the head: nothing that was for this hop only or that a caller may not say, and what the
/// filters make of the rest.
fn change_request(
    parts: &mut Parts,
    host: &HeaderValue,
    filters: [&Filters; 2],
    prefix: Option<usize>,
) -> Result<(), headers::InvalidRewrite> {
    headers::strip_hop_by_hop(&mut parts.headers);
    headers::strip_asserted(&mut parts.headers);
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    if hosts.next() != Some(host) || hosts.next().is_some() {
        parts.headers.insert(header::HOST, host.clone());
    }
    for filters in filters {
        headers::apply(&filters.request, &mut parts.headers);
        if let Some(rewrite) = &filters.rewrite {
            headers::rewrite(rewrite, parts, prefix)?;
        }
    }
    Ok(())
}

/// What the caller gets of the head, and whom this side has verified.
fn change_response(response: &mut Response<Body>, filters: [&Filters; 2], verified: Option<&SpiffeId>) {
    *response.version_mut() = Version::HTTP_11; // of this hop, whatever the one before spoke
    let headers = response.headers_mut();
    headers::strip_hop_by_hop(headers);
    headers::strip_asserted(headers);
    for filters in filters {
        headers::apply(&filters.response, headers);
    }
    if let Some(id) = verified.and_then(|id| HeaderValue::from_str(id.as_str()).ok()) {
        headers.insert(headers::SERVER_ID, id);
    }
}

/// Which share of the rule the request belongs to: by weight, or by the user's key.
fn pick<'a>(forward: &'a Forward, parts: &Parts, origin: &Origin) -> Result<&'a Share, ProxyError> {
    forward.split.pick(&parts.headers, rand::random()).and_then(|index| forward.shares.get(index)).ok_or_else(|| {
        ProxyError::new(Kind::UnresolvedBackend, format_args!("{origin} has no backend with a weight above 0"))
    })
}

/// A backend whose circuit lets the request through.
struct Admitted {
    backend: Arc<Backend>,
    guard: Guard,
    /// The backend that the request was for, when its circuit is open and this is its fallback.
    instead_of: Option<Arc<Backend>>,
}

fn admit(share: &Share, origin: &Origin, now: Instant) -> Result<Admitted, ProxyError> {
    let (backend, fallback) = match &share.to {
        To::Nowhere(reason) => {
            return Err(ProxyError::new(Kind::UnresolvedBackend, format_args!("{origin}: {reason}")));
        }
        To::Backend { backend, fallback } => (backend, fallback),
    };
    let rejected = match backend.admit(now) {
        Ok(guard) => return Ok(Admitted { backend: backend.clone(), guard, instead_of: None }),
        Err(rejected) => rejected,
    };
    if let Some(fallback) = fallback
        && let Ok(guard) = fallback.admit(now)
    {
        return Ok(Admitted { backend: fallback.clone(), guard, instead_of: Some(backend.clone()) });
    }
    let also = fallback.as_ref().map(|f| format!(", and so is that of its fallback {}", f.label)).unwrap_or_default();
    Err(ProxyError {
        kind: Kind::CircuitOpen,
        details: format!("the circuit of {} is open: {}{also}", backend.label, backend.breaker.status(now).cause),
        retry_after: Some(rejected.retry_after),
    })
}

/// The protocol of the next hop: as the caller speaks, unless the backend's port is declared to speak another.
fn hop(parts: &Parts, declared: Protocol, switching: bool) -> Hop {
    match declared {
        _ if switching => Hop::Http1,
        Protocol::Http1 => Hop::Http1Streams,
        Protocol::Http2 | Protocol::Grpc => Hop::Http2,
        Protocol::Detect if parts.version == Version::HTTP_2 => Hop::Http2,
        Protocol::Detect => Hop::Http1Streams,
    }
}

fn redirected(
    redirect: &Redirect,
    parts: &Parts,
    authority: &Authority,
    prefix: Option<usize>,
    origin: &Origin,
) -> Result<Response<Body>, ProxyError> {
    let location = headers::redirect_location(redirect, &parts.uri, authority.as_str(), "http", prefix)
        .map_err(|e| ProxyError::new(Kind::UnresolvedBackend, format_args!("{origin}: {e}")))?;
    let details = format!("redirected by {origin}");
    let reason = ProxyStatus::new(answer::name(Direction::Outbound)).details(&details).to_header_value();
    let mut response = Response::new(Body::empty());
    *response.status_mut() = redirect.status;
    response.headers_mut().insert(PROXY_STATUS, reason);
    response.headers_mut().insert(header::LOCATION, location);
    Ok(response)
}

fn fallback_note(open: &Backend, used: &Backend) -> HeaderValue {
    let details = format!("circuit open for {}, answered by its fallback {}", open.label, used.label);
    ProxyStatus::new(answer::name(Direction::Outbound)).next_hop(&used.label).details(&details).to_header_value()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callee_gets_the_one_host_that_was_addressed() {
        for hosts in [&["orders"][..], &["orders", "evil"], &["evil", "orders"], &[]] {
            let mut request = Request::get("http://orders/");
            for host in hosts {
                request = request.header(header::HOST, *host);
            }
            let (mut parts, ()) = request.body(()).unwrap().into_parts();
            let none = Filters::default();
            change_request(&mut parts, &HeaderValue::from_static("orders"), [&none, &none], None).unwrap();
            assert_eq!(parts.headers.get_all(header::HOST).iter().collect::<Vec<_>>(), ["orders"], "{hosts:?}");
        }
    }
}

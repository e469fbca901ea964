//! One request on its way out. This function is the table of contents of the product: every thing that can happen to
//! a request on the caller's side is named here, in the order in which it happens.

use std::{sync::Arc, time::Instant};

use http::{HeaderValue, Request, Response, Version, header, request::Parts};
use hyper::body::Incoming;
use weft_proxy_api::{destination::Protocol, route::Origin};

use super::{Connection, attempt, authority};
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
        Backend,
        compile::{Action, Forward, Share, To},
    },
    net::Hop,
    policy::circuit_breaker::Guard,
    telemetry::{Exchange, metrics::Direction},
};

pub(super) async fn forward(
    connection: &Connection,
    mut request: Request<Incoming>,
    exchange: &mut Exchange,
) -> Result<Response<Body>, ProxyError> {
    let cx = &connection.cx;
    let switch = upgrade::protocol(request.headers())
        .filter(|_| request.version() == Version::HTTP_11)
        .map(|protocol| (protocol, hyper::upgrade::on(&mut request)));
    let (mut parts, body) = request.into_parts();

    let authority = authority::of(&parts, connection.tunnel.as_ref())?;
    let name = authority::service_port(&authority, &cx.namespace)?;
    let destination = cx.mesh.destination(&name, cx.discovery_timeout).await; // one Arc for the whole request
    let destination = destination.map_err(|e| ProxyError { details: format!("{authority}: {}", e.details), ..e })?;
    let matched = destination
        .routes
        .find(&parts.method, &parts.uri, &parts.headers)
        .ok_or_else(|| ProxyError::new(Kind::NoRoute, format_args!("no route of {name} matches the request")))?;
    let rule = destination
        .rules
        .get(matched.rule)
        .ok_or_else(|| ProxyError::new(Kind::NoRoute, format_args!("{name} has no such rule")))?;

    let forward = match &rule.action {
        Action::Redirect(redirect) => {
            let location = headers::redirect_location(
                redirect,
                &parts.uri,
                authority.as_str(),
                "http",
                matched.matched_prefix_len,
            )
            .map_err(|e| ProxyError::new(Kind::UnresolvedBackend, format_args!("{}: {e}", rule.origin)))?;
            return Ok(redirected(redirect.status, location, &rule.origin));
        }
        Action::Forward(forward) => forward,
    };
    let share = pick(forward, &parts, &rule.origin)?;
    let Admitted { backend, guard, instead_of } = admit(share, &rule.origin)?;
    exchange.answered_by(&backend.label, &backend.requests);

    headers::strip_hop_by_hop(&mut parts.headers);
    headers::strip_asserted(&mut parts.headers);
    authority::set_host(&mut parts.headers, &authority);
    for filters in [&rule.filters, &share.filters] {
        headers::apply(&filters.request, &mut parts.headers);
        if let Some(rewrite) = &filters.rewrite {
            headers::rewrite(rewrite, &mut parts, matched.matched_prefix_len)
                .map_err(|e| ProxyError::new(Kind::UnresolvedBackend, format_args!("{}: {e}", rule.origin)))?;
        }
    }
    let hop = hop(&parts, backend.settings.protocol, switch.is_some());
    let deadline = attempt::Deadline::start(&rule.timeouts, &parts.headers);
    let (request, sent) = attempt::prepare(parts, body, hop, switch.as_ref().map(|(protocol, _)| protocol))?;

    let call = attempt::Call { cx, backend: &backend, hop, deadline, sent };
    let (mut response, endpoint) = call.send(guard, request, exchange).await?;

    let switched = upgrade::is_switch(&response);
    let granted = if switched { upgrade::protocol(response.headers()) } else { None };
    *response.version_mut() = Version::HTTP_11; // of this hop, whatever the one before spoke
    let headers = response.headers_mut();
    headers::strip_hop_by_hop(headers);
    headers::strip_asserted(headers);
    for filters in [&rule.filters, &share.filters] {
        headers::apply(&filters.response, headers);
    }
    if let Some(id) = endpoint.target.identity.as_ref().and_then(|id| HeaderValue::from_str(id.as_str()).ok()) {
        headers.insert(headers::SERVER_ID, id);
    }
    if let Some(open) = instead_of {
        headers.append(PROXY_STATUS, fallback_note(&open, &backend));
    }
    match (switched, switch) {
        (true, Some((protocol, caller))) => {
            upgrade::set(headers, granted.unwrap_or(protocol));
            Ok(upgrade::join(response, caller, cx.drain.place()))
        }
        (true, None) => Err(ProxyError::new(Kind::UpgradeFailed, "the backend switched protocols without being asked")),
        (false, _) => Ok(response),
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

fn admit(share: &Share, origin: &Origin) -> Result<Admitted, ProxyError> {
    let (backend, fallback) = match &share.to {
        To::Nowhere(reason) => {
            return Err(ProxyError::new(Kind::UnresolvedBackend, format_args!("{origin}: {reason}")));
        }
        To::Backend { backend, fallback } => (backend, fallback),
    };
    let now = Instant::now();
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
        Protocol::Http1 => Hop::Http1,
        Protocol::Http2 | Protocol::Grpc => Hop::Http2,
        Protocol::Detect if parts.version == Version::HTTP_2 => Hop::Http2,
        Protocol::Detect => Hop::Http1,
    }
}

fn redirected(status: http::StatusCode, location: HeaderValue, origin: &Origin) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    let details = format!("redirected by {origin}");
    let headers = response.headers_mut();
    headers
        .insert(PROXY_STATUS, ProxyStatus::new(answer::name(Direction::Outbound)).details(&details).to_header_value());
    headers.insert(header::LOCATION, location);
    response
}

fn fallback_note(open: &Backend, used: &Backend) -> HeaderValue {
    let details = format!("circuit open for {}, answered by its fallback {}", open.label, used.label);
    ProxyStatus::new(answer::name(Direction::Outbound)).next_hop(&used.label).details(&details).to_header_value()
}

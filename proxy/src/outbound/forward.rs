//! One request on its way out. This function is the table of contents of the product: every thing that can happen to
//! a request on the caller's side is named here, in the order in which it happens.

use std::{sync::Arc, time::SystemTime};

use http::{HeaderMap, HeaderValue, Method, Request, Response, Version, header, request::Parts, uri::Authority};
use weft_certs::SpiffeId;
use weft_proxy_api::{
    destination::Protocol,
    route::{Filters, Origin, Redirect},
};

use super::{
    Aim, Connection, Outbound,
    admit::{Admitted, admit},
    attempt,
    authority::Addressed,
    degrade::{ByFallback, Spare},
    shaping,
};
use crate::{
    balance::{self, Affinity, Source},
    error::{Kind, ProxyError},
    http::{
        answer,
        body::Body,
        headers,
        proxy_status::{PROXY_STATUS, ProxyStatus},
        upgrade::{self, Switch},
    },
    mesh::{
        Backend, Destination,
        compile::{Action, Forward, Rule, Share},
    },
    net::Hop,
    policy::{
        cors,
        session::{Place, Visit},
    },
    telemetry::{Exchange, metrics::Direction},
};

pub(super) async fn forward(
    connection: &Connection,
    mut request: Request<Body>,
    exchange: &mut Exchange,
) -> Result<Response<Body>, ProxyError> {
    let cx = &connection.cx;
    let switch = upgrade::asked(&mut request);
    let (parts, body) = request.into_parts();

    let to = connection.addressed(&parts)?;
    let destination = find(connection, &to).await?; // one Arc for the whole request
    let (rule, prefix) = route(&destination, &parts)?;
    let forward = match &rule.action {
        Action::Forward(forward) => forward,
        Action::Redirect(redirect) => return redirected(redirect, &parts, &to.authority, prefix, &rule.origin),
    };
    let visit =
        rule.policies.session.as_ref().map(|session| Box::new(Visit::of(session, &parts.headers, SystemTime::now())));
    let session = visit.as_ref().and_then(|visit| visit.place());
    let source = connection.source();
    let passage = Passage { cx, rule, forward, to: &to, prefix, session, source, parts, body, switch };
    let mut response = match &rule.shaping {
        None => {
            let share = passage.share()?; // the session's; by weight; by the user's key when asked
            send(passage, share, Fallback::Allowed, exchange).await?
        }
        Some(shaping) => Box::pin(shaping::send(shaping, passage, exchange)).await?, // CORS, faults, cache, copies, stand-ins
    };
    if let Some(visit) = visit
        && let Some(place) = response.extensions_mut().remove::<Place>()
    {
        visit.keep(place, response.headers_mut());
    }
    Ok(response)
}

/// A request with all that its way has been found by.
pub(super) struct Passage<'a> {
    pub cx: &'a Arc<Outbound>,
    pub rule: &'a Rule,
    pub forward: &'a Forward,
    pub to: &'a Addressed,
    /// The length of the path prefix that matched.
    pub prefix: Option<usize>,
    /// Where its session is.
    pub session: Option<Place>,
    pub source: Source<'a>,
    pub parts: Parts,
    pub body: Body,
    pub switch: Option<Switch>,
}

impl<'a> Passage<'a> {
    /// The share of the rule that it belongs to.
    pub fn share(&self) -> Result<&'a Share, ProxyError> {
        pick(self.forward, &self.parts.headers, self.session, &self.rule.origin)
    }

    /// What ties it to an endpoint of this backend.
    fn affinity(&self, backend: &Backend) -> Affinity {
        let (algorithm, parts) = (&backend.settings.load_balancer.algorithm, &self.parts);
        let key = balance::key(algorithm, &parts.headers, &parts.uri, self.source);
        Affinity { session: self.session.map(|place| place.endpoint), key }
    }
}

/// Whether the fallback of a backend may answer in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fallback {
    Allowed,
    /// Something better is at hand.
    NotNeeded,
}

/// From the chosen share to the head of its answer.
pub(super) async fn send(
    passage: Passage<'_>,
    share: &Share,
    fallback: Fallback,
    exchange: &mut Exchange,
) -> Result<Response<Body>, ProxyError> {
    let rule = passage.rule;
    let deadline = attempt::Deadline::start(&rule.policies.timeouts, &passage.parts.headers, exchange.started());
    let admitted = admit(share, &rule.origin, exchange.started(), deadline.at()).await?; // circuit breaker, bulkhead, fallback
    let Admitted { backend, leave, instead_of } = admitted;
    if let (Some(instead_of), Fallback::NotNeeded) = (&instead_of, fallback) {
        return Err(instead_of.error());
    }
    exchange.answered_by(&backend.label, &backend.requests);

    let affinity = passage.affinity(&backend);
    let of_fallback = share.fallback().map(|fallback| passage.affinity(fallback)).unwrap_or_default();
    let Passage { cx, to, prefix, mut parts, mut body, mut switch, .. } = passage;
    let filters = [&rule.filters, &share.filters];
    change_request(&mut parts, &to.host, filters, prefix)
        .map_err(|e| ProxyError::new(Kind::UnresolvedBackend, format_args!("{}: {e}", rule.origin)))?;
    let hop = hop(&parts, backend.settings.protocol, switch.as_ref());
    let spare = match (&instead_of, &switch, fallback) {
        (None, None, Fallback::Allowed) => Spare::of(share, &parts, &mut body),
        _ => None,
    };
    let request = attempt::prepare(parts, body, hop, switch.as_mut())?;

    let call = attempt::Call { cx, backend: &backend, policies: &rule.policies, hop, deadline, affinity };
    let sent = call.send(leave, request, exchange).await; // pick endpoint → pool → mTLS → send; again
    let mut note = instead_of.map(|instead_of| instead_of.note(&backend));
    let (mut response, endpoint) = match (sent, spare) {
        (Err(error), Some(spare)) => {
            let (response, endpoint, why) =
                Box::pin(spare.send(attempt::Call { affinity: of_fallback, ..call }, error, exchange)).await?;
            note = Some(why);
            (response, endpoint)
        }
        (sent, _) => sent?,
    };

    let granted = upgrade::granted(&response);
    change_response(&mut response, filters, endpoint.target.identity.as_ref());
    if let Some(note) = note {
        cx.metrics.shaping.degraded("fallback");
        response.headers_mut().append(PROXY_STATUS, note);
        response.extensions_mut().insert(ByFallback);
    } else if rule.policies.session.is_some() {
        response.extensions_mut().insert(Place { share: share.tag, endpoint: endpoint.tag });
    }
    upgrade::finish(response, granted, switch, || cx.drain.place())
}

/// The destination that the authority names, or that the connection was made to.
async fn find(connection: &Connection, to: &Addressed) -> Result<Arc<Destination>, ProxyError> {
    let cx = &connection.cx;
    if let Aim::Member(member) = &connection.aim {
        return Box::pin(member.destination(cx)).await;
    }
    let found = match cx.mesh.known(&to.name) {
        Some(known) => known,
        None => Box::pin(cx.mesh.destination(&to.name, cx.discovery_timeout)).await,
    };
    found.map_err(|e| ProxyError { details: format!("{}: {}", to.authority, e.details), ..e })
}

/// The rule that the request falls under, and the length of the path prefix that matched.
fn route<'a>(destination: &'a Destination, parts: &Parts) -> Result<(&'a Rule, Option<usize>), ProxyError> {
    let find = |method: &Method| {
        let matched = destination.routes.find(method, &parts.uri, &parts.headers)?;
        Some((destination.rules.get(matched.rule)?, matched.matched_prefix_len))
    };
    // A preflight is up to the rule of the request that it asks about.
    if let Some(method) = cors::asked_about(&parts.method, &parts.headers)
        && let Some((rule, prefix)) = find(&method)
        && rule.shaping.as_ref().is_some_and(|shaping| shaping.cors.is_some())
    {
        return Ok((rule, prefix));
    }
    find(&parts.method).ok_or_else(|| {
        ProxyError::new(Kind::NoRoute, format_args!("no route of {} matches the request", destination.name))
    })
}

/// What the callee gets of the head: nothing that was for this hop only or that a caller may not say, and what the
/// filters make of the rest.
pub(super) fn change_request(
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

/// Which share of the rule the request belongs to: that of its session, else by weight, or by the user's key.
pub(super) fn pick<'a>(
    forward: &'a Forward,
    headers: &HeaderMap,
    session: Option<Place>,
    origin: &Origin,
) -> Result<&'a Share, ProxyError> {
    let known = session.and_then(|place| forward.split.tagged(place.share));
    let index = known.or_else(|| forward.split.pick(headers, rand::random()));
    index.and_then(|index| forward.shares.get(index)).ok_or_else(|| {
        ProxyError::new(Kind::UnresolvedBackend, format_args!("{origin} has no backend with a weight above 0"))
    })
}

/// The protocol of the next hop: as the caller speaks, unless the backend's port is declared to speak another. What
/// switches the protocol of HTTP/1.1 has a connection of its own.
pub(super) fn hop(parts: &Parts, declared: Protocol, switch: Option<&Switch>) -> Hop {
    match (declared, switch) {
        (_, Some(switch)) if !switch.is_connect() => Hop::Http1,
        (Protocol::Http1, Some(_)) => Hop::Http1,
        (Protocol::Http1, None) => Hop::Http1Streams,
        (Protocol::Http2 | Protocol::Grpc, _) => Hop::Http2,
        (Protocol::Detect | Protocol::Tcp | Protocol::Tls, _) if parts.version == Version::HTTP_2 => Hop::Http2,
        (Protocol::Detect | Protocol::Tcp | Protocol::Tls, _) => Hop::Http1Streams,
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

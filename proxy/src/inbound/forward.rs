//! One request on its way in: everything that can happen to it on the callee's side, in order.

use std::time::Duration;

use http::{Method, Request, Response, Uri, Version};
use hyper::body::Incoming;

use super::Connection;
use crate::{
    error::{Kind, ProxyError},
    http::{
        body::{Body, End, Hold},
        headers,
        pool::{Lease, Unanswered},
        upgrade,
    },
    net::Hop,
};

/// The application is on the same machine: it answers a connect at once or not at all.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);

pub(super) async fn forward(
    connection: &Connection,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, ProxyError> {
    let cx = &connection.cx;
    let app = cx.app.as_ref().ok_or_else(|| ProxyError::new(Kind::NoEndpoints, "this workload serves nothing"))?;
    if request.method() == Method::CONNECT {
        return Err(ProxyError::new(Kind::Unsupported, "CONNECT is not carried between sidecars"));
    }
    let switch = upgrade::asked(&mut request);
    let (mut parts, body) = request.into_parts();

    headers::strip_hop_by_hop(&mut parts.headers);
    headers::strip_asserted(&mut parts.headers);
    headers::inbound_forwarded(&mut parts, &connection.address);
    headers::set_client_id(&mut parts.headers, connection.client_id.as_ref());
    let hop = if parts.version == Version::HTTP_2 { Hop::Http2 } else { Hop::Http1 };
    if hop == Hop::Http1 {
        headers::announce_te(&mut parts.headers);
        if let Some(path) = parts.uri.path_and_query().filter(|_| parts.uri.authority().is_some()) {
            parts.uri = Uri::from(path.clone());
        }
    }
    if let Some(switch) = &switch {
        upgrade::set(&mut parts.headers, switch.protocol.clone());
    }

    let request = Request::from_parts(parts, Body::stream(body));
    let sent = cx.pool.send(app, hop, CONNECT_LIMIT, request).await;
    let (response, lease) = sent.map_err(|Unanswered { error, .. }| ProxyError {
        details: format!("the application: {}", error.details),
        ..error
    })?;

    let granted = upgrade::granted(&response);
    let (mut parts, body) = response.into_parts();
    parts.version = Version::HTTP_11; // of this hop, whatever the application spoke
    headers::strip_hop_by_hop(&mut parts.headers);
    headers::strip_asserted(&mut parts.headers);
    let response = Response::from_parts(parts, Body::stream(body).holding(Box::new(Answering(lease))));
    upgrade::finish(response, granted, switch, || cx.drain.place())
}

/// Held by a response's body: the application's connection, which can be used again when the body is complete.
struct Answering(Lease);

impl Hold for Answering {
    fn ended(self: Box<Self>, end: End<'_>) {
        if let End::Complete { .. } = end {
            self.0.give_back();
        }
    }
}

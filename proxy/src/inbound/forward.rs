//! One request on its way in: everything that can happen to it on the callee's side, in order.

use std::time::Duration;

use http::{Method, Request, Response, Version};

use super::Connection;
use crate::{
    error::{Kind, ProxyError},
    http::{body::Body, headers, pool::Unanswered, upgrade},
    net::Hop,
};

/// The application is on the same machine: it answers a connect at once or not at all.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);

pub(super) async fn forward(connection: &Connection, mut request: Request<Body>) -> Result<Response<Body>, ProxyError> {
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
    let hop = if connection.speaks == Hop::Http2 { Hop::Http2 } else { Hop::Http1 };
    if let Some(switch) = &switch {
        upgrade::set(&mut parts.headers, switch.protocol.clone());
    }

    let request = Request::from_parts(parts, body);
    let sent = cx.pool.send(app, hop, CONNECT_LIMIT, request).await;
    let mut response = sent.map_err(|Unanswered { error, .. }| ProxyError {
        details: format!("the application: {}", error.details),
        ..error
    })?;

    let granted = upgrade::granted(&response);
    *response.version_mut() = Version::HTTP_11; // of this hop, whatever the application spoke
    headers::strip_hop_by_hop(response.headers_mut());
    headers::strip_asserted(response.headers_mut());
    upgrade::finish(response, granted, switch, || cx.drain.place())
}

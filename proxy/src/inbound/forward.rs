//! One request on its way in: everything that can happen to it on the callee's side, in order.

use std::time::Duration;

use http::{Method, Request, Response, Version};

use super::Connection;
use crate::{
    error::{Kind, ProxyError},
    http::{
        body::Body,
        headers::{self, Mark},
        pool::{Keep, Unanswered},
        upgrade,
    },
    net::Hop,
};

/// The application is on the same machine: it answers a connect at once or not at all.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);

/// A request that the application has not answered.
pub(super) struct Failed {
    pub(super) error: ProxyError,
    /// What the caller's sidecar is told.
    pub(super) mark: Option<Mark>,
}

impl From<ProxyError> for Failed {
    fn from(error: ProxyError) -> Self {
        let mark = error.kind.is_before_sending().then_some(Mark::Unprocessed);
        Self { error, mark }
    }
}

impl From<Unanswered> for Failed {
    fn from(Unanswered { error, untouched, silent }: Unanswered) -> Self {
        let mark = match error.kind {
            kind if untouched || kind.is_before_sending() => Some(Mark::Unprocessed),
            Kind::Reset if silent => Some(Mark::Unanswered),
            _ => None,
        };
        let details = format!("the application: {}", error.details);
        Self { error: ProxyError { details, ..error }, mark }
    }
}

pub(super) async fn forward(connection: &Connection, mut request: Request<Body>) -> Result<Response<Body>, Failed> {
    let cx = &connection.cx;
    let app =
        connection.app.as_ref().ok_or_else(|| ProxyError::new(Kind::NoEndpoints, "this workload serves nothing"))?;
    let hop = connection.hop(request.version());
    if request.method() == Method::CONNECT && !(hop == Hop::Http2 && upgrade::is_extended(&request)) {
        return Err(ProxyError::new(Kind::Unsupported, "CONNECT is not carried between sidecars").into());
    }
    let mut switch = upgrade::asked(&mut request);
    let (mut parts, body) = request.into_parts();

    headers::strip_hop_by_hop(&mut parts.headers);
    match connection.peer {
        Some(_) => headers::strip_asserted_by_peer(&mut parts.headers),
        None => headers::strip_asserted(&mut parts.headers),
    }
    headers::inbound_forwarded(&mut parts, &connection.address);
    headers::set_client_id(&mut parts.headers, connection.client_id.as_ref());
    if let Some(switch) = switch.as_mut().filter(|switch| !switch.is_connect()) {
        switch.ask_by_upgrade(&mut parts);
    }

    let mut request = Request::from_parts(parts, body);
    let mut response = cx.pool.send(app, hop, CONNECT_LIMIT, &mut request, Keep::Nothing).await?;

    let granted = upgrade::granted(&response);
    *response.version_mut() = Version::HTTP_11; // of this hop, whatever the application spoke
    headers::strip_hop_by_hop(response.headers_mut());
    headers::strip_asserted(response.headers_mut());
    Ok(upgrade::finish(response, granted, switch, || cx.drain.place())?)
}

impl Connection {
    /// What the application is spoken to: the caller's own protocol.
    fn hop(&self, version: Version) -> Hop {
        match self.speaks {
            Some(Hop::Http2) => Hop::Http2,
            Some(Hop::Http1 | Hop::Http1Streams) => Hop::Http1,
            None if version == Version::HTTP_2 => Hop::Http2,
            None => Hop::Http1,
        }
    }
}

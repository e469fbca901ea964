//! Upgrades (WebSocket and whatever else HTTP/1.1 switches to): after `101` the two sides are joined as bytes.

use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version, header};
use hyper::{body::Incoming, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;

use super::body::Body;
use crate::{
    drain::Place,
    error::{Kind, ProxyError},
};

/// The protocol that a message asks to switch to, or grants. An `Upgrade` that `Connection` does not list was not meant
/// for this hop.
fn protocol(headers: &HeaderMap) -> Option<HeaderValue> {
    let protocol = headers.get(header::UPGRADE)?;
    let connection = headers.get_all(header::CONNECTION).iter();
    let listed = connection
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .any(|token| token.trim_ascii().eq_ignore_ascii_case(b"upgrade"));
    // HTTP/2 is spoken from the first byte or not at all: as an upgrade it would carry requests past the routes.
    let is_h2c = protocol.as_bytes().eq_ignore_ascii_case(b"h2c");
    (listed && !is_h2c).then(|| protocol.clone())
}

/// Asks the next hop for the switch, or grants it to the one before.
pub fn set(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, protocol);
}

/// Whether the response switches the protocol.
pub fn is_switch<B>(response: &Response<B>) -> bool {
    response.status() == StatusCode::SWITCHING_PROTOCOLS
}

/// A switch that a caller has asked for.
pub struct Switch {
    pub protocol: HeaderValue,
    caller: OnUpgrade,
}

/// The switch that the request asks for; a caller of HTTP/1.0 cannot (RFC 9110, section 7.8).
pub fn asked(request: &mut Request<Incoming>) -> Option<Switch> {
    let protocol = protocol(request.headers()).filter(|_| request.version() == Version::HTTP_11)?;
    Some(Switch { protocol, caller: hyper::upgrade::on(request) })
}

/// The protocol that the response switches to. To be asked before the fields of the hop are removed.
pub fn granted<B>(response: &Response<B>) -> Option<HeaderValue> {
    is_switch(response).then(|| protocol(response.headers())).flatten()
}

/// Joins the two sides when the response switches: bytes are carried until both have ended, and `place` keeps a drain
/// waiting meanwhile. Any other response is passed on as it is.
///
/// # Errors
/// The response switches although nobody asked.
pub fn finish(
    mut response: Response<Body>,
    granted: Option<HeaderValue>,
    switch: Option<Switch>,
    place: impl FnOnce() -> Place,
) -> Result<Response<Body>, ProxyError> {
    if !is_switch(&response) {
        return Ok(response);
    }
    let Some(Switch { protocol, caller }) = switch else {
        return Err(ProxyError::new(Kind::UpgradeFailed, "the callee switched protocols without being asked"));
    };
    set(response.headers_mut(), granted.unwrap_or(protocol));
    let callee = hyper::upgrade::on(&mut response);
    let (parts, body) = response.into_parts();
    tokio::spawn(carry(caller, callee, body, place()));
    Ok(Response::from_parts(parts, Body::empty()))
}

/// What the response holds is held until the two sides have parted.
async fn carry(caller: OnUpgrade, callee: OnUpgrade, _held: Body, _place: Place) {
    let (caller, callee) = match tokio::try_join!(caller, callee) {
        Ok(sides) => sides,
        Err(error) => {
            tracing::debug!(%error, "an upgrade was not completed");
            return;
        }
    };
    let (mut caller, mut callee) = (TokioIo::new(caller), TokioIo::new(callee));
    if let Err(error) = tokio::io::copy_bidirectional(&mut caller, &mut callee).await {
        tracing::debug!(%error, "an upgraded connection broke");
    }
}

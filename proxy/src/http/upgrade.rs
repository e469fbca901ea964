//! Upgrades (WebSocket and whatever else HTTP/1.1 switches to): after `101` the two sides are joined as bytes.

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use super::body::Body;
use crate::drain::Place;

/// The protocol that a message asks to switch to, or grants. An `Upgrade` that `Connection` does not list was not meant
/// for this hop.
pub fn protocol(headers: &HeaderMap) -> Option<HeaderValue> {
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

/// Joins the caller with the side that switched, and gives the answer that tells the caller so. Bytes are carried until
/// both sides have ended; `place` keeps a drain waiting meanwhile.
pub fn join(mut response: Response<Body>, caller: OnUpgrade, place: Place) -> Response<Body> {
    let callee = hyper::upgrade::on(&mut response);
    let (parts, body) = response.into_parts();
    tokio::spawn(carry(caller, callee, body, place));
    Response::from_parts(parts, Body::empty())
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

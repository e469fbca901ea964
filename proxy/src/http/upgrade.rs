//! Upgrades (WebSocket and whatever else HTTP/1.1 switches to): after `101` the two sides are joined as bytes.

use std::sync::{Arc, Mutex, PoisonError};

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use hyper_util::rt::TokioIo;
use tokio::{io::AsyncWriteExt, sync::oneshot};

use super::{body::Body, headers::connection_lists, http1};
use crate::{
    drain::Place,
    error::{Kind, ProxyError},
    net::Io,
};

/// The protocol that a message asks to switch to, or grants. An `Upgrade` that `Connection` does not list was not meant
/// for this hop.
fn protocol(headers: &HeaderMap) -> Option<HeaderValue> {
    let protocol = headers.get(header::UPGRADE)?;
    let listed = connection_lists(headers, b"upgrade");
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
pub fn asked(request: &mut Request<Body>) -> Option<Switch> {
    let protocol = protocol(request.headers()).filter(|_| request.version() == Version::HTTP_11)?;
    Some(Switch { protocol, caller: on(request) })
}

/// The caller's connection, once its switch is granted.
pub enum OnUpgrade {
    Http1(Option<oneshot::Receiver<http1::Connection>>),
    Http2(hyper::upgrade::OnUpgrade),
}

impl OnUpgrade {
    pub async fn connection(self) -> Option<http1::Connection> {
        match self {
            Self::Http1(granted) => granted?.await.ok(),
            Self::Http2(upgrading) => {
                let stream = TokioIo::new(upgrading.await.ok()?);
                Some(http1::Connection::new(Io::Stream(Box::new(stream))))
            }
        }
    }
}

/// What the handler of a request needs to take its connection over. The first who asks gets it.
pub fn on(request: &mut Request<Body>) -> OnUpgrade {
    match request.extensions_mut().remove::<Offered>() {
        Some(Offered(receiver)) => OnUpgrade::Http1(receiver.lock().unwrap_or_else(PoisonError::into_inner).take()),
        None => OnUpgrade::Http2(hyper::upgrade::on(request)),
    }
}

/// Travels with a request that may take its connection over.
#[derive(Clone)]
struct Offered(Arc<Mutex<Option<oneshot::Receiver<http1::Connection>>>>);

/// The serving side's end of it.
pub struct Granting(oneshot::Sender<http1::Connection>);

impl Granting {
    pub fn grant(self, connection: http1::Connection) {
        // Whoever asked may have gone; the connection is closed then.
        let _ = self.0.send(connection);
    }
}

/// Lets the handler of an HTTP/1.1 request have the connection, where the request asks for that.
pub fn offer(request: &mut Request<Body>) -> Option<Granting> {
    if request.method() != Method::CONNECT && !request.headers().contains_key(header::UPGRADE) {
        return None;
    }
    let (granting, granted) = oneshot::channel();
    request.extensions_mut().insert(Offered(Arc::new(Mutex::new(Some(granted)))));
    Some(Granting(granting))
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
    let (parts, mut body) = response.into_parts();
    let callee =
        body.take_switched().ok_or_else(|| ProxyError::new(Kind::UpgradeFailed, "the callee cannot switch"))?;
    tokio::spawn(carry(caller, callee, body, place()));
    Ok(Response::from_parts(parts, Body::empty()))
}

/// What the response holds is held until the two sides have parted.
async fn carry(caller: OnUpgrade, callee: http1::Connection, _held: Body, _place: Place) {
    let Some(caller) = caller.connection().await else {
        tracing::debug!("an upgrade was not completed");
        return;
    };
    let ((mut caller, from_caller), (mut callee, from_callee)) = (caller.into_parts(), callee.into_parts());
    let carried = async {
        caller.write_all(&from_callee).await?;
        callee.write_all(&from_caller).await?;
        tokio::io::copy_bidirectional(&mut caller, &mut callee).await
    };
    if let Err(error) = carried.await {
        tracing::debug!(%error, "an upgraded connection broke");
    }
}

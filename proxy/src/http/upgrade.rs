//! Upgrades (WebSocket and whatever else HTTP switches to): when it is granted the two sides are joined as bytes.
//!
//! HTTP/1.1 asks with `Upgrade` and grants with 101 (RFC 9110 §7.8). HTTP/2 asks with an extended `CONNECT` and grants with
//! a 2xx (RFC 8441), and goes on in the stream; where the next hop speaks HTTP/1.1, it is asked with `Upgrade`.

use std::sync::{Arc, Mutex, PoisonError};

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header, request::Parts};
use hyper::ext::Protocol;
use hyper_util::rt::TokioIo;
use tokio::{io::AsyncWriteExt, sync::oneshot};

use super::{body::Body, headers::connection_lists, http1, websocket};
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
fn set(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, protocol);
}

/// Whether the response switches the protocol.
pub fn is_switch<B>(response: &Response<B>) -> bool {
    response.status() == StatusCode::SWITCHING_PROTOCOLS
}

/// Whether the request is a `CONNECT` that names a protocol, which is a request like others: it has a path, and it is for
/// the callee. Any other `CONNECT` asks for a tunnel.
pub fn is_extended<B>(request: &Request<B>) -> bool {
    request.extensions().get::<Protocol>().is_some()
}

/// A switch that a caller has asked for.
pub struct Switch {
    protocol: HeaderValue,
    caller: OnUpgrade,
    way: Way,
}

/// How it is asked for.
enum Way {
    /// By `Upgrade` on both sides.
    Upgrade,
    /// By extended `CONNECT` on both sides.
    Connect,
    /// By extended `CONNECT`, and by `Upgrade` on the side of the callee. A WebSocket has a key there.
    ConnectToUpgrade { key: Option<HeaderValue> },
}

/// The switch that the request asks for; a caller of HTTP/1.0 cannot (RFC 9110, section 7.8).
pub fn asked(request: &mut Request<Body>) -> Option<Switch> {
    if request.method() == Method::CONNECT {
        let protocol = HeaderValue::from_str(request.extensions().get::<Protocol>()?.as_str()).ok()?;
        return Some(Switch { protocol, caller: on(request), way: Way::Connect });
    }
    let protocol = protocol(request.headers()).filter(|_| request.version() == Version::HTTP_11)?;
    Some(Switch { protocol, caller: on(request), way: Way::Upgrade })
}

impl Switch {
    /// Whether it was asked for over HTTP/2.
    pub fn is_connect(&self) -> bool {
        !matches!(self.way, Way::Upgrade)
    }

    /// Asks a next hop for it that speaks HTTP/1.1. One that speaks HTTP/2 is asked by the request as it came.
    pub fn ask_by_upgrade(&mut self, parts: &mut Parts) {
        if self.is_connect() {
            parts.method = Method::GET;
            let is_websocket = websocket::is_websocket(&self.protocol);
            let key = is_websocket.then(|| websocket::set_key(&mut parts.headers, rand::random()));
            self.way = Way::ConnectToUpgrade { key };
        }
        set(&mut parts.headers, self.protocol.clone());
    }
}

/// The connection of one side, once the switch is granted.
pub enum OnUpgrade {
    Http1(Option<oneshot::Receiver<http1::Connection>>),
    Http2(hyper::upgrade::OnUpgrade),
    Done(Box<http1::Connection>),
}

impl OnUpgrade {
    pub async fn connection(self) -> Option<http1::Connection> {
        match self {
            Self::Http1(granted) => granted?.await.ok(),
            Self::Done(connection) => Some(*connection),
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

const UNASKED: &str = "the callee switched protocols without being asked";

/// Joins the two sides when the response switches: bytes are carried until both have ended, and `place` keeps a drain
/// waiting meanwhile. Any other response is passed on as it is.
///
/// # Errors
/// The response switches although nobody asked, or not as it was asked to.
pub fn finish(
    mut response: Response<Body>,
    granted: Option<HeaderValue>,
    switch: Option<Switch>,
    place: impl FnOnce() -> Place,
) -> Result<Response<Body>, ProxyError> {
    let is_switched = is_switch(&response);
    let Some(Switch { protocol, caller, way }) = switch else {
        return if is_switched { Err(failed(UNASKED)) } else { Ok(response) };
    };
    let callee = match way {
        Way::Upgrade if !is_switched => return Ok(response),
        Way::Upgrade => {
            set(response.headers_mut(), granted.unwrap_or(protocol));
            of_http1(&mut response)?
        }
        Way::ConnectToUpgrade { key } if is_switched => {
            if key.is_some_and(|key| !websocket::take_accept(response.headers_mut(), &key)) {
                return Err(failed("the callee switched protocols, but has not understood the WebSocket's key"));
            }
            *response.status_mut() = StatusCode::OK;
            of_http1(&mut response)?
        }
        Way::Connect if response.status().is_success() => of_http2(&mut response)?,
        // For a caller of HTTP/2, 2xx would mean that it is.
        Way::ConnectToUpgrade { .. } if response.status().is_success() => {
            return Err(failed("the callee answered, but has not switched protocols"));
        }
        Way::Connect if is_switched => return Err(failed(UNASKED)),
        Way::Connect | Way::ConnectToUpgrade { .. } => return Ok(response),
    };
    let (parts, body) = response.into_parts();
    tokio::spawn(carry(caller, callee, body, place()));
    Ok(Response::from_parts(parts, Body::empty()))
}

fn of_http1(response: &mut Response<Body>) -> Result<OnUpgrade, ProxyError> {
    let connection = response.body_mut().take_switched().ok_or_else(|| failed("the callee cannot switch"))?;
    Ok(OnUpgrade::Done(Box::new(connection)))
}

fn of_http2(response: &mut Response<Body>) -> Result<OnUpgrade, ProxyError> {
    match response.extensions().get::<hyper::upgrade::OnUpgrade>() {
        Some(_) => Ok(OnUpgrade::Http2(hyper::upgrade::on(response))),
        // hyper knows no other 2xx.
        None => Err(failed(format_args!("the callee accepted the protocol with {} instead of 200", response.status()))),
    }
}

fn failed(details: impl std::fmt::Display) -> ProxyError {
    ProxyError::new(Kind::UpgradeFailed, details)
}

/// What the response holds is held until the two sides have parted.
async fn carry(caller: OnUpgrade, callee: OnUpgrade, _held: Body, _place: Place) {
    let (Some(caller), Some(callee)) = (caller.connection().await, callee.connection().await) else {
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

//! The admin listener: `/live`, `/ready`, `/metrics` for everybody; `/config` to read, `/drain` and `/shutdown` to act, from
//! loopback only.

use std::{
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use http::{HeaderMap, Method, Request, Response, StatusCode, header, uri::Authority};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::net::TcpListener;

use crate::{
    http::{answer::text, body::Body},
    lifecycle::Lifecycle,
    mesh::Store,
    net::listener::{self, Listeners},
};

/// Serves for as long as the process runs.
pub fn start(listeners: Listeners, lifecycle: Arc<Lifecycle>) -> std::io::Result<()> {
    for socket in listeners.sockets {
        tokio::spawn(accept(TcpListener::from_std(socket)?, lifecycle.clone()));
    }
    Ok(())
}

async fn accept(listener: TcpListener, lifecycle: Arc<Lifecycle>) {
    loop {
        let (stream, peer) = listener::accept(&listener).await;
        let lifecycle = lifecycle.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let lifecycle = lifecycle.clone();
                async move { Ok::<_, Infallible>(answer(&lifecycle, request, peer).await) }
            });
            let connection =
                http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                tracing::debug!(%error, "an admin connection ended");
            }
        });
    }
}

async fn answer(lifecycle: &Lifecycle, request: Request<Incoming>, peer: SocketAddr) -> Response<Body> {
    let acting = request.method() == Method::POST;
    // What the application talks to is nobody else's business.
    let private = acting || request.uri().path() == "/config";
    if private && !peer.ip().is_loopback() {
        return text(StatusCode::FORBIDDEN, "only from loopback\n");
    }
    if acting && comes_from_a_web_page(request.headers()) {
        return text(StatusCode::FORBIDDEN, "not from a web page\n");
    }
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/live") => text(StatusCode::OK, "live\n"),
        (&Method::GET, "/ready") => match *lifecycle.ready.borrow() {
            true => text(StatusCode::OK, "ready\n"),
            false => {
                text(StatusCode::SERVICE_UNAVAILABLE, "not ready: no certificate, no configuration, or stopping\n")
            }
        },
        (&Method::GET, "/metrics") => {
            let mut response = text(StatusCode::OK, &lifecycle.metrics.encode());
            let kind = http::HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
            response
        }
        (&Method::GET, "/config") => json(&lifecycle.store.get().map_or(json!({}), |store| describe(store))),
        (&Method::POST, "/drain") => json(&json!({ "unfinished": lifecycle.drain_inbound().await })),
        (&Method::POST, "/shutdown") => {
            lifecycle.stop.send_replace(true);
            json(&json!({ "stopping": true }))
        }
        (_, "/live" | "/ready" | "/metrics" | "/config" | "/drain" | "/shutdown") => {
            text(StatusCode::METHOD_NOT_ALLOWED, "GET /live /ready /metrics /config, POST /drain /shutdown\n")
        }
        _ => text(StatusCode::NOT_FOUND, "GET /live /ready /metrics /config, POST /drain /shutdown\n"),
    }
}

/// Whether a browser sent this: a page from anywhere can make one send a form to loopback, under a name of its own.
fn comes_from_a_web_page(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let host = host.parse::<Authority>().ok();
    let is_local = host.is_some_and(|host| {
        let name = host.host().trim_matches(['[', ']']);
        name == "localhost" || name.parse::<IpAddr>().is_ok()
    });
    !is_local || headers.contains_key(header::ORIGIN) || headers.contains_key("sec-fetch-site")
}

/// The configuration in use, in short.
fn describe(store: &Store) -> serde_json::Value {
    let backends = store.backends();
    let backends: Vec<_> = backends
        .iter()
        .map(|backend| {
            let endpoints: Vec<_> = backend
                .balancer
                .endpoints()
                .iter()
                .map(|endpoint| {
                    json!({
                        "id": endpoint.id,
                        "address": endpoint.target.address.to_string(),
                        "spiffeId": endpoint.target.identity.as_ref().map(ToString::to_string),
                        "inFlight": endpoint.in_flight(),
                    })
                })
                .collect();
            json!({
                "name": &*backend.label,
                "circuit": backend.breaker.status(std::time::Instant::now()).state.name(),
                "endpoints": endpoints,
            })
        })
        .collect();
    json!({ "destinations": store.destinations(), "backends": backends })
}

fn json(value: &serde_json::Value) -> Response<Body> {
    let mut response = text(StatusCode::OK, &format!("{value:#}\n"));
    response.headers_mut().insert(header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_web_page_cannot_act() {
        let from_page = |lines: &[(&'static str, &'static str)]| {
            let lines = lines.iter().map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()));
            comes_from_a_web_page(&lines.collect())
        };
        assert!(!from_page(&[("host", "127.0.0.1:15020")]));
        assert!(!from_page(&[("host", "[::1]:15020")]));
        assert!(!from_page(&[("host", "localhost:15020")]));
        assert!(from_page(&[("host", "rebound.example:15020")]));
        assert!(from_page(&[("host", "127.0.0.1:15020"), ("origin", "http://evil.example")]));
        assert!(from_page(&[]));
    }
}

//! Requests through the outbound side, to endpoints that do what a test says: plain ones, and applications behind inbound
//! sidecars, all over loopback.

mod affinity;
mod app;
mod broken_off;
mod bulkhead;
mod calls;
mod hedging;
mod retries;
mod timeouts;
mod unanswered;

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::Method;
use http_body_util::BodyExt;
use tokio::{net::TcpListener, sync::watch};
use weft_certs::{Ca, Identity, SpiffeId, TrustDomain};
use weft_proxy_api::{self as api, Backend, Endpoint, EndpointSet, Resource, Service, State, policy::Policies};

use super::*;
use crate::{
    inbound::{self, Apps, Inbound},
    tls::acceptor::Acceptor,
};
use app::{Act, App};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// The sidecar of a caller, and who it can call.
pub(super) struct Mesh {
    pub(super) cx: Arc<Outbound>,
    ca: Ca,
}

impl Mesh {
    pub(super) fn new() -> Self {
        let ca = Ca::create("weft.local".parse::<TrustDomain>().unwrap(), SystemTime::now()).unwrap();
        let (identity, metrics) = (identity(&ca, "frontend"), Arc::new(Metrics::new()));
        let access_log = Arc::new(AccessLog::start(metrics.access_log_dropped.clone()).unwrap());
        let (mesh, _) = Store::new(identity.clone(), metrics.clone(), access_log.clone(), "");
        let client = Arc::new(Client::new(&identity, metrics.clone(), Default::default()));
        let cx = Outbound {
            namespace: "shop".into(),
            workload: "frontend-1".into(),
            discovery_timeout: Duration::ZERO,
            mesh,
            pool: Pool::new(client.clone()),
            client,
            max_connections: 100,
            copies: Copies::default(),
            drain: Drain::new(),
            metrics,
            access_log,
        };
        Self { cx: Arc::new(cx), ca }
    }

    /// The service `orders`, with these endpoints, and what `change` makes of its rule and its backend.
    fn with(endpoints: &[&App], change: impl FnOnce(&mut Service)) -> Self {
        let mesh = Self::new();
        let endpoints = endpoints.iter().map(|app| endpoint(app.address, None)).collect();
        mesh.publish(endpoints, change);
        mesh
    }

    fn publish(&self, endpoints: Vec<Endpoint>, change: impl FnOnce(&mut Service)) {
        let name = ServicePort::new("shop", "orders", 80);
        let mut service = Service::direct(Backend::new(name.clone()));
        change(&mut service);
        let resources = vec![
            Resource::Destination(api::Destination { name: name.clone(), state: State::Service(service) }),
            Resource::EndpointSet(EndpointSet { name, endpoints }),
        ];
        self.cx.mesh.apply(resources, Vec::new());
    }

    /// An application behind a sidecar of its own.
    async fn sidecar(&self, app: &App) -> Endpoint {
        let (identity, metrics) = (identity(&self.ca, "orders"), Arc::new(Metrics::new()));
        let access_log = Arc::new(AccessLog::start(metrics.access_log_dropped.clone()).unwrap());
        let (mesh, _) = Store::new(identity.clone(), metrics.clone(), access_log.clone(), "");
        let client = Arc::new(Client::new(&identity, metrics.clone(), Default::default()));
        let inbound = Inbound {
            mesh,
            apps: Apps::new(&[app.address]),
            pool: Pool::new(client.clone()),
            client,
            max_connections: 100,
            acceptor: Acceptor::new(&identity),
            drain: Drain::new(),
            app_missed: watch::Sender::new(()),
            requests: metrics.requests(Direction::Inbound, "app"),
            metrics,
            access_log,
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(inbound::run(Arc::new(inbound), listener));
        endpoint(address, Some(identity.svid().id().clone()))
    }

    /// Sends a request as an application does; the answer's status, head and body.
    async fn send(&self, request: Request<Body>) -> Answer {
        let connection = Arc::new(Connection::new(self.cx.clone(), Aim::Named, Ipv4Addr::LOCALHOST.into()));
        let answer = async {
            let (parts, body) = connection.handle(request).await.into_parts();
            let body = body.collect().await.ok();
            let trailers = body.as_ref().and_then(|body| body.trailers().cloned());
            let body = body.map(|body| String::from_utf8(body.to_bytes().into()).unwrap());
            Answer { status: parts.status.as_u16(), headers: parts.headers, body, trailers }
        };
        tokio::time::timeout(PATIENCE, answer).await.expect("answered in time")
    }

    async fn get(&self) -> Answer {
        self.send(request(Method::GET, Body::empty())).await
    }

    /// The series of that name and those labels; 0 where there is none.
    fn metric(&self, series: &str) -> u64 {
        let text = self.cx.metrics.encode();
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.map_or(0, |value| value.parse().unwrap())
    }
}

/// The policies of the service's one rule.
fn policies(service: &mut Service) -> &mut Policies {
    &mut service.rules[0].policies
}

#[derive(Debug)]
struct Answer {
    status: u16,
    headers: http::HeaderMap,
    /// `None`: it broke off.
    body: Option<String>,
    trailers: Option<http::HeaderMap>,
}

impl Answer {
    /// What the sidecar says about it.
    fn why(&self) -> &str {
        self.headers.get("proxy-status").map_or("", |value| value.to_str().unwrap())
    }
}

fn request(method: Method, body: Body) -> Request<Body> {
    Request::builder().method(method).uri("http://orders/").header("host", "orders").body(body).unwrap()
}

/// A body of which no length is known: these pieces, and no end where `ends` is not set.
fn pieces(pieces: Vec<&'static str>, ends: bool) -> Body {
    let (sender, frames) = tokio::sync::mpsc::channel(pieces.len().max(1));
    for piece in pieces {
        sender.try_send(Ok(http_body::Frame::data(bytes::Bytes::from_static(piece.as_bytes())))).unwrap();
    }
    if !ends {
        std::mem::forget(sender);
    }
    Body::relayed(frames)
}

fn identity(ca: &Ca, workload: &str) -> Arc<Identity> {
    let id = SpiffeId::workload(ca.trust_domain(), "shop", workload).unwrap();
    Identity::new(ca.issue(&id, Duration::from_secs(3600), SystemTime::now()).unwrap(), ca.trust_bundle())
}

pub(super) fn endpoint(address: SocketAddr, identity: Option<SpiffeId>) -> Endpoint {
    Endpoint { id: address.to_string(), address, identity, weight: 1, zone: String::new(), healthy: true }
}

//! The outbound side with live backends on loopback, and what the control plane says given by hand.

mod cache;
mod cors;
mod degrade;
mod fault;
mod mirror;

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::net::TcpListener;
use weft_proxy_api::{
    Backend, Destination, EndpointSet, Resource, Service, ServicePort, State,
    policy::Policies,
    route::{Action, Route, RouteMatch, Rule, Split, Target, WeightedBackend},
};

use crate::{
    http::{body::Body, server::Handler},
    outbound::{self, Aim, Connection, Outbound},
};

pub fn name(service: &str) -> ServicePort {
    ServicePort::new("shop", service, 80)
}

/// What an [`App`] answers with.
pub type Answer = (StatusCode, Vec<(&'static str, String)>, &'static str);

/// A backend on loopback.
pub struct App {
    pub address: SocketAddr,
    pub asked: Arc<AtomicUsize>,
    pub last: Arc<Mutex<Option<Request<Bytes>>>>,
    answer: Arc<Mutex<Answer>>,
}

impl App {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let app = Self {
            address: listener.local_addr().unwrap(),
            asked: Arc::default(),
            last: Arc::default(),
            answer: Arc::new(Mutex::new((StatusCode::OK, Vec::new(), "the answer"))),
        };
        let (asked, last, answer) = (app.asked.clone(), app.last.clone(), app.answer.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (asked, last, answer) = (asked.clone(), last.clone(), answer.clone());
                let service = service_fn(move |request: Request<Incoming>| {
                    let (asked, last, answer) = (asked.clone(), last.clone(), answer.clone());
                    async move {
                        let (parts, body) = request.into_parts();
                        let body = body.collect().await?.to_bytes();
                        *last.lock().unwrap() = Some(Request::from_parts(parts, body));
                        asked.fetch_add(1, Ordering::SeqCst);
                        let (status, lines, body) = answer.lock().unwrap().clone();
                        let mut response = Response::new(Full::new(Bytes::from_static(body.as_bytes())));
                        *response.status_mut() = status;
                        for (name, value) in lines {
                            response.headers_mut().append(name, value.parse().unwrap());
                        }
                        Ok::<_, hyper::Error>(response)
                    }
                });
                let io = TokioIo::new(stream);
                tokio::spawn(
                    async move { auto::Builder::new(TokioExecutor::new()).serve_connection(io, service).await },
                );
            }
        });
        app
    }

    pub fn answers(&self, status: u16, lines: &[(&'static str, &str)], body: &'static str) {
        let lines = lines.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        *self.answer.lock().unwrap() = (StatusCode::from_u16(status).unwrap(), lines, body);
    }

    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// A header of the last request.
    pub fn saw(&self, header: &str) -> Option<String> {
        let last = self.last.lock().unwrap();
        last.as_ref()?.headers().get(header).map(|value| value.to_str().unwrap().to_owned())
    }
}

/// A worker's outbound side and the service `shop/orders:80`, whose one rule has some policies.
pub struct Mesh {
    pub cx: Arc<Outbound>,
    service: Service,
    endpoints: HashMap<ServicePort, Vec<SocketAddr>>,
}

impl Mesh {
    /// The rule leads to the backend of that name at `orders`.
    pub fn new(orders: SocketAddr) -> Self {
        let cx = outbound::tests::Mesh::new().cx;
        let mut mesh = Self { cx, service: Service::direct(Backend::new(name("orders"))), endpoints: HashMap::new() };
        mesh.endpoint("orders", orders);
        mesh
    }

    /// An endpoint of a backend, which is added unless it is there.
    pub fn endpoint(&mut self, backend: &str, address: SocketAddr) {
        if self.service.backend(&name(backend)).is_none() {
            self.service.backends.push(Backend::new(name(backend)));
        }
        self.endpoints.entry(name(backend)).or_default().push(address);
        self.apply();
    }

    pub fn policies(&mut self, change: impl FnOnce(&mut Policies)) {
        change(&mut self.service.rules[0].policies);
        self.apply();
    }

    pub fn rule(&mut self, change: impl FnOnce(&mut Rule)) {
        change(&mut self.service.rules[0]);
        self.apply();
    }

    pub fn backend(&mut self, backend: &str, change: impl FnOnce(&mut Backend)) {
        change(self.service.backends.iter_mut().find(|known| known.name == name(backend)).unwrap());
        self.apply();
    }

    /// A rule before the others, for what is like `matches`.
    pub fn rule_before(&mut self, matches: RouteMatch, backend: &str, policies: Policies) {
        let mut rule = self.service.rules[0].clone();
        let target = Target::Backend(name(backend));
        let share = WeightedBackend { weight: 1, target, filters: Default::default() };
        rule.action = Action::Split(Split { backends: vec![share], sticky: None });
        (rule.origin.rule, rule.policies) = (self.service.rules.len() as u32, policies);
        self.service.routes.insert(0, Route { matches, rule: self.service.rules.len() });
        self.service.rules.push(rule);
        self.apply();
    }

    fn apply(&self) {
        let state = State::Service(self.service.clone());
        let mut resources = vec![Resource::Destination(Destination { name: name("orders"), state })];
        for backend in &self.service.backends {
            let endpoint = |address: &SocketAddr| outbound::tests::endpoint(*address, None);
            let of = self.endpoints.get(&backend.name).into_iter().flatten().map(endpoint).collect();
            resources.push(Resource::EndpointSet(EndpointSet { name: backend.name.clone(), endpoints: of }));
        }
        self.cx.mesh.apply(resources, Vec::new());
    }

    pub async fn send(&self, request: Request<Body>) -> Response<Bytes> {
        let connection = Arc::new(Connection::new(self.cx.clone(), Aim::Named, std::net::Ipv4Addr::LOCALHOST.into()));
        let (parts, body) = connection.handle(request).await.into_parts();
        Response::from_parts(parts, body.collect().await.unwrap().to_bytes())
    }

    pub async fn get(&self, path: &str, lines: &[(&str, &str)]) -> Response<Bytes> {
        self.send(request("GET", path, lines, "")).await
    }

    pub fn metric(&self, series: &str) -> u64 {
        let text = self.cx.metrics.encode();
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok());
        value.unwrap_or_default()
    }
}

pub fn request(method: &str, path: &str, lines: &[(&str, &str)], body: &'static str) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(format!("http://orders{path}"));
    for (name, value) in lines {
        request = request.header(*name, *value);
    }
    if !body.is_empty() {
        request = request.header("content-length", body.len());
    }
    request.body(Body::full(body)).unwrap()
}

pub fn line(headers: &HeaderMap, name: &str) -> String {
    let lines: Vec<_> = headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect();
    lines.join(", ")
}

/// Waits until it holds; fails after ten seconds.
pub async fn until(what: &str, holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waiting).await.unwrap_or_else(|_| panic!("{what}"));
}

/// An address where nobody listens.
pub async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

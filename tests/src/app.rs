//! An application behind a sidecar, inside the test: it says who it is, does what it is told, and counts.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// 200, with the app's name.
    Answer,
    Fail(StatusCode),
    /// No answer until it is told something else.
    Hold,
}

/// HTTP/1.1 and HTTP/2 on a free port of 127.0.0.1.
pub struct App {
    address: SocketAddr,
    state: Arc<State>,
    serving: JoinHandle<()>,
}

struct State {
    name: String,
    behaviour: watch::Sender<Behaviour>,
    begun: AtomicU64,
    answered: AtomicU64,
    in_flight: AtomicU64,
    last: Mutex<HeaderMap>,
    health: watch::Sender<StatusCode>,
}

/// Where it says how it is; no request there counts.
pub const HEALTH: &str = "/healthz";

impl App {
    pub async fn start(name: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            name: name.to_owned(),
            behaviour: watch::Sender::new(Behaviour::Answer),
            begun: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            last: Mutex::default(),
            health: watch::Sender::new(StatusCode::OK),
        });
        let serving = tokio::spawn(serve(listener, state.clone()));
        Self { address, state, serving }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it does from now on, also with the requests that it holds.
    pub fn set(&self, behaviour: Behaviour) {
        self.state.behaviour.send_replace(behaviour);
    }

    /// What it answers at [`HEALTH`] from now on.
    pub fn set_health(&self, status: StatusCode) {
        self.state.health.send_replace(status);
    }

    /// Requests that came, as far as their head.
    pub fn begun(&self) -> u64 {
        self.state.begun.load(Ordering::SeqCst)
    }

    /// Requests that came in full.
    pub fn answered(&self) -> u64 {
        self.state.answered.load(Ordering::SeqCst)
    }

    /// Requests that came, and have neither been answered nor given up by the caller.
    pub fn in_flight(&self) -> u64 {
        self.state.in_flight.load(Ordering::SeqCst)
    }

    /// A header of the last request.
    pub fn saw(&self, header: &str) -> Option<String> {
        self.state.last.lock().unwrap().get(header).map(|value| value.to_str().unwrap().to_owned())
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, state: Arc<State>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let state = state.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(state.clone(), request));
            // A caller that goes away is the caller's matter.
            let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(state: Arc<State>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.uri().path() == HEALTH {
        let mut response = Response::new(Full::default());
        *response.status_mut() = *state.health.borrow();
        return Ok(response);
    }
    state.begun.fetch_add(1, Ordering::SeqCst);
    let _in_flight = InFlight::enter(&state);
    let (parts, body) = request.into_parts();
    *state.last.lock().unwrap() = parts.headers;
    let whole = body.collect().await;
    let mut told = state.behaviour.subscribe();
    let behaviour = *told.wait_for(|behaviour| *behaviour != Behaviour::Hold).await.unwrap();
    let status = match (whole, behaviour) {
        (Err(_), _) => StatusCode::BAD_REQUEST,
        (Ok(_), Behaviour::Fail(status)) => status,
        (Ok(_), _) => StatusCode::OK,
    };
    if status != StatusCode::BAD_REQUEST {
        state.answered.fetch_add(1, Ordering::SeqCst);
    }
    let mut response = Response::new(Full::from(state.name.clone()));
    *response.status_mut() = status;
    Ok(response)
}

struct InFlight(Arc<State>);

impl InFlight {
    fn enter(state: &Arc<State>) -> Self {
        state.in_flight.fetch_add(1, Ordering::SeqCst);
        Self(state.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}

//! The program behind the services of the demo: a small real HTTP server that knows nothing of the mesh but its proxy.
//!
//! As `orders` it says who it is and who called, and behaves as `POST /behave` asks it to. As `frontend` it passes every
//! request on to `http://orders/` through `WEFT_OUTBOUND`, and says what came of it.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context;
use bytes::Bytes;
use clap::{Args, ValueEnum};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header, request::Parts};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::{net::TcpListener, time::sleep};

use crate::plain_http;

/// Set by the sidecars on what they have verified.
const CLIENT_ID: &str = "weft-client-id";
const SERVER_ID: &str = "weft-server-id";
const MAX_BEHAVIOUR: usize = 4 << 10;
pub const USER: &str = "x-user";

#[derive(Debug, Args)]
pub struct DemoApp {
    #[arg(long)]
    role: Role,
    #[arg(long)]
    listen: SocketAddr,
    #[arg(long, default_value = "")]
    version: String,
    #[arg(long, default_value = "")]
    instance: String,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Role {
    Orders,
    Frontend,
}

/// What `orders` answers.
#[derive(Debug, Serialize, Deserialize)]
struct Order {
    version: String,
    instance: String,
    client: Option<String>,
}

/// What `frontend` answers: what it got from `orders`, and how.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    pub status: u16,
    pub version: Option<String>,
    pub instance: Option<String>,
    /// The caller, as the sidecar of `orders` has verified it.
    pub verified_client: Option<String>,
    /// The callee, as the sidecar of `frontend` has verified it.
    pub verified_server: Option<String>,
    pub proxy_status: Option<String>,
    /// What else the response says.
    pub headers: BTreeMap<String, String>,
}

/// How `orders` behaves: the body of `POST /behave`. What is left out is as it should be.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Behaviour {
    /// Of the answers, 200 otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Only each so manieth request is answered with `status`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every: Option<u64>,
    pub delay_ms: u64,
    /// Of the answers to `GET /healthz`, 200 otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<u16>,
    /// The `cache-control` of the answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_control: Option<String>,
}

/// What `orders` has met since it was last told how to behave: the answer to `GET /met`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Met {
    pub requests: u64,
    /// The most of them at the same time.
    pub at_once: u64,
    #[serde(skip)]
    now: u64,
}

struct App {
    args: DemoApp,
    outbound: Option<SocketAddr>,
    behaviour: Mutex<(Behaviour, Met)>,
}

impl DemoApp {
    /// Serves until a signal ends the process.
    pub async fn execute(self) -> anyhow::Result<()> {
        let listener =
            TcpListener::bind(self.listen).await.with_context(|| format!("cannot listen on {}", self.listen))?;
        let outbound = std::env::var("WEFT_OUTBOUND").ok().and_then(|url| url.strip_prefix("http://")?.parse().ok());
        let app = Arc::new(App { args: self, outbound, behaviour: Mutex::default() });
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let app = app.clone();
            tokio::spawn(async move {
                let service = service_fn(|request| handle(&app, request));
                // A caller that goes away in the middle is its own affair.
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    }
}

async fn handle(app: &App, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    Ok(match (app.args.role, &parts.method, parts.uri.path()) {
        (Role::Frontend, ..) => match ask_orders(app, parts).await {
            Ok(answer) => json(StatusCode::OK, &answer),
            Err(error) => json(StatusCode::BAD_GATEWAY, &serde_json::json!({ "error": format!("{error:#}") })),
        },
        (Role::Orders, &Method::POST, "/behave") => behave(app, body).await,
        (Role::Orders, &Method::GET, "/met") => json(StatusCode::OK, &app.behaviour().1),
        (Role::Orders, &Method::GET, "/healthz") => {
            let status = app.behaviour().0.health.and_then(|code| StatusCode::from_u16(code).ok());
            json(status.unwrap_or_default(), &serde_json::json!({}))
        }
        (Role::Orders, ..) => order(app, &parts.headers).await,
    })
}

async fn behave(app: &App, body: Incoming) -> Response<Full<Bytes>> {
    let Ok(body) = Limited::new(body, MAX_BEHAVIOUR).collect().await else {
        return json(StatusCode::PAYLOAD_TOO_LARGE, &serde_json::json!({}));
    };
    match serde_json::from_slice::<Behaviour>(&body.to_bytes()) {
        Ok(behaviour) => {
            let response = json(StatusCode::OK, &behaviour);
            let mut now = app.behaviour();
            *now = (behaviour, Met { now: now.1.now, ..Met::default() });
            response
        }
        Err(error) => json(StatusCode::BAD_REQUEST, &serde_json::json!({ "error": error.to_string() })),
    }
}

async fn order(app: &App, headers: &HeaderMap) -> Response<Full<Bytes>> {
    let (behaviour, turn) = app.begin();
    if behaviour.delay_ms > 0 {
        sleep(Duration::from_millis(behaviour.delay_ms)).await;
    }
    app.behaviour().1.now -= 1;
    let its_turn = turn.is_multiple_of(behaviour.every.unwrap_or(1).max(1));
    let status = behaviour.status.filter(|_| its_turn).and_then(|code| StatusCode::from_u16(code).ok());
    let DemoApp { version, instance, .. } = &app.args;
    let client = text(headers, CLIENT_ID);
    let mut response =
        json(status.unwrap_or_default(), &Order { version: version.clone(), instance: instance.clone(), client });
    if let Some(value) = behaviour.cache_control.and_then(|value| HeaderValue::try_from(value).ok()) {
        response.headers_mut().insert(header::CACHE_CONTROL, value);
    }
    response
}

impl App {
    fn behaviour(&self) -> std::sync::MutexGuard<'_, (Behaviour, Met)> {
        self.behaviour.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a request; how it is to be answered, and its number.
    fn begin(&self) -> (Behaviour, u64) {
        let mut now = self.behaviour();
        let (behaviour, met) = &mut *now;
        met.requests += 1;
        met.now += 1;
        met.at_once = met.at_once.max(met.now);
        (behaviour.clone(), met.requests)
    }
}

/// Passes the request on, without what belongs to the connection that it came on.
async fn ask_orders(app: &App, parts: Parts) -> anyhow::Result<Answer> {
    let outbound = app.outbound.context("WEFT_OUTBOUND is not set")?;
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::builder().method(parts.method).uri(format!("http://orders{path}")).body(Bytes::new())?;
    *request.headers_mut() = parts.headers;
    for of_this_hop in [header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING] {
        request.headers_mut().remove(of_this_hop);
    }
    request.headers_mut().insert(header::HOST, HeaderValue::from_static("orders"));
    let response = plain_http::send(outbound, request).await?;
    // An answer that the mesh makes itself is not an order.
    let order: Option<Order> = serde_json::from_slice(response.body()).ok();
    let (version, instance, client) = match order {
        Some(order) => (Some(order.version), Some(order.instance), order.client),
        None => (None, None, None),
    };
    let said = |(name, value): (&HeaderName, &HeaderValue)| Some((name.to_string(), value.to_str().ok()?.to_owned()));
    Ok(Answer {
        status: response.status().as_u16(),
        version,
        instance,
        verified_client: client,
        verified_server: text(response.headers(), SERVER_ID),
        proxy_status: text(response.headers(), "proxy-status"),
        headers: response.headers().iter().filter_map(said).collect(),
    })
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

fn json(status: StatusCode, value: &impl Serialize) -> Response<Full<Bytes>> {
    let body = serde_json::to_vec(value).unwrap_or_default();
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}

//! The program behind the services of the demo: a small real HTTP server that knows nothing of the mesh but its proxy.
//!
//! As `orders` it says who it is and who called; `POST /fail?on=true` makes it fail. As `frontend` it asks
//! `http://orders/` through `WEFT_OUTBOUND` for every request, and says what came of it.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::Context;
use bytes::Bytes;
use clap::{Args, ValueEnum};
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

use crate::plain_http;

/// Set by the sidecars on what they have verified.
const CLIENT_ID: &str = "weft-client-id";
const SERVER_ID: &str = "weft-server-id";
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
}

struct App {
    args: DemoApp,
    outbound: Option<SocketAddr>,
    failing: AtomicBool,
}

impl DemoApp {
    /// Serves until a signal ends the process.
    pub async fn execute(self) -> anyhow::Result<()> {
        let listener =
            TcpListener::bind(self.listen).await.with_context(|| format!("cannot listen on {}", self.listen))?;
        let outbound = std::env::var("WEFT_OUTBOUND").ok().and_then(|url| url.strip_prefix("http://")?.parse().ok());
        let app = Arc::new(App { args: self, outbound, failing: AtomicBool::new(false) });
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
    let answer = match (app.args.role, request.method(), request.uri().path()) {
        (Role::Orders, &Method::POST, "/fail") => {
            app.failing.store(request.uri().query() == Some("on=true"), Ordering::Relaxed);
            json(StatusCode::OK, &serde_json::json!({ "failing": app.failing.load(Ordering::Relaxed) }))
        }
        (Role::Orders, &Method::GET, _) => order(app, request.headers()),
        (Role::Frontend, &Method::GET, _) => match ask_orders(app, request.headers()).await {
            Ok(answer) => json(StatusCode::OK, &answer),
            Err(error) => json(StatusCode::BAD_GATEWAY, &serde_json::json!({ "error": format!("{error:#}") })),
        },
        _ => json(StatusCode::METHOD_NOT_ALLOWED, &serde_json::json!({})),
    };
    Ok(answer)
}

fn order(app: &App, headers: &HeaderMap) -> Response<Full<Bytes>> {
    let DemoApp { version, instance, .. } = &app.args;
    let status = match app.failing.load(Ordering::Relaxed) {
        true => StatusCode::SERVICE_UNAVAILABLE,
        false => StatusCode::OK,
    };
    let client = text(headers, CLIENT_ID);
    json(status, &Order { version: version.clone(), instance: instance.clone(), client })
}

async fn ask_orders(app: &App, headers: &HeaderMap) -> anyhow::Result<Answer> {
    let outbound = app.outbound.context("WEFT_OUTBOUND is not set")?;
    let mut request = Request::builder().uri("http://orders/").header(header::HOST, "orders");
    if let Some(user) = headers.get(USER) {
        request = request.header(USER, user);
    }
    let response = plain_http::send(outbound, request.body(Bytes::new())?).await?;
    // An answer that the mesh makes itself is not an order.
    let order: Option<Order> = serde_json::from_slice(response.body()).ok();
    let (version, instance, client) = match order {
        Some(order) => (Some(order.version), Some(order.instance), order.client),
        None => (None, None, None),
    };
    Ok(Answer {
        status: response.status().as_u16(),
        version,
        instance,
        verified_client: client,
        verified_server: text(response.headers(), SERVER_ID),
        proxy_status: text(response.headers(), "proxy-status"),
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

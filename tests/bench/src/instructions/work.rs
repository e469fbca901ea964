//! The requests that are counted, and the application that answers them.
//!
//! Always the same bytes: 1 KiB in each answer, no body in the request. Requests of one round are sent at once and all
//! are awaited before the next round, so that as many are under way at a time in every run.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::ensure;
use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt, Empty, Full};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::net::{TcpListener, TcpStream};

pub const SERVICE: &str = "orders";
const ANSWER: Bytes = Bytes::from_static(&[b'x'; 1024]);

#[derive(Clone, Copy)]
pub enum Work {
    /// One connection: what a request costs by itself.
    Http1,
    /// Sixteen connections: what it costs among others, when a wake-up serves several.
    Http1Parallel,
    /// One connection with sixteen streams.
    Http2,
}

impl Work {
    pub const ALL: [Self; 3] = [Self::Http1, Self::Http1Parallel, Self::Http2];
    const PARALLEL: usize = 16;

    pub fn name(self) -> &'static str {
        match self {
            Self::Http1 => "http1",
            Self::Http1Parallel => "http1-16-connections",
            Self::Http2 => "http2-16-streams",
        }
    }

    pub async fn callers(self, proxy: SocketAddr) -> anyhow::Result<Callers> {
        let connections = if let Self::Http1Parallel = self { Self::PARALLEL } else { 1 };
        let mut callers = Vec::new();
        for _ in 0..connections {
            let stream = TcpStream::connect(proxy).await?;
            stream.set_nodelay(true)?;
            let io = TokioIo::new(stream);
            if let Self::Http2 = self {
                let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
                tokio::spawn(connection);
                callers.extend((0..Self::PARALLEL).map(|_| Caller::Http2(sender.clone())));
            } else {
                let (sender, connection) = http1::handshake(io).await?;
                tokio::spawn(connection);
                callers.push(Caller::Http1(sender));
            }
        }
        Ok(Callers(callers))
    }
}

/// Who sends one request at a time.
enum Caller {
    Http1(http1::SendRequest<Empty<Bytes>>),
    Http2(http2::SendRequest<Empty<Bytes>>),
}

pub struct Callers(Vec<Caller>);

impl Callers {
    /// Sends that many requests in rounds, one of each caller.
    pub async fn send(&mut self, mut count: usize) -> anyhow::Result<()> {
        while count > 0 {
            let round = self.0.iter_mut().take(count).map(Caller::send);
            count -= round.len();
            futures_util::future::try_join_all(round).await?;
        }
        Ok(())
    }
}

impl Caller {
    async fn send(&mut self) -> anyhow::Result<()> {
        let request = Request::get("http://orders/items?page=1")
            .header(header::USER_AGENT, "weft-bench")
            .header(header::ACCEPT, "*/*");
        let response = match self {
            Self::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request.header(header::HOST, SERVICE).body(Empty::new())?).await?
            }
            Self::Http2(sender) => {
                sender.ready().await?;
                sender.send_request(request.body(Empty::new())?).await?
            }
        };
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        ensure!(status.is_success() && body == ANSWER, "{status}: {}", String::from_utf8_lossy(&body));
        Ok(())
    }
}

/// HTTP/1.1 and HTTP/2 on a free port of 127.0.0.1.
pub struct App {
    address: SocketAddr,
    answered: Arc<AtomicUsize>,
}

impl App {
    pub async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let answered = Arc::<AtomicUsize>::default();
        tokio::spawn(serve(listener, answered.clone()));
        Ok(Self { address, answered })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn answered(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }
}

async fn serve(listener: TcpListener, answered: Arc<AtomicUsize>) {
    while let Ok((stream, _)) = listener.accept().await {
        // Without it the second of two small writes waits for the sidecar's acknowledgement.
        let _ = stream.set_nodelay(true);
        let answered = answered.clone();
        let service = service_fn(move |_: Request<Incoming>| {
            answered.fetch_add(1, Ordering::Relaxed);
            async { Ok::<_, Infallible>(Response::new(Full::new(ANSWER))) }
        });
        tokio::spawn(async move {
            // A sidecar that goes away is noticed by whoever waits for its answer.
            let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

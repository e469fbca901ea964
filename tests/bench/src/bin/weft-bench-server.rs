//! The application of the gRPC-like work: HTTP/2 without TLS, one framed message in, one framed message out, the status
//! in the trailers. Does as little as an application can. Started by the orchestrator.
#![allow(clippy::unwrap_used, reason = "a measuring tool may panic")]

use std::{convert::Infallible, net::SocketAddr};

use bytes::Bytes;
use clap::Parser;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::{Body, Incoming},
    server::conn::http2,
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

/// Not compressed, 128 bytes long.
const FRAME: &[u8; 5] = &[0, 0, 0, 0, 128];

/// A server of unary calls, for the benchmark.
#[derive(Parser)]
#[command(name = "weft-bench-server")]
struct Cli {
    #[arg(long)]
    listen: SocketAddr,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let listener = TcpListener::bind(Cli::parse().listen).await.unwrap();
    println!("weft-bench-server ready listen={}", listener.local_addr().unwrap());
    let message: Bytes = [&FRAME[..], &[b'x'; 128]].concat().into();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        stream.set_nodelay(true).unwrap();
        let message = message.clone();
        let service = service_fn(move |request| answer(request, message.clone()));
        let mut server = http2::Builder::new(TokioExecutor::new());
        server.max_concurrent_streams(1000);
        let connection = server.serve_connection(TokioIo::new(stream), service);
        // How a connection ends is its owner's matter.
        tokio::spawn(async move { _ = connection.await });
    }
}

async fn answer(
    request: Request<Incoming>,
    message: Bytes,
) -> Result<Response<impl Body<Data = Bytes, Error = Infallible>>, Infallible> {
    let whole = request.into_body().collect().await;
    let complete = whole.is_ok_and(|body| body.to_bytes().starts_with(&[0]));
    let trailers = HeaderMap::from_iter([(HeaderName::from_static("grpc-status"), HeaderValue::from(0))]);
    let mut response = Response::new(Full::new(message).with_trailers(std::future::ready(Some(Ok(trailers)))));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    if !complete {
        *response.status_mut() = StatusCode::BAD_REQUEST;
    }
    Ok(response)
}

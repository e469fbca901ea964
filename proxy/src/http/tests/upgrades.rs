//! Upgrades that callers of HTTP/2 ask for (RFC 8441), through somebody between who asks on.

use std::{convert::Infallible, net::SocketAddr};

use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::{client::conn::http2, ext::Protocol, server, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;
use crate::{
    error::{Kind, ProxyError},
    http::{
        http1::tests::{client::Callee, status},
        upgrade,
    },
};

/// Sends every request on, as the two sides of a sidecar do, and answers with the status where that fails.
fn between(callee: SocketAddr, hop: Hop) -> impl Fn(Request<Body>) -> Answering {
    let callee = Callee::at(callee);
    move |mut request| {
        let callee = callee.clone();
        Box::pin(async move {
            let mut switch = upgrade::asked(&mut request);
            if hop == Hop::Http1
                && let Some(switch) = &mut switch
            {
                let (mut parts, body) = request.into_parts();
                switch.ask_by_upgrade(&mut parts);
                request = Request::from_parts(parts, body);
            }
            let sent = callee.send_by(hop, request).await.map_err(|unanswered| unanswered.error);
            let finished = sent.and_then(|response| {
                let granted = upgrade::granted(&response);
                upgrade::finish(response, granted, switch, || Drain::new().place())
            });
            finished.unwrap_or_else(|ProxyError { kind, .. }| status(kind.meaning().status.as_u16()))
        })
    }
}

type Answering = std::pin::Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

/// An application of HTTP/2 that answers `CONNECT` with this status and, where that is 200, echoes.
async fn application(takes_connect: bool, answer: u16) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let service = service_fn(move |mut request: Request<hyper::body::Incoming>| async move {
            assert_eq!(request.method(), Method::CONNECT);
            assert_eq!(request.extensions().get::<Protocol>().unwrap().as_str(), "websocket");
            assert_eq!(request.uri(), "http://chat/room?1");
            let upgraded = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let Ok(upgraded) = upgraded.await else { return };
                let (mut from, mut to) = tokio::io::split(TokioIo::new(upgraded));
                let _ = tokio::io::copy(&mut from, &mut to).await;
                let _ = to.shutdown().await;
            });
            Ok::<_, Infallible>(Response::builder().status(answer).body(Empty::<Bytes>::new()).unwrap())
        });
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let mut server = server::conn::http2::Builder::new(TokioExecutor::new());
            if takes_connect {
                server.enable_connect_protocol();
            }
            tokio::spawn(server.serve_connection(TokioIo::new(stream), service));
        }
    });
    address
}

/// Asks over HTTP/2, and gives the answer.
async fn ask(served: Served) -> Response<hyper::body::Incoming> {
    let stream = served.caller.into_stream();
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut request = Request::connect("http://chat/room?1")
        .header("sec-websocket-protocol", "soap")
        .body(Empty::<Bytes>::new())
        .unwrap();
    request.extensions_mut().insert(Protocol::from_static("websocket"));
    within(sender.send_request(request)).await.unwrap()
}

/// What is sent comes back, and so does the end.
async fn echoes(response: Response<hyper::body::Incoming>) {
    assert_eq!(response.status(), 200);
    let mut stream = TokioIo::new(within(hyper::upgrade::on(response)).await.unwrap());
    for sent in [&b"hello"[..], &[7; 300_000]] {
        let mut received = vec![0; sent.len()];
        let (mut reading, mut writing) = tokio::io::split(&mut stream);
        within(async { tokio::join!(writing.write_all(sent), reading.read_exact(&mut received)) }).await.1.unwrap();
        assert!(received == sent);
    }
    stream.shutdown().await.unwrap();
    let mut rest = Vec::new();
    within(stream.read_to_end(&mut rest)).await.unwrap();
    assert!(rest.is_empty());
}

#[tokio::test]
async fn a_connect_with_a_protocol_goes_through_http_2() {
    let served = Served::new(None, LIMITS, between(application(true, 200).await, Hop::Http2)).await;
    echoes(ask(served).await).await;
}

#[tokio::test]
async fn one_that_is_refused_is_answered_like_any_request() {
    let served = Served::new(None, LIMITS, between(application(true, 403).await, Hop::Http2)).await;
    assert_eq!(ask(served).await.status(), 403);
    // hyper's client takes no other word for a yes.
    let served = Served::new(None, LIMITS, between(application(true, 201).await, Hop::Http2)).await;
    assert_eq!(ask(served).await.status(), Kind::UpgradeFailed.meaning().status);
}

#[tokio::test]
async fn it_is_not_sent_to_who_does_not_take_it() {
    let served = Served::new(None, LIMITS, between(application(false, 200).await, Hop::Http2)).await;
    assert_eq!(ask(served).await.status(), StatusCode::NOT_IMPLEMENTED);
}

/// An application of HTTP/1.1 that takes one request, and sends back what follows it.
async fn old_application(answer: impl Fn(&str) -> String + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut peer = Peer::new(listener.accept().await.unwrap().0);
        let head = peer.head().await;
        peer.send(answer(&head)).await;
        let (mut from, mut to) = peer.into_stream().into_split();
        let _ = tokio::io::copy(&mut from, &mut to).await;
    });
    address
}

fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// As every WebSocket server does it.
fn accept(head: &str) -> String {
    use base64::{Engine, prelude::BASE64_STANDARD};
    use sha1::{Digest, Sha1};
    let key = field(head, "sec-websocket-key").expect("a key");
    assert_eq!(BASE64_STANDARD.decode(key).unwrap().len(), 16);
    BASE64_STANDARD.encode(Sha1::digest(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11")))
}

#[tokio::test]
async fn who_speaks_http_1_1_is_asked_by_upgrade() {
    let app = old_application(|head| {
        assert!(head.starts_with("GET /room?1 HTTP/1.1\r\n"), "{head}");
        for (name, value) in [
            ("connection", "upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-protocol", "soap"),
        ] {
            assert_eq!(field(head, name), Some(value), "{head}");
        }
        let accept = accept(head);
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-accept: {accept}\r\nsec-websocket-protocol: soap\r\n\r\n"
        )
    })
    .await;
    let response = ask(Served::new(None, LIMITS, between(app, Hop::Http1)).await).await;
    assert_eq!(response.headers()["sec-websocket-protocol"], "soap");
    for name in ["connection", "upgrade", "sec-websocket-accept"] {
        assert!(!response.headers().contains_key(name), "{name} is not for HTTP/2");
    }
    echoes(response).await;
}

#[tokio::test]
async fn an_upgrade_that_is_not_what_was_asked_for_is_none() {
    let switch = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n";
    for (answer, status) in [
        (format!("{switch}\r\n"), 502),
        (format!("{switch}sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"), 502),
        ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_owned(), 502),
        ("HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\nno".to_owned(), 404),
    ] {
        let app = old_application(move |_| answer.clone()).await;
        let response = ask(Served::new(None, LIMITS, between(app, Hop::Http1)).await).await;
        assert_eq!(response.status(), status);
        let body = within(response.into_body().collect()).await.unwrap().to_bytes();
        assert_eq!(body, if status == 404 { "no" } else { "" });
    }
}

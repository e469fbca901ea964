//! gRPC calls, and other requests over HTTP/2.

use std::sync::Mutex;

use http::{HeaderMap, Version};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use weft_proxy_api::policy::{Backoff, Timeouts};

use super::*;

/// A call as it came.
struct Seen {
    headers: HeaderMap,
    body: String,
}

/// Over HTTP/2: answers `first` to the first request, and then with a message and the status 0.
struct Server {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    async fn start(first: fn() -> Response<Body>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, seen) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
        let all = seen.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let all = all.clone();
                let answer = service_fn(move |request: Request<Incoming>| {
                    let all = all.clone();
                    async move {
                        let (parts, body) = request.into_parts();
                        let body = body.collect().await.unwrap().to_bytes();
                        let mut all = all.lock().unwrap();
                        all.push(Seen { headers: parts.headers, body: String::from_utf8(body.into()).unwrap() });
                        let answer = if all.len() == 1 { first() } else { status(0) };
                        Ok::<_, std::convert::Infallible>(answer)
                    }
                });
                let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                tokio::spawn(server.serve_connection(TokioIo::new(stream), answer));
            }
        });
        Self { address, seen }
    }

    fn mesh(&self, change: impl FnOnce(&mut Service)) -> Mesh {
        let mesh = Mesh::new();
        mesh.publish(vec![endpoint(self.address, None)], |service| {
            policies(service).retry.backoff = Backoff::None;
            change(service);
        });
        mesh
    }

    fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    fn saw(&self, name: &str) -> Vec<Option<String>> {
        let text = |seen: &Seen| seen.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        self.seen.lock().unwrap().iter().map(text).collect()
    }
}

/// "Trailers only".
fn status(code: u16) -> Response<Body> {
    let mut answer = Response::new(Body::empty());
    answer.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
    answer.headers_mut().insert("grpc-status", code.into());
    answer
}

fn call() -> Request<Body> {
    let mut call = request(Method::POST, pieces(vec!["mes", "sage"], true));
    *call.version_mut() = Version::HTTP_2;
    call.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
    call
}

#[tokio::test]
async fn a_call_is_repeated_after_the_codes_that_are_named() {
    let server = Server::start(|| status(14)).await;
    let mesh = server.mesh(|service| policies(service).retry.grpc_codes = vec![14]);
    let mut with_its_own = call();
    with_its_own.headers_mut().insert("grpc-previous-rpc-attempts", "1".parse().unwrap());
    let answer = mesh.send(with_its_own).await;
    assert_eq!((answer.headers["grpc-status"].as_bytes(), server.count()), (&b"0"[..], 2));
    assert!(server.seen.lock().unwrap().iter().all(|seen| seen.body == "message"));
    assert_eq!(server.saw("grpc-previous-rpc-attempts"), [Some("1".into()), Some("2".into())]);
    assert_eq!(mesh.metric(r#"weft_retries_total{backend="shop/orders:80",reason="grpc_status"}"#), 1);
}

#[tokio::test]
async fn other_calls_are_not() {
    let server = Server::start(|| status(14)).await;
    let answer = server.mesh(|_| {}).send(call()).await;
    assert_eq!((answer.headers["grpc-status"].as_bytes(), answer.why(), server.count()), (&b"14"[..], "", 1));
}

#[tokio::test]
async fn http_2_keeps_what_it_may_have_to_send_again() {
    let unavailable = || Response::builder().status(503).body(Body::empty()).unwrap();
    for body in [Body::empty(), Body::full("hello"), pieces(vec!["hello"], true)] {
        let server = Server::start(unavailable).await;
        let mut put = request(Method::PUT, body);
        *put.version_mut() = Version::HTTP_2;
        put.headers_mut().insert("x-kept", "1".parse().unwrap());
        assert_eq!(server.mesh(|_| {}).send(put).await.status, 200);
        assert_eq!(server.saw("x-kept"), [Some("1".into()), Some("1".into())]);
        assert_eq!(server.saw("weft-attempt-count"), [None, Some("2".into())]);
        let seen = server.seen.lock().unwrap();
        assert_eq!(seen[0].body, seen[1].body);
    }
}

#[tokio::test]
async fn the_limit_of_a_call_is_passed_on_as_what_is_left_of_it() {
    let server = Server::start(|| status(14)).await;
    let mesh = server.mesh(|service| {
        let policies = policies(service);
        policies.retry.grpc_codes = vec![14];
        policies.timeouts = Timeouts { request: Some(Duration::from_secs(50)), ..Timeouts::NONE };
    });
    let mut limited = call();
    limited.headers_mut().insert("grpc-timeout", "2M".parse().unwrap());
    mesh.send(limited).await;
    let told: Vec<u64> = server
        .saw("grpc-timeout")
        .into_iter()
        .map(|told| told.unwrap().strip_suffix('u').expect("in microseconds").parse().unwrap())
        .collect();
    let [first, second] = told[..] else { panic!("{told:?}") };
    assert!(first <= 50_000_000, "the route's own limit is shorter: {first}");
    assert!(second < first, "{first} {second}");
}

#[tokio::test]
async fn a_stream_that_is_silent_ends_with_a_status() {
    let server = Server::start(|| {
        let mut answer = Response::new(pieces(vec!["message"], false));
        answer.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
        answer
    })
    .await;
    let idle = Some(Duration::from_millis(300));
    let mesh = server.mesh(|service| policies(service).timeouts = Timeouts { idle, ..Timeouts::NONE });
    let answer = mesh.send(call()).await;
    assert_eq!(answer.body.as_deref(), Some("message"));
    assert_eq!(answer.trailers.unwrap()["grpc-status"], "4");
}

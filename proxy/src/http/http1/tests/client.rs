//! The client and its pool, against a callee that says what the test makes it say.

use std::{
    net::SocketAddr,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use http::{Method, StatusCode};
use proptest::prelude::*;
use tokio::sync::mpsc;
use weft_certs::{Ca, Identity, SpiffeId, TrustDomain};

use super::*;
use crate::{
    error::Kind,
    http::{
        client::{Client, Target},
        pool::{Keep, Pool, Unanswered},
    },
    net::Hop,
    telemetry::Metrics,
};

/// An endpoint, and the pool of connections to it.
#[derive(Clone)]
pub(in crate::http) struct Callee {
    pool: Arc<Pool>,
    target: Arc<Target>,
}

impl Callee {
    pub(in crate::http) fn at(address: SocketAddr) -> Self {
        let trust_domain: TrustDomain = "weft.local".parse().unwrap();
        let now = std::time::SystemTime::now();
        let ca = Ca::create(trust_domain.clone(), now).unwrap();
        let id = SpiffeId::workload(&trust_domain, "shop", "frontend").unwrap();
        let identity = Identity::new(ca.issue(&id, Duration::from_secs(60), now).unwrap(), ca.trust_bundle());
        let pool = Pool::new(Arc::new(Client::new(&identity, Arc::new(Metrics::new()), Default::default())));
        Self { pool, target: Arc::new(Target { address, identity: None }) }
    }

    pub(super) async fn send(&self, request: Request<Body>) -> Result<Response<Body>, Unanswered> {
        self.send_by(Hop::Http1, request).await
    }

    pub(in crate::http) async fn send_by(
        &self,
        hop: Hop,
        mut request: Request<Body>,
    ) -> Result<Response<Body>, Unanswered> {
        within(self.pool.send(&self.target, hop, DEADLINE, &mut request, Keep::Nothing)).await
    }

    pub(super) async fn get(&self) -> Result<Response<Body>, Unanswered> {
        self.send(request(Method::GET, Body::empty())).await
    }
}

pub(super) async fn callee() -> (Callee, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    (Callee::at(listener.local_addr().unwrap()), listener)
}

pub(super) async fn accept(listener: &TcpListener) -> Peer {
    Peer::new(within(listener.accept()).await.unwrap().0)
}

pub(super) fn request(method: Method, body: Body) -> Request<Body> {
    Request::builder().method(method).uri("http://orders/a?b").header("host", "orders").body(body).unwrap()
}

/// A body that a caller sends with chunks, or with a length that it says.
pub(super) async fn upload(length: Option<u64>) -> (Peer, Body) {
    let (caller, connection) = pair().await;
    let framing = length.map_or(decoder::Decoder::Chunked(decoder::Chunked::Size), decoder::Decoder::Length);
    (caller, Body::request(request_body::Served::new(connection).begin_body(framing, false)))
}

pub(super) const NO_CONTENT: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";

/// A callee that answers the first request with `answer`, then closes if `closes`, and all others with 204. Tells for
/// each request which connection it came on.
async fn scripted(answer: Vec<u8>, closes: bool) -> (Callee, mpsc::UnboundedReceiver<usize>) {
    let (callee, listener) = callee().await;
    let (connections, used) = mpsc::unbounded_channel();
    let answer = Arc::new(Mutex::new(Some(answer)));
    tokio::spawn(async move {
        for number in 0.. {
            let (mut peer, answer, connections) = (accept_any(&listener).await, answer.clone(), connections.clone());
            tokio::spawn(async move {
                while peer.has_request().await {
                    connections.send(number).unwrap();
                    let first = answer.lock().unwrap().take();
                    if peer.stream.write_all(first.as_deref().unwrap_or(NO_CONTENT)).await.is_err()
                        || first.is_some() && closes
                    {
                        return;
                    }
                }
            });
        }
    });
    (callee, used)
}

async fn accept_any(listener: &TcpListener) -> Peer {
    Peer::new(listener.accept().await.unwrap().0)
}

impl Peer {
    /// Waits for a request's head; false: the other side has closed.
    pub(super) async fn has_request(&mut self) -> bool {
        loop {
            if let Some(at) = self.read.windows(4).position(|window| window == b"\r\n\r\n") {
                self.read.drain(..at + 4);
                return true;
            }
            if self.stream.read_buf(&mut self.read).await.unwrap_or(0) == 0 {
                return false;
            }
        }
    }
}

/// What becomes of an answer.
#[derive(Debug, PartialEq)]
struct Seen {
    status: u16,
    body: String,
    broke_off: bool,
    /// Whether the connection was used again.
    reused: bool,
}

async fn seen(method: Method, answer: &[u8], closes: bool) -> Seen {
    let (callee, mut used) = scripted(answer.to_vec(), closes).await;
    let response = callee.send(request(method, Body::empty())).await.unwrap();
    let status = response.status().as_u16();
    let (body, _, broke_off) = read(response.into_body()).await;
    assert_eq!(callee.get().await.unwrap().status(), StatusCode::NO_CONTENT);
    let reused = used.recv().await == used.recv().await;
    Seen { status, body, broke_off, reused }
}

async fn expect(method: Method, answer: &str, closes: bool, body: &str, reused: bool) {
    let seen = seen(method, answer.as_bytes(), closes).await;
    assert_eq!((seen.body.as_str(), seen.broke_off, seen.reused), (body, false, reused), "{answer:?}");
}

#[tokio::test]
async fn bodies_end_where_their_framing_says() {
    for (answer, body, reused) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", "hello", true),
        ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", "", true),
        ("HTTP/1.1 200\r\nCONTENT-LENGTH: 5\r\ncontent-length: 5\r\n\r\nhello", "hello", true),
        ("HTTP/1.1 200 OK\ncontent-length: 5\n\nhello", "hello", true),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n1;x\r\n!\r\n0\r\n\r\n", "hello!", true),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", "", true),
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\nConnection: Close\r\n\r\nhello", "hello", false),
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: x, close\r\n\r\nhello", "hello", false),
        ("HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nhello", "hello", false),
        ("HTTP/1.0 200 OK\r\ncontent-length: 5\r\nconnection: keep-alive\r\n\r\nhello", "hello", true),
        ("HTTP/1.1 204 No Content\r\n\r\n", "", true),
        ("HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n", "", true),
        ("HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n", "", true),
        // More than the answer: nobody knows what it is.
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello, world", "hello", false),
        ("HTTP/1.1 204 No Content\r\n\r\nx", "", false),
    ] {
        expect(Method::GET, answer, false, body, reused).await;
    }
    expect(Method::GET, "HTTP/1.1 200 OK\r\n\r\nto the end", true, "to the end", false).await;
    expect(Method::GET, "HTTP/1.0 200 OK\r\n\r\n", true, "", false).await;
    for fields in ["content-length: 5", "transfer-encoding: chunked", "x: y"] {
        expect(Method::HEAD, &format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n"), false, "", true).await;
    }
}

#[tokio::test]
async fn interim_answers_are_skipped() {
    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n".repeat(3);
    expect(Method::GET, &format!("{interim}HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"), false, "hi", true).await;
}

#[tokio::test]
async fn bodies_that_break_off_are_not_complete() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhellox\r\n0\r\n\r\n",
    ] {
        let seen = seen(Method::GET, answer.as_bytes(), true).await;
        assert_eq!((seen.body.as_str(), seen.broke_off, seen.reused), ("hello", true, false), "{answer:?}");
    }
}

#[tokio::test]
async fn answers_that_are_ambiguous_are_not_believed() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 204 No\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\ncontent-length: 5, 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\ncontent-length: +5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\ncontent-length:\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length : 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nx: a\r\n b\r\n\r\n",
        "HTTP/2 200\r\n\r\n",
        "HTTP/1.1 99 X\r\n\r\n",
        "hello",
    ] {
        let (callee, _used) = scripted(answer.into(), true).await;
        let unanswered = callee.get().await.unwrap_err();
        assert_eq!(unanswered.error.kind, Kind::Reset, "{answer:?}");
        assert!(!unanswered.untouched, "it was sent: {answer:?}");
    }
    let endless = format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(200_000));
    let (callee, _used) = scripted(endless.into(), false).await;
    assert_eq!(callee.get().await.unwrap_err().error.kind, Kind::Reset);
}

#[tokio::test]
async fn trailers_come_with_the_body() {
    let answer =
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nGrpc-Status: 0\r\n\r\n".to_vec();
    let (callee, _used) = scripted(answer, false).await;
    let (data, trailers, broke_off) = read(callee.get().await.unwrap().into_body()).await;
    assert_eq!((data.as_str(), broke_off), ("hi", false));
    assert_eq!(trailers.unwrap()["grpc-status"], "0");
}

#[tokio::test]
async fn a_switch_hands_over_what_came_with_it() {
    let (callee, _used) =
        scripted(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\nearly".to_vec(), false).await;
    let mut body = callee.get().await.unwrap().into_body();
    let (_, early) = body.take_switched().expect("switched").into_parts();
    assert_eq!(early, "early");
}

#[tokio::test]
async fn a_switch_before_the_request_is_complete_is_not_believed() {
    let (callee, _used) = scripted(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n".to_vec(), false).await;
    let (_caller, body) = upload(Some(5)).await;
    assert_eq!(callee.send(request(Method::POST, body)).await.unwrap_err().error.kind, Kind::Reset);
}

#[tokio::test]
async fn a_connection_that_was_closed_while_idle_is_not_used() {
    let (callee, listener) = callee().await;
    let peer = async {
        let mut first = accept(&listener).await;
        first.head().await;
        first.send(NO_CONTENT).await;
        drop(first);
        let mut second = accept(&listener).await;
        second.head().await;
        second.send(NO_CONTENT).await;
    };
    let talk = async {
        callee.get().await.unwrap();
        // The peer is polled in between, and has closed then.
        tokio::task::yield_now().await;
        callee.get().await.unwrap();
    };
    within(async { tokio::join!(peer, talk) }).await;
}

#[tokio::test]
async fn requests_say_how_long_their_bodies_are() {
    let (callee, listener) = callee().await;
    let mut heads = Vec::new();
    for (method, body) in [(Method::GET, ""), (Method::POST, ""), (Method::POST, "hello"), (Method::DELETE, "x")] {
        let peer = async {
            let mut peer = accept(&listener).await;
            let (head, received) = peer.message().await;
            assert_eq!(received, body);
            peer.send("HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").await;
            head
        };
        let (head, sent) = tokio::join!(peer, callee.send(request(method, Body::full(body))));
        sent.unwrap();
        heads.push(head);
    }
    assert_eq!(heads[0], "GET /a?b HTTP/1.1\r\nhost: orders\r\n\r\n");
    assert_eq!(heads[1], "POST /a?b HTTP/1.1\r\nhost: orders\r\ncontent-length: 0\r\n\r\n");
    assert_eq!(heads[2], "POST /a?b HTTP/1.1\r\nhost: orders\r\ncontent-length: 5\r\n\r\n");
    assert!(heads[3].contains("content-length: 1\r\n"));
}

#[tokio::test]
async fn a_request_is_framed_once_whatever_its_fields_say() {
    let (callee, listener) = callee().await;
    let mut twice = request(Method::POST, Body::full("hello"));
    for (name, value) in [("content-length", "5"), ("content-length", "50"), ("transfer-encoding", "chunked")] {
        twice.headers_mut().append(name, value.parse().unwrap());
    }
    let peer = async {
        let mut peer = accept(&listener).await;
        let (head, body) = peer.message().await;
        peer.send(NO_CONTENT).await;
        (head, body)
    };
    let ((head, body), sent) = tokio::join!(peer, callee.send(twice));
    sent.unwrap();
    assert_eq!(
        (head.as_str(), body.as_str()),
        ("POST /a?b HTTP/1.1\r\nhost: orders\r\ncontent-length: 5\r\n\r\n", "hello")
    );
}

#[tokio::test]
async fn an_upload_of_unknown_length_goes_in_chunks_with_its_trailers() {
    let (callee, listener) = callee().await;
    let (mut caller, body) = upload(None).await;
    let peer = async {
        let mut peer = accept(&listener).await;
        assert!(peer.head().await.contains("\r\ntransfer-encoding: chunked\r\n"));
        caller.send("5\r\nhello\r\n").await;
        assert_eq!(peer.take(10).await, "5\r\nhello\r\n");
        caller.send("0\r\nsum: 1\r\n\r\n").await;
        assert_eq!(peer.until("\r\n\r\n").await, "0\r\nsum: 1\r\n\r\n");
        peer.send(NO_CONTENT).await;
        assert!(peer.has_request().await, "the connection is used again");
        peer.send(NO_CONTENT).await;
    };
    let talk = async {
        callee.send(request(Method::POST, body)).await.unwrap();
        callee.get().await.unwrap();
    };
    within(async { tokio::join!(peer, talk) }).await;
}

#[tokio::test]
async fn an_upload_that_breaks_off_never_looks_complete() {
    for (length, sent) in [(None, "5\r\nhello\r\n"), (None, "5\r\nhello\r\nx\r\n"), (Some(50), "hello")] {
        let (callee, listener) = callee().await;
        let (mut caller, body) = upload(length).await;
        let peer = async {
            let mut peer = accept(&listener).await;
            peer.head().await;
            caller.send(sent).await;
            drop(caller);
            peer.rest().await
        };
        let (received, sent) = within(async { tokio::join!(peer, callee.send(request(Method::POST, body))) }).await;
        assert_eq!(sent.unwrap_err().error.kind, Kind::BadRequest);
        assert!(!received.contains("0\r\n\r\n") && received.len() < 20, "{received:?}");
    }
}

#[tokio::test]
async fn an_upload_that_breaks_off_behind_an_early_answer_ends_that_answer() {
    let (callee, listener) = callee().await;
    let (mut caller, body) = upload(None).await;
    let peer = async {
        let mut peer = accept(&listener).await;
        peer.head().await;
        peer.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n").await;
        peer
    };
    let (peer, response) = tokio::join!(peer, callee.send(request(Method::POST, body)));
    caller.send("x\r\n").await;
    let (_, _, broke_off) = read(response.unwrap().into_body()).await;
    assert!(broke_off);
    assert_eq!(peer.rest().await, "");
}

/// Also when it is the sending side that finds out, while nobody asks for the answer.
#[tokio::test]
async fn an_upload_that_broke_off_stays_broken() {
    let (callee, listener) = callee().await;
    let (mut caller, body) = upload(None).await;
    let peer = async {
        let mut peer = accept(&listener).await;
        peer.head().await;
        peer.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nh").await;
        peer
    };
    let (peer, response) = tokio::join!(peer, callee.send(request(Method::POST, body)));
    let mut body = response.unwrap().into_body();
    caller.send("x\r\n").await;
    for _ in 0..100 {
        body.keep_moving(&mut Context::from_waker(std::task::Waker::noop()));
        tokio::task::yield_now().await;
    }
    assert!(read(body).await.2);
    assert_eq!(peer.rest().await, "");
}

/// HTTP/2 asks for frames only when it has room for them; the callee may read the request only when its answer is taken.
#[tokio::test]
async fn a_relayed_answer_lets_the_request_go_on_while_nobody_takes_it() {
    let (callee, listener) = callee().await;
    let (mut caller, body) = upload(Some(5)).await;
    let peer = async {
        let mut peer = accept(&listener).await;
        peer.head().await;
        peer.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n2\r\nho\r\n").await;
        peer
    };
    let (mut peer, response) = tokio::join!(peer, callee.send(request(Method::POST, body)));
    let body = response.unwrap().into_body().moving();
    caller.send("hello").await;
    assert_eq!(within(peer.take(5)).await, "hello");
    peer.send("0\r\n\r\n").await;
    let (text, _, broke_off) = read(body).await;
    assert_eq!((text.as_str(), broke_off), ("hiho", false));
}

/// Whoever answers before it has got the request may take the rest of it for anything.
#[tokio::test]
async fn a_connection_is_not_used_again_when_the_request_was_not_sent_to_its_end() {
    for answer in ["content-length: 2\r\n\r\nno", "transfer-encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n"] {
        let (callee, mut used) = scripted(format!("HTTP/1.1 403 No\r\n{answer}").into(), false).await;
        let (mut caller, body) = upload(Some(500)).await;
        caller.send("hello").await;
        let response = callee.send(request(Method::POST, body)).await.unwrap();
        assert_eq!(read(response.into_body()).await.0, "no");
        callee.get().await.unwrap();
        assert_ne!(used.recv().await, used.recv().await);
    }
}

/// All of the body was taken from the caller, but the callee does not read: the tail of it is still here.
#[tokio::test]
async fn a_connection_is_not_used_again_while_something_is_left_to_be_written() {
    let (callee, mut used) = scripted(b"HTTP/1.1 403 No\r\ncontent-length: 2\r\n\r\nno".to_vec(), false).await;
    let large = request(Method::POST, Body::full(vec![b'x'; 16 << 20]));
    let response = callee.send(large).await.unwrap();
    assert_eq!(read(response.into_body()).await.0, "no");
    callee.get().await.unwrap();
    assert_ne!(used.recv().await, used.recv().await);
}

#[tokio::test]
async fn the_answer_of_a_callee_that_takes_no_more_is_passed_on() {
    let (callee, listener) = callee().await;
    let (mut caller, body) = upload(None).await;
    let peer = async {
        let mut peer = accept(&listener).await;
        peer.head().await;
        peer.send("HTTP/1.1 413 Too Large\r\nconnection: close\r\n\r\ntoo large").await;
        peer.stream.shutdown().await.unwrap();
        peer
    };
    let (_peer, response) = tokio::join!(peer, callee.send(request(Method::POST, body)));
    let response = response.unwrap();
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    caller.send("5\r\nhello\r\n").await;
    assert_eq!(read(response.into_body()).await, ("too large".to_owned(), None, false));
}

#[tokio::test]
async fn a_reset_in_the_middle_is_an_error() {
    for sent in ["H", "HTTP/1.1 200 OK\r\ncontent-le", "HTTP/1.1 200 OK\r\n\r\nto the e"] {
        let (callee, listener) = callee().await;
        let peer = async {
            let mut peer = accept(&listener).await;
            // What is not read makes the close a reset.
            peer.stream.readable().await.unwrap();
            peer.send(sent).await;
        };
        let (_, response) = tokio::join!(peer, callee.get());
        match response {
            Ok(response) => assert!(read(response.into_body()).await.2, "{sent:?}"),
            Err(unanswered) => assert_eq!(unanswered.error.kind, Kind::Reset),
        }
    }
}

/// A listener that closes resets what it has not accepted.
#[tokio::test]
async fn a_connection_that_ends_without_a_byte_is_tried_once_more_where_that_is_safe() {
    for (method, length, connections) in [(Method::GET, None, 2), (Method::POST, None, 1), (Method::PUT, Some(5), 1)] {
        let (callee, listener) = callee().await;
        let made = Arc::new(AtomicUsize::new(0));
        let counted = made.clone();
        let peer = tokio::spawn(async move {
            loop {
                let peer = accept(&listener).await;
                counted.fetch_add(1, Ordering::SeqCst);
                // What is not read makes the close a reset.
                peer.stream.readable().await.unwrap();
            }
        });
        let body = if length.is_some() { Body::full("hello") } else { Body::empty() };
        let unanswered = callee.send(request(method.clone(), body)).await.unwrap_err();
        assert_eq!((unanswered.error.kind, !unanswered.untouched), (Kind::Reset, true), "{method}");
        assert_eq!(made.load(Ordering::SeqCst), connections, "{method}");
        peer.abort();
    }
}

/// The callee sends back what it gets, and neither side stops.
#[tokio::test]
async fn large_bodies_go_both_ways_at_once() {
    let (callee, listener) = callee().await;
    let (mut caller, body) = upload(Some(LARGE)).await;
    let peer = tokio::spawn(async move {
        let mut peer = accept(&listener).await;
        let head = peer.head().await;
        assert!(head.contains(&format!("content-length: {LARGE}\r\n")), "{head}");
        peer.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {LARGE}\r\n\r\n")).await;
        let (mut reading, mut writing) = peer.stream.into_split();
        writing.write_all(&peer.read).await.unwrap();
        tokio::io::copy(&mut reading, &mut writing).await.unwrap();
    });
    let sent: Vec<u8> = (0..LARGE).map(|n| (n / 7 % 26) as u8 + b'a').collect();
    let expected = String::from_utf8(sent.clone()).unwrap();
    let sending = tokio::spawn(async move {
        caller.send(sent).await;
        caller
    });
    let response = callee.send(request(Method::POST, body)).await.unwrap();
    let (received, _, broke_off) = read(response.into_body()).await;
    assert!(received == expected && !broke_off);
    within(sending).await.unwrap();
    drop(callee);
    within(peer).await.unwrap();
}

const LARGE: u64 = 2 << 20;

/// A caller that reads nothing before it has sent all of it, and a callee that answers much at once: the request must
/// go on although the answer stands still.
#[tokio::test]
async fn a_request_goes_on_while_nobody_takes_the_answer() {
    let (callee, listener) = callee().await;
    let peer = tokio::spawn(async move {
        let mut peer = accept(&listener).await;
        peer.head().await;
        let (mut reading, mut writing) = peer.stream.into_split();
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {LARGE}\r\n\r\n{}", "x".repeat(LARGE as usize));
        let writing = tokio::spawn(async move { writing.write_all(answer.as_bytes()).await.map(|()| writing) });
        let mut left = LARGE as usize - peer.read.len();
        let mut buffer = vec![0; 64 << 10];
        while left > 0 {
            left -= reading.read(&mut buffer).await.unwrap();
        }
        writing.await.unwrap().unwrap()
    });
    let (mut caller, serving) = served(&Drain::new(), move |request| {
        let callee = callee.clone();
        async move { callee.send(request).await.unwrap() }
    })
    .await;
    caller.send(format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {LARGE}\r\n\r\n")).await;
    caller.send("y".repeat(LARGE as usize)).await;
    caller.head().await;
    assert_eq!(caller.take(LARGE as usize).await.len(), LARGE as usize);
    within(peer).await.unwrap();
    drop(caller);
    super::server::closed(serving).await;
}

/// How an answer reads that arrives in `pieces`: its status, its data, and how it ended.
fn answer(pieces: &[&[u8]], method: &Method) -> (Option<StatusCode>, Vec<u8>, &'static str) {
    let (mut input, mut head, mut data) = (bytes::BytesMut::new(), None, Vec::new());
    for piece in pieces {
        input.extend_from_slice(piece);
        loop {
            let Some(head::AnswerHead { framing, .. }) = &mut head else {
                match head::take_answer(&mut input, method) {
                    Ok(Some(taken)) => head = Some(taken),
                    Ok(None) => break,
                    Err(_) => return (None, data, "refused"),
                }
                continue;
            };
            match framing.decode(&mut input) {
                Ok(decoder::Decoded::Frame(frame)) => data.extend(frame.into_data().unwrap_or_default()),
                Ok(decoder::Decoded::More(_)) => break,
                Ok(decoder::Decoded::End) => return (head.map(|head| head.status), data, "complete"),
                Err(_) => return (head.map(|head| head.status), data, "malformed"),
            }
        }
    }
    (head.map(|head| head.status), data, "open")
}

fn likely_answer() -> impl Strategy<Value = Vec<u8>> {
    let field = prop::sample::select(vec![
        "content-length: 5\r\n",
        "content-length: 0\r\n",
        "transfer-encoding: chunked\r\n",
        "x: y\r\n",
        "x: \n",
        "x\r\n",
    ]);
    let line = prop::sample::select(vec![
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200\n",
        "HTTP/1.1 204 No\r\n",
        "HTTP/1.1 101 X\r\n",
        "H",
    ]);
    let body = prop::collection::vec(prop::sample::select(&b"\r\n\r\n\r\n0012aAf; x"[..]), 0..40);
    (line, prop::collection::vec(field, 0..3), body)
        .prop_map(|(line, fields, body)| [line.as_bytes(), fields.concat().as_bytes(), b"\r\n", &body].concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn an_answer_reads_the_same_however_it_arrives(
        bytes in likely_answer(), sizes in prop::collection::vec(1..12_usize, 1..8), to_head in any::<bool>(),
    ) {
        let method = if to_head { Method::HEAD } else { Method::GET };
        let pieces = super::smuggling::pieces(&bytes, &sizes);
        prop_assert_eq!(answer(&pieces, &method), answer(&[&bytes], &method));
    }

    #[test]
    fn no_answer_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        answer(&[&bytes], &Method::GET);
    }
}

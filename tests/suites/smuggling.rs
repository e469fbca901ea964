//! Requests that two readers could read differently are refused on both sides, and reach no application.

use tokio::net::TcpStream;
use weft_certs::tls::client_config;
use weft_tests::{ControlPlane, Sidecar, Workload, connect, get, identity, send_raw};

/// What follows in the same bytes, and must never be taken for a request.
const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nHost: orders\r\n\r\n";

/// The shape, what the status must be, and the request.
fn shapes() -> Vec<(&'static str, &'static str, String)> {
    let post = |rest: &str| format!("POST / HTTP/1.1\r\nHost: orders\r\n{rest}");
    let huge = format!("X-Large: {}\r\n\r\n", "a".repeat(70 << 10));
    vec![
        ("length, then chunked", "400", post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")),
        ("chunked, then length", "400", post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n")),
        ("two lengths", "400", post("Content-Length: 0\r\nContent-Length: 4\r\n\r\nabcd")),
        ("a list of lengths", "400", post("Content-Length: 0, 4\r\n\r\nabcd")),
        ("a length with a sign", "400", post("Content-Length: +4\r\n\r\nabcd")),
        ("a length that is no number", "400", post("Content-Length: four\r\n\r\nabcd")),
        ("another coding", "400", post("Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n")),
        ("chunked twice", "400", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")),
        ("a folded coding", "400", post("Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n")),
        ("a blank before the colon", "400", post("Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n")),
        ("a chunk size that is no number", "400", post("Transfer-Encoding: chunked\r\n\r\nzz\r\nab\r\n0\r\n\r\n")),
        ("a negative chunk size", "400", post("Transfer-Encoding: chunked\r\n\r\n-1\r\nab\r\n0\r\n\r\n")),
        (
            "a chunk size beyond all bounds",
            "400",
            post("Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nab\r\n0\r\n\r\n"),
        ),
        ("a chunk longer than its size", "400", post("Transfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n")),
        ("a bare LF after a chunk size", "400", post("Transfer-Encoding: chunked\r\n\r\n1\na\r\n0\r\n\r\n")),
        ("a bare CR in a value", "400", post("X-A: 1\rContent-Length: 3\r\n\r\n")),
        ("a bare CR at a line's end", "400", post("X-A: 1\rX-B: 2\r\n\r\n")),
        ("a folded line", "400", post("X-A: 1\r\n Content-Length: 3\r\n\r\n")),
        ("NUL in a value", "400", post("X-A: 1\0\r\n\r\n")),
        ("NUL in a name", "400", post("X\0A: 1\r\n\r\n")),
        ("a line without a colon", "400", post("nonsense\r\n\r\n")),
        ("a head that is too large", "431", post(&huge)),
    ]
}

async fn mesh() -> (ControlPlane, Workload, Sidecar) {
    let control_plane = ControlPlane::start().await;
    let orders = Workload::start(&control_plane, "orders", "v1").await;
    let caller = control_plane.sidecar("caller").start().await;
    assert_eq!(get(caller.outbound(), "http://orders/").await.status, 200);
    (control_plane, orders, caller)
}

/// One answer that refuses, then the end of the connection.
fn assert_refused(shape: &str, status: &str, answer: Option<String>) {
    let answer = answer.unwrap_or_else(|| panic!("{shape}: the connection stays open"));
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{shape}: {answer:?}");
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{shape}: {answer:?}");
    assert!(answer.contains("error=http_request_error"), "{shape}: no reason is given: {answer:?}");
}

#[tokio::test]
async fn from_an_application() {
    let (_control_plane, orders, caller) = mesh().await;
    for (shape, status, bytes) in shapes() {
        let stream = TcpStream::connect(caller.outbound()).await.unwrap();
        let answer = send_raw(stream, (bytes + HIDDEN).as_bytes()).await;
        assert_refused(shape, status, answer);
        assert_eq!(orders.app.answered(), 1, "{shape} reached the app");
    }
    assert!(caller.metric("weft_malformed_requests_total").await >= 1.0);
    assert_eq!(get(caller.outbound(), "http://orders/").await.status, 200, "others go on");
}

#[tokio::test]
async fn from_another_workload() {
    let (control_plane, orders, caller) = mesh().await;
    let config = client_config(&identity(caller.svid(), control_plane.trust_bundle()), &[b"weft-http/1.1"]);
    for (shape, status, bytes) in shapes() {
        let stream = connect(orders.sidecar.inbound(), config.clone()).await.unwrap();
        let answer = send_raw(stream, (bytes + HIDDEN).as_bytes()).await;
        assert_refused(shape, status, answer);
        assert_eq!(orders.app.answered(), 1, "{shape} reached the app");
    }
    assert!(orders.sidecar.metric("weft_malformed_requests_total").await >= 1.0);

    let honest = "GET / HTTP/1.1\r\nHost: orders\r\nConnection: close\r\n\r\n";
    let stream = connect(orders.sidecar.inbound(), config).await.unwrap();
    let answer = send_raw(stream, honest.as_bytes()).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "the same way works for what is well-formed: {answer:?}");
}

#[tokio::test]
async fn pipelined_requests_are_looked_at_one_by_one() {
    let (_control_plane, orders, caller) = mesh().await;
    let good = "POST / HTTP/1.1\r\nHost: orders\r\nContent-Length: 3\r\n\r\nabc";
    let bad = "POST / HTTP/1.1\r\nHost: orders\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let stream = TcpStream::connect(caller.outbound()).await.unwrap();
    let answer = send_raw(stream, format!("{good}{bad}{HIDDEN}").as_bytes()).await.expect("the connection stays open");
    let statuses: Vec<_> = answer.match_indices("HTTP/1.1 ").map(|(at, _)| &answer[at + 9..at + 12]).collect();
    assert_eq!(statuses, ["200", "400"], "{answer}");
    assert_eq!(orders.app.answered(), 2);
}

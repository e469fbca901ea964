//! Against hyper's own server: what it refuses behind the guard, and that it gets everything else as it was sent.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, StatusCode, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::*;

/// Echoes the body of each request, behind `path length: `.
async fn echo(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let path = request.uri().path().to_owned();
    let body = match request.into_body().collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => {
            let mut response = Response::new(Full::default());
            *response.status_mut() = StatusCode::BAD_REQUEST;
            return Ok(response);
        }
    };
    let answer = format!("{path} {}: {}", body.len(), String::from_utf8_lossy(&body));
    Ok(Response::new(Full::from(answer)))
}

/// What the server answers to `sent`, written in pieces of `size` bytes, and why the guard refused.
async fn exchange(sent: &[u8], size: usize) -> (String, Option<Refusal>) {
    let (mut client, server) = tokio::io::duplex(1 << 16);
    let state = HeadState::new();
    let served = serve(server, state.clone());
    let talk = async {
        for piece in sent.chunks(size) {
            // The server may have closed already; what it answered is still to be read.
            if client.write_all(piece).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        let _ = client.shutdown().await;
        let mut answer = Vec::new();
        let _ = client.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    };
    let (answer, ()) = tokio::join!(talk, served);
    (answer, state.refusal())
}

async fn serve(io: DuplexStream, state: HeadState) {
    let io = TokioIo::new(HeadGuard::new(io, state));
    // Errors are what these tests provoke; the answer tells.
    let _ = http1::Builder::new().half_close(true).serve_connection(io, service_fn(echo)).await;
}

fn statuses(answer: &str) -> Vec<&str> {
    answer.match_indices("HTTP/1.1 ").filter_map(|(at, _)| answer.get(at + 9..at + 12)).collect()
}

const SIZES: [usize; 4] = [1, 7, 40, usize::MAX];

async fn refused(sent: &str, reason: Refusal) {
    for size in SIZES {
        let (answer, refusal) = exchange(sent.as_bytes(), size).await;
        assert_eq!(statuses(&answer), ["400"], "{sent:?} in pieces of {size}: {answer}");
        assert_eq!(refusal, Some(reason), "{sent:?} in pieces of {size}");
    }
}

async fn passed(sent: &str, answers: &[&str]) {
    for size in SIZES {
        let (answer, refusal) = exchange(sent.as_bytes(), size).await;
        assert_eq!(refusal, None, "{sent:?} in pieces of {size}");
        assert_eq!(statuses(&answer), vec!["200"; answers.len()], "{sent:?} in pieces of {size}: {answer}");
        for expected in answers {
            assert!(answer.contains(expected), "{sent:?} in pieces of {size}: no {expected:?} in {answer}");
        }
    }
}

#[tokio::test]
async fn both_lengths_are_refused_in_either_order_and_case() {
    for fields in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "TRANSFER-ENCODING: chunked\r\nX: y\r\ncontent-length: 0",
        "Content-Length: 5\nTransfer-Encoding: chunked",
    ] {
        refused(&format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n0\r\n\r\n"), Refusal::BothLengths).await;
    }
}

#[tokio::test]
async fn lengths_that_two_readers_could_understand_differently_are_refused() {
    for (field, reason) in [
        ("Content-Length: 5, 5", Refusal::ContentLength),
        ("Content-Length: +5", Refusal::ContentLength),
        ("Content-Length: 0x5", Refusal::ContentLength),
        ("Content-Length:", Refusal::ContentLength),
        ("Content-Length: 99999999999999999999", Refusal::ContentLength),
        ("Content-Length: 5\r\nContent-Length: 5", Refusal::ContentLength),
        ("Transfer-Encoding: gzip, chunked", Refusal::TransferEncoding),
        ("Transfer-Encoding: chunked, chunked", Refusal::TransferEncoding),
        ("Transfer-Encoding: xchunked", Refusal::TransferEncoding),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", Refusal::TransferEncoding),
        ("Transfer-Encoding: \x0bchunked", Refusal::TransferEncoding),
    ] {
        refused(&format!("POST / HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\nhello"), reason).await;
    }
}

#[tokio::test]
async fn folded_lines_and_bare_crs_are_refused() {
    refused("GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n", Refusal::FoldedLine).await;
    refused("GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n\t2\r\n\r\n", Refusal::FoldedLine).await;
    refused("GET / HTTP/1.1\r\nHost: a\rX: 1\r\n\r\n", Refusal::BareCr).await;
    refused("GET / HTTP/1.1\rHost: a\r\n\r\n", Refusal::BareCr).await;
    refused("GET / HTTP/1.1\r\nHost: a\r\n\rX: 1\r\n\r\n", Refusal::BareCr).await;
}

#[tokio::test]
async fn chunks_that_two_readers_could_frame_differently_are_refused() {
    for (chunks, reason) in [
        ("x\r\n", Refusal::Chunk),
        ("\r\n0\r\n\r\n", Refusal::Chunk),
        ("5;a\nhello\r\n0\r\n\r\n", Refusal::Chunk),
        ("5\nhello\r\n0\r\n\r\n", Refusal::Chunk),
        ("5 5\r\nhello\r\n0\r\n\r\n", Refusal::Chunk),
        ("5\r\nhelloX\r\n0\r\n\r\n", Refusal::Chunk),
        ("10000000000000000\r\n", Refusal::Chunk),
        ("5\rhello", Refusal::BareCr),
        ("5\r\nhello\r0\r\n\r\n", Refusal::BareCr),
        ("0\r\nx: y\n\r\n", Refusal::Chunk),
    ] {
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        refused(&format!("{head}{chunks}"), reason).await;
    }
}

#[tokio::test]
async fn ordinary_requests_pass() {
    passed("GET /a HTTP/1.1\r\nHost: a\r\n\r\n", &["/a 0: "]).await;
    passed("\r\n\r\nGET /a HTTP/1.1\r\nHost: a\r\n\r\n", &["/a 0: "]).await;
    passed("POST /a HTTP/1.1\r\nHost: a\r\ncontent-length:  5 \r\n\r\nhello", &["/a 5: hello"]).await;
    passed(
        "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n\
         5;x=y\r\nhello\r\nA \r\n0123456789\r\n0\r\nsum: 1\r\n\r\n",
        &["/a 15: hello0123456789"],
    )
    .await;
    passed(
        "GET /a HTTP/1.1\r\nHost: a\r\nX-Content-Length: 1\r\nContent-Length-X: 1\r\nTransfer-Encodings: b\r\n\r\n",
        &["/a 0: "],
    )
    .await;
}

#[tokio::test]
async fn lines_in_bodies_are_not_heads() {
    let body = "POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n folded\rbare\r\n\r\n";
    let length = body.len();
    passed(
        &format!("POST /known HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}"),
        &[&format!("/known {length}: {body}")],
    )
    .await;
    passed(
        &format!(
            "POST /chunks HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{length:x}\r\n{body}\r\n0\r\n\r\n"
        ),
        &[&format!("/chunks {length}: {body}")],
    )
    .await;
}

const SEQUENCE: &str = "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhiGET /2 HTTP/1.1\r\nHost: a\r\n\r\n\
    POST /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nho\r\n0\r\n\r\n";

#[tokio::test]
async fn every_request_of_a_connection_is_looked_at() {
    passed(&format!("{SEQUENCE}{SEQUENCE}"), &["/1 2: hi", "/2 0: ", "/3 2: ho"].repeat(2)).await;
    let smuggled = "POST /4 HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    for size in SIZES {
        let (answer, refusal) = exchange(format!("{SEQUENCE}{smuggled}{SEQUENCE}").as_bytes(), size).await;
        assert_eq!(statuses(&answer), ["200", "200", "200", "400"], "in pieces of {size}: {answer}");
        assert_eq!(refusal, Some(Refusal::BothLengths));
    }
}

/// Everything that the guard lets through of `pieces`, with `between` called after the first.
async fn through(pieces: [&[u8]; 2], between: impl FnOnce(&HeadState)) -> Vec<u8> {
    let (mut client, server) = tokio::io::duplex(1 << 10);
    let state = HeadState::new();
    let mut guard = HeadGuard::new(server, state.clone());
    let mut received = vec![0; pieces[0].len()];
    client.write_all(pieces[0]).await.unwrap();
    guard.read_exact(&mut received).await.unwrap();
    between(&state);
    client.write_all(pieces[1]).await.unwrap();
    drop(client);
    guard.read_to_end(&mut received).await.unwrap();
    received
}

const BYTES: &[u8] = b"\x16\x03\r\x01 \r\n\r\n folded\r\nContent-Length: x\r\n\x00";

#[tokio::test]
async fn what_follows_an_upgrade_is_not_looked_at() {
    let head = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    assert_eq!(through([head, BYTES], HeadState::tunnel).await, [head, BYTES].concat());
    assert_ne!(through([head, BYTES], |_| ()).await, [head, BYTES].concat());
}

#[tokio::test]
async fn tunnels_and_the_preface_of_http_2_pass() {
    for head in [&b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        assert_eq!(through([head, BYTES], |_| ()).await, [head, BYTES].concat());
    }
}

#[tokio::test]
async fn writes_pass_as_they_are() {
    let (mut client, server) = tokio::io::duplex(64);
    let mut guard = HeadGuard::new(server, HeadState::new());
    assert_eq!(guard.is_write_vectored(), guard.get_ref().is_write_vectored());
    let slices = [io::IoSlice::new(b"ab"), io::IoSlice::new(b"cd")];
    let written = guard.write_vectored(&slices).await.unwrap();
    guard.shutdown().await.unwrap();
    let mut received = Vec::new();
    client.read_to_end(&mut received).await.unwrap();
    assert_eq!(received, b"abcd"[..written]);
}

/// A request with a body, framed in one of the two ways, and whether it is ambiguous.
fn request() -> impl Strategy<Value = (Vec<u8>, bool)> {
    let body = prop::collection::vec(any::<u8>(), 0..40);
    (body, 0..4_u8, "[a-z]{0,40}").prop_map(|(body, shape, value)| {
        let mut bytes = format!("POST /{value} HTTP/1.1\r\nhost: a\r\nx-{value}: {value}\r\n").into_bytes();
        let length = format!("content-length: {}\r\n", body.len());
        let (fields, chunked) = match shape {
            0 => (length, false),
            1 | 2 => ("transfer-encoding: chunked\r\n".to_owned(), true),
            _ => (format!("{length}transfer-encoding: chunked\r\n"), true),
        };
        bytes.extend_from_slice(fields.as_bytes());
        bytes.extend_from_slice(b"\r\n");
        if chunked {
            let size = if body.is_empty() { String::new() } else { format!("{:x}\r\n", body.len()) };
            bytes.extend_from_slice(size.as_bytes());
            bytes.extend_from_slice(&body);
            bytes.extend_from_slice(if body.is_empty() { b"0\r\n\r\n" } else { b"\r\n0\r\n\r\n" });
        } else {
            bytes.extend_from_slice(&body);
        }
        (bytes, shape == 3)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Wherever the reads end: good requests pass unchanged, and nothing does from the first ambiguous one on.
    #[test]
    fn the_same_bytes_are_refused_however_they_arrive(
        requests in prop::collection::vec(request(), 1..6), sizes in prop::collection::vec(1..50_usize, 1..10),
    ) {
        let sent: Vec<u8> = requests.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
        let good: usize = requests.iter().take_while(|(_, ambiguous)| !ambiguous).map(|(bytes, _)| bytes.len()).sum();
        let mut received = sent.clone();
        let mut scanner = Scanner::default();
        let (mut at, mut refusals, mut sizes) = (0, Vec::new(), sizes.iter().cycle());
        while at < received.len() {
            let end = (at + sizes.next().unwrap()).min(received.len());
            refusals.extend(scanner.scan(&mut received[at..end]));
            at = end;
        }
        prop_assert_eq!(&received[..good], &sent[..good]);
        prop_assert_eq!(refusals.len(), usize::from(good < sent.len()));
        if good < sent.len() {
            let zero = good + received[good..].iter().position(|byte| *byte == 0).expect("a refused byte");
            prop_assert_eq!(&received[good..zero], &sent[good..zero]);
            prop_assert!(!sent[good..zero].windows(4).any(|four| four == b"\r\n\r\n"), "the head had ended");
            prop_assert!(received[zero + 1..].iter().all(|byte| *byte == b'\n'));
        }
    }

    #[test]
    fn no_bytes_make_the_scanner_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        Scanner::default().scan(&mut bytes);
    }
}

//! Requests that two readers could understand differently are refused, all others pass.

use proptest::prelude::*;

use super::{server::closed, *};

const SIZES: [usize; 4] = [1, 7, 40, usize::MAX];

/// What the server answers to `sent`, written in pieces of `size` bytes, and why it refused.
async fn exchange(sent: &[u8], size: usize) -> (String, Option<Refusal>) {
    let (mut caller, serving) = served(&Drain::new(), tell).await;
    let (mut reading, mut writing) = caller.stream.split();
    let write = async {
        for piece in sent.chunks(size) {
            // The server may have closed already; what it answered is still to be read.
            if writing.write_all(piece).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        // A further answer shows that all of it was taken.
        let _ = writing.write_all(b"GET /last HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    };
    let read = async {
        let mut answer = Vec::new();
        let _ = reading.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    };
    let (answer, ()) = within(async { tokio::join!(read, write) }).await;
    drop(caller);
    (answer, within(serving).await.unwrap())
}

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
        assert_eq!(statuses(&answer), vec!["200"; answers.len() + 1], "{sent:?} in pieces of {size}: {answer}");
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
        ("Transfer-Encoding: \x0bchunked", Refusal::Head),
        ("Content-Length : 5", Refusal::Head),
        ("Content-Length\t: 5", Refusal::Head),
        (" Content-Length: 5", Refusal::Head),
        ("Content-Length: 5\0", Refusal::Head),
        ("X: a\0b", Refusal::Head),
        ("X", Refusal::Head),
        (": x", Refusal::Head),
    ] {
        refused(&format!("POST / HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\nhello"), reason).await;
    }
    refused("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Refusal::TransferEncoding).await;
}

#[tokio::test]
async fn folded_lines_bare_crs_and_lone_lfs_are_refused() {
    for (sent, reason) in [
        ("GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n", Refusal::Head),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n\t2\r\n\r\n", Refusal::Head),
        ("GET / HTTP/1.1\r\nHost: a\rX: 1\r\n\r\n", Refusal::Head),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\r\n\r\n", Refusal::Head),
        ("GET / HTTP/1.1\rHost: a\r\n\r\n", Refusal::Head),
        ("GET / HTTP/1.1\r\nHost: a\r\n\rX: 1\r\n\r\n", Refusal::Head),
        ("\r\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Refusal::Head),
        ("GET / HTTP/1.1\nHost: a\n\n", Refusal::LoneLf),
        ("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Refusal::LoneLf),
        ("GET / HTTP/1.1\r\nHost: a\nX: 1\r\n\r\n", Refusal::LoneLf),
        ("GET / HTTP/1.1\r\nHost: a\r\n\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n", Refusal::LoneLf),
        ("POST / HTTP/1.1\r\nContent-Length: 5\nTransfer-Encoding: chunked\r\n\r\n", Refusal::LoneLf),
    ] {
        refused(sent, reason).await;
    }
}

#[tokio::test]
async fn request_lines_that_are_none_are_refused() {
    for line in [
        "GET /",
        "GET  / HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET / HTTP/2.0",
        "GET / HTTP/1.2",
        "GET / http/1.1",
        "GET /a b HTTP/1.1",
        "G=T / HTTP/1.1",
        "/ HTTP/1.1",
        "PRI * HTTP/2.0",
    ] {
        refused(&format!("{line}\r\nHost: a\r\n\r\n"), Refusal::Head).await;
    }
    refused("GET http://[/ HTTP/1.1\r\nHost: a\r\n\r\n", Refusal::Target).await;
}

#[tokio::test]
async fn chunks_that_two_readers_could_frame_differently_are_refused() {
    for chunks in [
        "x\r\n",
        "\r\n0\r\n\r\n",
        ";a\r\n0\r\n\r\n",
        " \r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "5_0\r\nhello\r\n0\r\n\r\n",
        "5;a\nhello\r\n0\r\n\r\n",
        "5;a\rb\r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5 5\r\nhello\r\n0\r\n\r\n",
        "5\x0b\r\nhello\r\n0\r\n\r\n",
        "5\x0c;a\r\nhello\r\n0\r\n\r\n",
        "5\r\nhelloX\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "10000000000000000\r\n",
        "00000000000000005\r\nhello\r\n0\r\n\r\n",
        "5\rhello",
        "5\r\nhello\r0\r\n\r\n",
    ] {
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        refused(&format!("{head}{chunks}"), Refusal::Chunk).await;
    }
    let extension = "x".repeat(2000);
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    refused(&format!("{head}5;{extension}\r\nhello\r\n0\r\n\r\n"), Refusal::Chunk).await;
}

#[tokio::test]
async fn trailers_that_are_malformed_or_frame_a_message_are_refused() {
    let many = "x: y\r\n".repeat(200);
    for trailers in [
        "x: y\n\r\n",
        "x: y\r\n\n",
        "x y\r\n\r\n",
        "x : y\r\n\r\n",
        " x: y\r\n\r\n",
        "x: y\r\n z\r\n\r\n",
        "x: a\rb\r\n\r\n",
        "content-length: 5\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n",
        &format!("{many}\r\n"),
    ] {
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n";
        refused(&format!("{head}{trailers}"), Refusal::Trailers).await;
    }
}

#[tokio::test]
async fn ordinary_requests_pass() {
    passed("GET /a HTTP/1.1\r\nHost: a\r\n\r\n", &["/a 0: "]).await;
    passed("\r\n\r\nGET /a HTTP/1.1\r\nHost: a\r\n\r\n", &["/a 0: "]).await;
    passed("POST /a HTTP/1.1\r\nHost: a\r\ncontent-length:  5 \r\n\r\nhello", &["/a 5: hello"]).await;
    passed(
        "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n\
         5;x=y\r\nhello\r\nA \r\n0123456789\r\n0000000000000003\t;x\r\nabc\r\n0\r\nsum: 1\r\n\r\n",
        &["/a 18: hello0123456789abc"],
    )
    .await;
    passed(
        "GET /a HTTP/1.1\r\nHost: a\r\nX-Content-Length: 1\r\nContent-Length-X: 1\r\nTransfer-Encodings: b\r\n\r\n",
        &["/a 0: "],
    )
    .await;
    passed("GET /a HTTP/1.1\r\nHost:\r\nX:\t \r\nY: \u{fc}\r\n\r\n", &["/a 0: "]).await;
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

#[tokio::test]
async fn a_refused_head_is_told_why() {
    let refused = async |sent: &str| {
        let (mut caller, serving) = served(&Drain::new(), tell).await;
        caller.send_pieces(sent.as_bytes(), usize::MAX).await;
        let answer = caller.rest().await;
        closed(serving).await;
        answer
    };
    let malformed = refused("GET / HTTP/1.1\r\nhost: a\r\n folded\r\n\r\n").await;
    assert!(malformed.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{malformed}");
    assert!(malformed.contains("\r\nproxy-status: weft-inbound; error=http_request_error;"), "{malformed}");
    assert!(malformed.contains("head is malformed") && malformed.contains("\r\nx-request-id: "), "{malformed}");
    assert!(malformed.contains("\r\nconnection: close\r\n"), "{malformed}");
    assert!(refused("G=T / HTTP/1.1\r\n\0: a\r\n\r\n").await.contains("head is malformed"));
    let large = refused(&format!("GET / HTTP/1.1\r\nhost: {}\r\n\r\n", "a".repeat(100_000))).await;
    assert!(large.starts_with("HTTP/1.1 431 ") && large.contains("too large"), "{large}");
    let many = refused(&format!("GET / HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(129))).await;
    assert!(many.starts_with("HTTP/1.1 431 ") && many.contains("more than 128"), "{many}");
}

#[tokio::test]
async fn an_applications_own_refusal_stays_its_own() {
    let (mut caller, serving) = served(&Drain::new(), async |_| status(400)).await;
    caller.send("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    let own = caller.rest().await;
    assert!(own.starts_with("HTTP/1.1 400") && !own.contains("proxy-status"), "{own}");
    assert_eq!(closed(serving).await, None);
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

/// The requests that `pieces` hold, each as its path and its body, and why the next one was refused.
fn requests(pieces: &[&[u8]]) -> (Vec<(String, Vec<u8>)>, Option<Refusal>) {
    let (mut input, mut body) = (bytes::BytesMut::new(), decoder::Decoder::Length(0));
    let mut seen: Vec<(String, Vec<u8>)> = Vec::new();
    for piece in pieces {
        input.extend_from_slice(piece);
        loop {
            match body.decode(&mut input) {
                Ok(decoder::Decoded::Frame(frame)) => {
                    let data = frame.into_data().unwrap_or_default();
                    seen.last_mut().expect("a request").1.extend_from_slice(&data);
                    continue;
                }
                Ok(decoder::Decoded::More(_)) => break,
                Ok(decoder::Decoded::End) => {}
                Err(error) => return (seen, error.refusal()),
            }
            match head::take_request(&mut input) {
                Ok(None) => break,
                Err(refusal) => return (seen, Some(refusal)),
                Ok(Some(head)) => {
                    body = head.framing;
                    seen.push((head.uri.path().to_owned(), Vec::new()));
                }
            }
        }
    }
    (seen, None)
}

/// The same bytes in pieces of the sizes, which are used again and again.
pub(super) fn pieces<'b>(bytes: &'b [u8], sizes: &[usize]) -> Vec<&'b [u8]> {
    let (mut left, mut sizes) = (bytes, sizes.iter().cycle());
    std::iter::from_fn(|| {
        let (piece, rest) = left.split_at((*sizes.next()?).min(left.len()));
        left = rest;
        (!piece.is_empty()).then_some(piece)
    })
    .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Wherever the reads end: good requests pass, and nothing does from the first ambiguous one on.
    #[test]
    fn the_same_bytes_are_refused_however_they_arrive(
        sent in prop::collection::vec(request(), 1..6), sizes in prop::collection::vec(1..50_usize, 1..10),
    ) {
        let bytes: Vec<u8> = sent.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
        let good = sent.iter().take_while(|(_, ambiguous)| !ambiguous).count();
        let (seen, refusal) = requests(&pieces(&bytes, &sizes));
        prop_assert_eq!(seen.len(), good);
        prop_assert_eq!(refusal, (good < sent.len()).then_some(Refusal::BothLengths));
        prop_assert_eq!((seen, refusal), requests(&[&bytes]));
    }

    #[test]
    fn any_bytes_behind_a_head_read_the_same_however_they_arrive(
        bytes in prop::collection::vec(
            prop::sample::select(&b"\r\n\r\n\r\n0012aAf; \t:xG/+\0\xff"[..]), 0..60
        ),
        chunked in any::<bool>(),
        sizes in prop::collection::vec(1..9_usize, 1..10),
    ) {
        let head: &[u8] = if chunked { b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n" } else { b"" };
        let bytes = [head, &bytes].concat();
        prop_assert_eq!(requests(&pieces(&bytes, &sizes)), requests(&[&bytes]));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        requests(&[&bytes]);
    }
}

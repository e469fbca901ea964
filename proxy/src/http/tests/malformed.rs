//! Requests over HTTP/2 that must not become other requests over HTTP/1.1, and what h2spec does not ask for.

use tokio::sync::mpsc;

use super::{frames::*, *};
use crate::http::http1::tests::status;

const PROTOCOL_ERROR: [u8; 4] = [0, 0, 0, 1];

/// A literal that enters no table (RFC 7541 §6.2.2).
fn field(name: &str, value: &str) -> Vec<u8> {
    let length = |text: &str| u8::try_from(text.len()).ok().filter(|length| *length < 127).unwrap();
    [&[0, length(name)], name.as_bytes(), &[length(value)], value.as_bytes()].concat()
}

fn head(fields: &[(&str, &str)]) -> Vec<u8> {
    fields.iter().flat_map(|(name, value)| field(name, value)).collect()
}

const METHOD: (&str, &str) = (":method", "POST");
const SCHEME: (&str, &str) = (":scheme", "http");
const PATH: (&str, &str) = (":path", "/");
const AUTHORITY: (&str, &str) = (":authority", "a");

/// A connection, and the requests that came to its handler. Stream 1 is for the test.
async fn serving() -> (Served, mpsc::UnboundedReceiver<Request<()>>) {
    let (seen, requests) = mpsc::unbounded_channel();
    let mut served = Served::new(None, LIMITS, move |request: Request<Body>| {
        let (parts, _) = request.into_parts();
        seen.send(Request::from_parts(parts, ())).unwrap();
        async { status(200) }
    })
    .await;
    served.caller.send([PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await;
    (served, requests)
}

/// The answer to what was sent on stream 1, or that the connection ends; and the request that came of it.
async fn answered(sent: &[u8]) -> (Frame, Option<Request<()>>) {
    let (mut served, mut requests) = serving().await;
    served.caller.send([sent, &get(3)].concat()).await;
    let mut answer = None;
    while let Some(frame) = served.caller.frame().await {
        match frame.stream {
            1 => answer = answer.or(Some(frame)),
            3 => break,
            _ if frame.kind == GO_AWAY => answer = Some(frame),
            _ => {}
        }
    }
    let request = requests.try_recv().ok().filter(|request| request.method() != "GET");
    (answer.expect("an answer on stream 1"), request)
}

#[tokio::test]
async fn heads_that_are_malformed_are_refused_before_anybody_sees_them() {
    let ordinary = [METHOD, SCHEME, PATH, AUTHORITY];
    let and = |field| [&ordinary[..], &[field]].concat();
    let instead = |name: &str, value| ordinary.map(|(n, v)| if n == name { (n, value) } else { (n, v) }).to_vec();
    let without = |name: &str| ordinary.into_iter().filter(|(n, _)| *n != name).collect::<Vec<_>>();
    let connect = |rest: &[(&'static str, &'static str)]| [&[(":method", "CONNECT"), AUTHORITY], rest].concat();
    for fields in [
        // Lines that would be lines of their own.
        and(("x", "a\r\nhost: evil")),
        and(("x", "a\nhost: evil")),
        and(("x", "a\rb")),
        and(("x", "a\0b")),
        and(("x\r\nhost", "evil")),
        and(("x ", "y")),
        and(("x:y", "z")),
        and(("", "x")),
        and(("X", "y")),
        instead(":path", "/ HTTP/1.1\r\nhost: evil"),
        instead(":path", "/a b"),
        instead(":path", ""),
        instead(":method", "GET / HTTP/1.1\r\nx: y"),
        instead(":method", "GE T"),
        instead(":authority", "a\r\nx: y"),
        instead(":authority", "a b"),
        instead(":scheme", "http://evil/"),
        // Framing is HTTP/2's.
        and(("transfer-encoding", "chunked")),
        and(("connection", "close")),
        and(("keep-alive", "timeout=5")),
        and(("proxy-connection", "keep-alive")),
        and(("upgrade", "websocket")),
        and(("te", "gzip")),
        and(("content-length", "x")),
        and(("content-length", "-1")),
        [&and(("content-length", "5"))[..], &[("content-length", "6")]].concat(),
        // Pseudo-header fields.
        without(":method"),
        without(":scheme"),
        without(":path"),
        and((":path", "/b")),
        and((":method", "GET")),
        [&[("x", "y")], &ordinary[..]].concat(),
        [&ordinary[..], &[("x", "y"), (":authority", "b")]].concat(),
        and((":status", "200")),
        and((":unknown", "x")),
        and((":protocol", "websocket")),
        connect(&[PATH]),
        connect(&[SCHEME]),
    ] {
        let sent = frame(HEADERS, END_HEADERS | END_STREAM, 1, &head(&fields));
        let (answer, request) = answered(&sent).await;
        assert!(request.is_none(), "{fields:?} came through: {request:?}");
        let error = if answer.kind == GO_AWAY { &answer.payload[4..8] } else { &answer.payload };
        assert!(matches!(answer.kind, RST_STREAM | GO_AWAY), "{fields:?}: {answer:?}");
        assert_eq!(error, PROTOCOL_ERROR, "{fields:?}");
    }
}

/// What is left is passed on as it is said, which is once.
#[tokio::test]
async fn an_odd_head_is_not_made_another() {
    for (field, value) in [("x", "\u{e9}\t "), ("content-length", "0"), ("te", "trailers"), ("host", "b")] {
        let fields = [METHOD, SCHEME, PATH, AUTHORITY, (field, value)];
        let (answer, request) = answered(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &head(&fields))).await;
        assert_eq!(answer.kind, HEADERS, "{field}");
        let request = request.unwrap();
        assert_eq!(request.headers().get_all(field).iter().count(), 1);
        assert_eq!(request.headers()[field], value.as_bytes());
        assert_eq!(request.uri(), "http://a/");
    }
}

/// A body that is not as long as its head says.
#[tokio::test]
async fn a_body_is_held_to_its_length() {
    let post = |length, flags| {
        let fields = [METHOD, SCHEME, PATH, AUTHORITY, ("content-length", length)];
        frame(HEADERS, END_HEADERS | flags, 1, &head(&fields))
    };
    let (answer, request) = answered(&post("5", END_STREAM)).await;
    assert_eq!((answer.kind, &answer.payload[..]), (RST_STREAM, &PROTOCOL_ERROR[..]));
    assert!(request.is_none());
    for (length, data) in [("5", "too long"), ("50", "too short")] {
        let (broken, mut bodies) = mpsc::unbounded_channel();
        let mut served = Served::new(None, LIMITS, move |request: Request<Body>| {
            let broken = broken.clone();
            async move {
                use http_body_util::BodyExt;
                broken.send(request.into_body().collect().await.is_err()).unwrap();
                status(200)
            }
        })
        .await;
        let sent =
            [PREFACE, &frame(SETTINGS, 0, 0, &[]), &post(length, 0), &frame(DATA, END_STREAM, 1, data.as_bytes())];
        served.caller.send(sent.concat()).await;
        while served.caller.frame().await.expect("open").kind != RST_STREAM {}
        // It need not have begun by then.
        assert_ne!(bodies.try_recv(), Ok(false), "{data} looks complete");
    }
}

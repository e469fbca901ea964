//! Refusing a connection: with an answer that says why, if the client speaks HTTP/1.1, and else by a reset.

use std::{sync::Arc, time::Duration};

use bytes::BytesMut;
use http::{HeaderValue, Request, Response, header};
use tokio::{io::AsyncReadExt, time::timeout};

use super::{
    body::Body,
    headers, http1,
    server::{self, Handler, Limits},
};
use crate::{
    drain::Drain,
    error::{Kind, ProxyError},
    net::{
        Hop, Io,
        detect::{Seen, classify},
    },
    telemetry::{Metrics, exchange::is_grpc, metrics::Direction},
};

/// How long a client is waited for that has said nothing yet, and its request after that.
const FIRST_WORD: Duration = Duration::from_millis(200);
const REQUEST: Duration = Duration::from_secs(2);

/// Ends a connection of which `ahead` was read. `error` is counted and logged by who refuses.
pub async fn refuse(mut io: Io, mut ahead: BytesMut, side: Direction, error: &ProxyError, metrics: &Metrics) {
    if ahead.is_empty() {
        let _ = timeout(FIRST_WORD, io.read_buf(&mut ahead)).await;
    }
    match classify(&ahead) {
        Seen::Http1 | Seen::Undecided { likely_http: true } => {
            let io = http1::Connection::read_ahead(io, ahead);
            let answered = match side {
                Direction::Inbound => timeout(REQUEST, answer::<true>(io, error, metrics)).await,
                Direction::Outbound => timeout(REQUEST, answer::<false>(io, error, metrics)).await,
            };
            // Who does not finish its request in time gets no answer.
            let _ = answered;
        }
        Seen::Http2 | Seen::Tls | Seen::Opaque | Seen::Undecided { likely_http: false } => io.abort(),
    }
}

async fn answer<const INBOUND: bool>(io: http1::Connection, error: &ProxyError, metrics: &Metrics) {
    let refusal = Refusal::<INBOUND> { kind: error.kind, details: error.details.clone() };
    let limits = Limits { idle: REQUEST, ..Limits::default() };
    server::serve(io, Some(Hop::Http1), limits, Arc::new(refusal), &Drain::new(), metrics).await;
}

/// Answers every request of a connection, which is one, with the same error.
struct Refusal<const INBOUND: bool> {
    kind: Kind,
    details: String,
}

impl<const INBOUND: bool> Handler for Refusal<INBOUND> {
    const SIDE: Direction = if INBOUND { Direction::Inbound } else { Direction::Outbound };

    async fn handle(self: Arc<Self>, request: Request<Body>) -> Response<Body> {
        let (mut parts, _) = request.into_parts();
        let id = headers::request_id(&mut parts.headers);
        let error = ProxyError::new(self.kind, &self.details);
        let mut response = super::answer::failure(&error, Self::SIDE, is_grpc(&parts.headers), &id);
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        response
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::AsyncWriteExt,
        net::{TcpListener, TcpStream},
    };

    use super::*;
    use crate::net::Socket;

    /// What a client that says this gets.
    async fn told(said: &'static [u8]) -> std::io::Result<String> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let mut client = TcpStream::connect(listener.local_addr()?).await?;
        client.write_all(said).await?;
        let (stream, _) = listener.accept().await?;
        stream.readable().await?;
        let error = ProxyError::new(Kind::PlaintextRefused, "the port takes mutual TLS only");
        let io = Io::Plain(Socket::new(stream));
        refuse(io, BytesMut::new(), Direction::Inbound, &error, &Metrics::new()).await;
        let mut answer = String::new();
        client.read_to_string(&mut answer).await?;
        Ok(answer)
    }

    #[tokio::test]
    async fn a_client_of_http_is_told_why_and_another_is_reset() {
        let answer = told(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains("connection: close"), "{answer}");
        assert!(answer.contains("weft-inbound; error=http_request_denied"), "{answer}");
        assert!(answer.ends_with("weft: the port takes mutual TLS only\n"), "{answer}");
        for other in [&b"\x16\x03\x01\0\0"[..], b"EHLO there\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
            assert_eq!(told(other).await.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
        }
    }
}

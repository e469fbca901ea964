//! Puts a reason into the answers that hyper makes itself, to heads that it cannot read.
//!
//! hyper has no hook for them, but nothing else on the connection begins like them: a status line of 4xx, then at once
//! `connection: close` and `content-length: 0`. A response that comes from a handler begins with the handler's fields;
//! `server` gives it one where it has none. Each such answer gets its `Proxy-Status` (RFC 9209) and an id.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use http::StatusCode;
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{head_guard::HeadState, headers, proxy_status::ProxyStatus};

const FIELDS: &[u8] = b"connection: close\r\ncontent-length: 0\r\n";

pin_project! {
    /// A server connection on which refused heads are explained.
    pub struct RefusedHead<T> {
        #[pin]
        io: T,
        head: HeadState,
        // This proxy's name in the field.
        name: &'static str,
        // What is left to be written of an answer with its reason.
        explained: Vec<u8>,
        written: usize,
    }
}

impl<T> RefusedHead<T> {
    pub fn new(io: T, head: HeadState, name: &'static str) -> Self {
        Self { io, head, name, explained: Vec::new(), written: 0 }
    }
}

/// The status line's length and status, when `bytes` is an answer that hyper made itself.
fn own_answer(bytes: &[u8]) -> Option<(usize, StatusCode)> {
    let status = bytes.strip_prefix(b"HTTP/1.1 ")?.get(..3).filter(|status| status.first() == Some(&b'4'))?;
    let end = memchr::memchr(b'\n', bytes)? + 1;
    bytes.get(end..)?.starts_with(FIELDS).then_some((end, StatusCode::from_bytes(status).ok()?))
}

/// The same answer, with the reason.
fn explain(bytes: &[u8], name: &'static str, head: &HeadState) -> Option<Vec<u8>> {
    let (end, status) = own_answer(bytes)?;
    let details = match (head.refusal(), status) {
        (Some(refusal), _) => format!("the request is malformed: {refusal}"),
        (None, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE) => "the request's head is too large".to_owned(),
        (None, StatusCode::URI_TOO_LONG) => "the request's target is too long".to_owned(),
        (None, _) => "the request's head is malformed".to_owned(),
    };
    let reason = ProxyStatus::new(name).error("http_request_error").details(&details).to_header_value();
    let id = headers::request_id(&mut http::HeaderMap::new());
    let (line, rest) = bytes.split_at_checked(end)?;
    let fields = [(&b"proxy-status"[..], reason), (&b"x-request-id"[..], id)];
    let mut explained = line.to_vec();
    for (field, value) in &fields {
        explained.extend([field, &b": "[..], value.as_bytes(), b"\r\n"].concat());
    }
    explained.extend_from_slice(rest);
    Some(explained)
}

impl<T: AsyncWrite> RefusedHead<T> {
    /// Writes `bytes`, with the reason where they are an answer to be explained; `None`: they are not.
    fn poll_explained(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Option<Poll<io::Result<usize>>> {
        let mut this = self.project();
        if this.explained.is_empty() {
            *this.explained = explain(bytes, this.name, this.head)?;
        }
        while let Some(left) = this.explained.get(*this.written..).filter(|left| !left.is_empty()) {
            match this.io.as_mut().poll_write(cx, left) {
                Poll::Ready(Ok(0)) => return Some(Poll::Ready(Err(io::ErrorKind::WriteZero.into()))),
                Poll::Ready(Ok(count)) => *this.written += count,
                Poll::Ready(Err(error)) => return Some(Poll::Ready(Err(error))),
                Poll::Pending => return Some(Poll::Pending),
            }
        }
        this.explained.clear();
        *this.written = 0;
        Some(Poll::Ready(Ok(bytes.len())))
    }
}

impl<T: AsyncWrite> AsyncWrite for RefusedHead<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.as_mut().poll_explained(cx, bytes) {
            Some(written) => written,
            None => self.project().io.poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match bufs.first().and_then(|first| self.as_mut().poll_explained(cx, first)) {
            Some(written) => written,
            None => self.project().io.poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().io.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().io.poll_shutdown(cx)
    }
}

impl<T: AsyncRead> AsyncRead for RefusedHead<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.project().io.poll_read(cx, buf)
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, sync::Arc, time::Duration};

    use http::{Request, Response};
    use hyper::body::Incoming;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use crate::{
        drain::Drain,
        http::{
            body::Body,
            server::{self, Handler},
        },
        net::Hop,
        telemetry::{Metrics, metrics::Direction},
    };

    /// Answers everything with 400 and not a field.
    struct Bare;

    impl Handler for Bare {
        const SIDE: Direction = Direction::Inbound;

        async fn handle(self: Arc<Self>, _: Request<Incoming>) -> Response<Body> {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = http::StatusCode::BAD_REQUEST;
            response
        }
    }

    async fn answer(request: &str) -> Result<String, Infallible> {
        let (mut client, io) = tokio::io::duplex(1 << 20);
        let (drain, metrics) = (Drain::new(), Metrics::new());
        let limit = Duration::from_secs(60);
        let serving = server::serve(io, Some(Hop::Http1), limit, Arc::new(Bare), &drain, &metrics);
        let talk = async {
            client.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            answer
        };
        Ok(tokio::join!(talk, serving).0)
    }

    #[tokio::test]
    async fn a_refused_head_is_told_why() {
        let malformed = answer("GET / HTTP/1.1\r\nhost: a\r\n folded\r\n\r\n").await.unwrap();
        assert!(
            malformed.starts_with("HTTP/1.1 400 Bad Request\r\nproxy-status: weft-inbound; error=http_request_error;")
        );
        assert!(malformed.contains("a header line is folded") && malformed.contains("x-request-id: "), "{malformed}");
        let unreadable = answer("G=T / HTTP/1.1\r\n\0: a\r\n\r\n").await.unwrap();
        assert!(unreadable.contains("the request's head is malformed"), "{unreadable}");
        let large = format!("GET / HTTP/1.1\r\nhost: {}\r\n\r\n", "a".repeat(100_000));
        assert!(answer(&large).await.unwrap().contains("too large"));
    }

    #[tokio::test]
    async fn an_applications_own_refusal_stays_its_own() {
        let own = answer("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
        assert!(own.starts_with("HTTP/1.1 400") && !own.contains("proxy-status"), "{own}");
    }
}

//! Both sides against scripted peers, over loopback TCP.

mod again;
pub(in crate::http) mod client;
mod codec;
mod half_closed;
mod server;
mod slow;
mod smuggling;

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response};
use http_body_util::BodyExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use super::*;
use crate::{
    drain::Drain,
    http::{
        body::Body,
        server::{Handler, Limits},
    },
    net::{Io, Socket},
    telemetry::metrics::Direction,
};

/// Longer than anything here takes, and than any limit that a test with a paused clock is about.
pub(in crate::http) const DEADLINE: Duration = Duration::from_secs(30);
pub(in crate::http) const LIMITS: Limits =
    Limits { idle: Duration::from_secs(20), head: Duration::from_secs(20), stall: Duration::from_secs(20) };

pub(in crate::http) async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, what).await.expect("done before the deadline")
}

/// The two ends of a connection; the second is ours.
pub(in crate::http) async fn pair() -> (Peer, Connection) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let connecting = TcpStream::connect(listener.local_addr().unwrap());
    let (connected, accepted) = tokio::join!(connecting, listener.accept());
    let ours = accepted.unwrap().0;
    ours.set_nodelay(true).unwrap();
    narrow(&ours);
    (Peer::new(connected.unwrap()), Connection::new(Io::Plain(Socket::new(ours))))
}

/// Leaves little room in the kernel, so that who writes much has to wait for who reads.
fn narrow(stream: &TcpStream) {
    let socket = socket2::SockRef::from(stream);
    socket.set_send_buffer_size(32 << 10).unwrap();
    socket.set_recv_buffer_size(32 << 10).unwrap();
}

/// The other side of a connection: it sends what the test says, and looks at what comes.
pub(in crate::http) struct Peer {
    stream: TcpStream,
    /// Read, and not looked at yet.
    read: Vec<u8>,
}

impl Peer {
    pub(in crate::http) fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        narrow(&stream);
        Self { stream, read: Vec::new() }
    }

    pub(in crate::http) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        within(self.stream.write_all(bytes.as_ref())).await.unwrap();
    }

    /// Sends in pieces, each of which is seen alone. Stops when the other side has closed.
    pub(in crate::http) async fn send_pieces(&mut self, bytes: &[u8], size: usize) {
        for piece in bytes.chunks(size) {
            if within(self.stream.write_all(piece)).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Reads more; 0: the other side has closed.
    pub(in crate::http) async fn fill(&mut self) -> usize {
        within(self.stream.read_buf(&mut self.read)).await.unwrap_or(0)
    }

    pub(in crate::http) async fn take(&mut self, count: usize) -> String {
        while self.read.len() < count {
            assert_ne!(self.fill().await, 0, "closed after {:?}", String::from_utf8_lossy(&self.read));
        }
        String::from_utf8_lossy(&self.read.drain(..count).collect::<Vec<_>>()).into_owned()
    }

    /// All up to and with `end`.
    pub(in crate::http) async fn until(&mut self, end: &str) -> String {
        loop {
            if let Some(at) = self.read.windows(end.len()).position(|window| window == end.as_bytes()) {
                return self.take(at + end.len()).await;
            }
            assert_ne!(self.fill().await, 0, "closed after {:?}", String::from_utf8_lossy(&self.read));
        }
    }

    /// The next message's head.
    pub(in crate::http) async fn head(&mut self) -> String {
        self.until("\r\n\r\n").await
    }

    /// The next message, whose head says its length.
    pub(in crate::http) async fn message(&mut self) -> (String, String) {
        let head = self.head().await;
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split('\r').next());
        let body = self.take(length.map_or(0, |length| length.parse().unwrap())).await;
        (head, body)
    }

    pub(in crate::http) fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    pub(in crate::http) fn into_stream(self) -> TcpStream {
        assert!(self.read.is_empty());
        self.stream
    }

    /// What was read, and not looked at yet.
    pub(in crate::http) fn read(&self) -> &[u8] {
        &self.read
    }

    pub(in crate::http) fn skip(&mut self, count: usize) {
        self.read.drain(..count);
    }

    /// Sends nothing any more.
    pub(in crate::http) async fn finish(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// All that comes until the other side closes.
    pub(in crate::http) async fn rest(mut self) -> String {
        while self.fill().await > 0 {}
        String::from_utf8_lossy(&self.read).into_owned()
    }
}

/// Answers with what a function makes of the request.
pub(in crate::http) struct Answers<F>(pub(in crate::http) F);

impl<F, A> Handler for Answers<F>
where
    F: Fn(Request<Body>) -> A + Send + Sync + 'static,
    A: Future<Output = Response<Body>> + Send,
{
    const SIDE: Direction = Direction::Inbound;

    fn handle(self: Arc<Self>, request: Request<Body>) -> impl Future<Output = Response<Body>> + Send {
        (self.0)(request)
    }
}

/// A caller whose requests are answered by `answer`, and why its connection was refused at the end.
async fn served<F, A>(drain: &Drain, answer: F) -> (Peer, JoinHandle<Option<Refusal>>)
where
    F: Fn(Request<Body>) -> A + Send + Sync + 'static,
    A: Future<Output = Response<Body>> + Send + 'static,
{
    served_within(LIMITS, drain, answer).await
}

async fn served_within<F, A>(limits: Limits, drain: &Drain, answer: F) -> (Peer, JoinHandle<Option<Refusal>>)
where
    F: Fn(Request<Body>) -> A + Send + Sync + 'static,
    A: Future<Output = Response<Body>> + Send + 'static,
{
    let (caller, connection) = pair().await;
    let (handler, drain) = (Arc::new(Answers(answer)), drain.clone());
    (caller, tokio::spawn(async move { serve(connection, limits, &handler, &drain).await }))
}

/// Answers with the request's body as it comes in.
pub(in crate::http) async fn echo(request: Request<Body>) -> Response<Body> {
    Response::new(request.into_body())
}

/// Reads all of the request, and tells of it: `path length: body`.
pub(in crate::http) async fn tell(request: Request<Body>) -> Response<Body> {
    let path = request.uri().path().to_owned();
    match request.into_body().collect().await {
        Ok(body) => {
            let body = body.to_bytes();
            Response::new(Body::full(format!("{path} {}: {}", body.len(), String::from_utf8_lossy(&body))))
        }
        Err(_) => status(400),
    }
}

pub(in crate::http) fn status(status: u16) -> Response<Body> {
    Response::builder().status(status).body(Body::empty()).unwrap()
}

fn statuses(answers: &str) -> Vec<&str> {
    answers.match_indices("HTTP/1.1 ").filter_map(|(at, _)| answers.get(at + 9..at + 12)).collect()
}

/// How a body that comes in reads at its end: its data, its trailers, and whether it broke off.
async fn read(mut body: Body) -> (String, Option<http::HeaderMap>, bool) {
    let (mut data, mut trailers) = (Vec::new(), None);
    while let Some(frame) = within(body.frame()).await {
        match frame.map(http_body::Frame::into_data) {
            Ok(Ok(more)) => data.extend_from_slice(&more),
            Ok(Err(frame)) => trailers = frame.into_trailers().ok(),
            Err(_) => return (String::from_utf8_lossy(&data).into_owned(), trailers, true),
        }
    }
    (String::from_utf8_lossy(&data).into_owned(), trailers, false)
}

/// A future, polled once by somebody who is not woken.
fn poll_once<T>(future: Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    future.poll(&mut Context::from_waker(std::task::Waker::noop()))
}

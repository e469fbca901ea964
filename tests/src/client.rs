//! An HTTP client that goes through a sidecar's outbound side: HTTP/1.1 in absolute form, or HTTP/2 with prior
//! knowledge. And one that sends whatever bytes it is given.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::PATIENCE;

/// A whole response.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Empty when it is not there.
    pub fn header(&self, name: &str) -> String {
        self.headers.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
    }

    async fn read(response: http::Response<Incoming>) -> Result<Self, hyper::Error> {
        let (parts, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Self { status: parts.status, headers: parts.headers, body })
    }
}

/// `GET url`, to be given headers.
pub fn request(url: &str) -> http::request::Builder {
    let uri: http::Uri = url.parse().unwrap();
    let host = uri.authority().unwrap().to_string();
    Request::get(uri).header(header::HOST, host)
}

pub async fn get(proxy: SocketAddr, url: &str) -> Answer {
    send(proxy, request(url)).await
}

/// Sends one request on a connection of its own.
pub async fn send(proxy: SocketAddr, request: http::request::Builder) -> Answer {
    let mut connection = Connection::open(proxy).await.unwrap();
    connection.send(request).await.unwrap()
}

/// As [`get`], over HTTP/2.
pub async fn get_h2(proxy: SocketAddr, url: &str) -> Answer {
    let stream = TcpStream::connect(proxy).await.unwrap();
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let response = sender.send_request(Request::get(url).body(Full::<Bytes>::default()).unwrap()).await.unwrap();
    Answer::read(response).await.unwrap()
}

/// A connection that is kept for the next request.
pub struct Connection(http1::SendRequest<Full<Bytes>>);

impl Connection {
    pub async fn open(proxy: SocketAddr) -> Result<Self, String> {
        let stream = TcpStream::connect(proxy).await.map_err(|error| format!("cannot connect: {error}"))?;
        stream.set_nodelay(true).unwrap();
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        tokio::spawn(connection);
        Ok(Self(sender))
    }

    /// Whether the other side has not closed it yet.
    pub fn is_open(&self) -> bool {
        !self.0.is_closed()
    }

    /// # Errors
    /// The connection broke, or the answer did not come within [`PATIENCE`].
    pub async fn send(&mut self, request: http::request::Builder) -> Result<Answer, String> {
        self.send_body(request, Bytes::new()).await
    }

    /// As [`send`](Self::send), with a body.
    ///
    /// # Errors
    /// The connection broke, or the answer did not come within [`PATIENCE`].
    pub async fn send_body(&mut self, request: http::request::Builder, body: Bytes) -> Result<Answer, String> {
        let exchange = async {
            self.0.ready().await?;
            Answer::read(self.0.send_request(request.body(Full::new(body)).unwrap()).await?).await
        };
        let answer = timeout(PATIENCE, exchange).await.map_err(|_| "no answer".to_owned())?;
        answer.map_err(|error| format!("the connection broke: {error:?}"))
    }
}

/// How long a server may take to close a connection that it must close.
const CLOSING: Duration = Duration::from_secs(10);

/// Writes `bytes` and reads until the other side closes; `None` if it does not.
pub async fn send_raw(mut stream: impl AsyncRead + AsyncWrite + Unpin, bytes: &[u8]) -> Option<String> {
    // It may close before it has read everything.
    let _ = stream.write_all(bytes).await;
    let _ = stream.flush().await;
    let mut answer = Vec::new();
    // A close with unread input is a reset; what came before it counts.
    let read = timeout(CLOSING, stream.read_to_end(&mut answer)).await;
    read.is_ok().then(|| String::from_utf8_lossy(&answer).into_owned())
}

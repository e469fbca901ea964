//! An application that does what a function says with each request, and remembers what came.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// What becomes of a request.
#[derive(Clone, Debug)]
pub(super) enum Act {
    /// These bytes are the answer.
    Say(&'static str),
    /// The connection ends with a reset.
    Reset,
    /// Nothing happens any more.
    Hold,
    /// These bytes, and nothing after them.
    SayAndHold(&'static str),
}

pub(super) const OK: Act = Act::Say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
pub(super) const UNAVAILABLE: Act = Act::Say("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\nbusy");

/// A request as it came.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) head: String,
    pub(super) body: String,
}

impl Seen {
    /// The field's value.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

pub(super) struct App {
    pub(super) address: SocketAddr,
    pub(super) seen: Arc<Mutex<Vec<Seen>>>,
}

type Script = dyn Fn(usize, &Seen) -> Act + Send + Sync;

impl App {
    /// HTTP/1.1. `script` gets the number of the request, from 0, and the request.
    pub(super) async fn start(script: impl Fn(usize, &Seen) -> Act + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, seen) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
        let (script, all) = (Arc::new(script) as Arc<Script>, seen.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, script.clone(), all.clone()));
            }
        });
        Self { address, seen }
    }

    /// The requests that have come.
    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(super) fn count(&self) -> usize {
        self.seen().len()
    }
}

async fn serve(mut stream: TcpStream, script: Arc<Script>, all: Arc<Mutex<Vec<Seen>>>) {
    let mut read = Vec::new();
    while let Some(seen) = next(&mut stream, &mut read).await {
        let is_early = seen.field("x-early").is_some() && seen.field("weft-attempt-count").is_none();
        let act = {
            let mut all = all.lock().unwrap();
            all.push(seen.clone());
            script(all.len() - 1, &seen)
        };
        match act {
            Act::Say(answer) => {
                stream.write_all(answer.as_bytes()).await.unwrap();
                if is_early {
                    return;
                }
            }
            Act::Reset => return SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap(),
            Act::Hold => std::future::pending().await,
            Act::SayAndHold(answer) => {
                stream.write_all(answer.as_bytes()).await.unwrap();
                std::future::pending::<()>().await;
            }
        }
    }
}

/// The next request, whose body is as long as it says, or comes in chunks; `None`: the connection has ended.
async fn next(stream: &mut TcpStream, read: &mut Vec<u8>) -> Option<Seen> {
    let head = until(stream, read, b"\r\n\r\n").await?;
    let mut seen = Seen { head, body: String::new() };
    // Whoever asks for it is answered at once, whatever follows; but not again.
    if seen.field("x-early").is_some() && seen.field("weft-attempt-count").is_none() {
        return Some(seen);
    }
    if seen.field("transfer-encoding").is_some() {
        loop {
            let size = until(stream, read, b"\r\n").await?;
            let size = usize::from_str_radix(size.trim(), 16).unwrap();
            if size == 0 {
                until(stream, read, b"\r\n").await?;
                return Some(seen);
            }
            seen.body += &exactly(stream, read, size).await?;
            exactly(stream, read, 2).await?;
        }
    }
    let length = seen.field("content-length").map_or(0, |length| length.parse().unwrap());
    seen.body = exactly(stream, read, length).await?;
    Some(seen)
}

async fn until(stream: &mut TcpStream, read: &mut Vec<u8>, end: &[u8]) -> Option<String> {
    loop {
        if let Some(at) = read.windows(end.len()).position(|window| window == end) {
            return exactly(stream, read, at + end.len()).await;
        }
        if stream.read_buf(read).await.ok()? == 0 {
            return None;
        }
    }
}

async fn exactly(stream: &mut TcpStream, read: &mut Vec<u8>, length: usize) -> Option<String> {
    while read.len() < length {
        if stream.read_buf(read).await.ok()? == 0 {
            return None;
        }
    }
    Some(String::from_utf8(read.drain(..length).collect()).unwrap())
}

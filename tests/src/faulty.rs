//! An application that fails as networks and programs do: resets, silence, half an answer. It writes down every call that
//! it gets. Inside the test, or a process of its own (`weft-tests-app`), which can be stopped and killed.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    net::{Shutdown, SocketAddr},
    path::Path,
    str::FromStr,
    sync::{Arc, Mutex},
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::sleep,
};

/// Names a call. The application writes it down before it does anything else.
pub const CALL_ID: &str = "x-call-id";

/// What becomes of a request instead of a good answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection is reset before a byte of the answer.
    ResetBefore,
    /// It is reset within the answer's head.
    ResetInHead,
    /// It is reset within the answer's body.
    ResetInBody,
    /// It is closed within the answer's body.
    Truncate,
    /// 503.
    Unavailable,
    /// A good answer; then the connection is closed, which nothing had announced.
    CloseAfter,
    /// A good answer, a byte at a time.
    Trickle,
    /// No answer: the writing side is closed at once, the reading side stays open.
    CloseWrite,
    /// The reading side is closed; then a good answer.
    CloseRead,
    /// No answer, for as long as the caller waits.
    Silence,
}

const NAMES: [(Fault, &str); 10] = [
    (Fault::ResetBefore, "reset-before"),
    (Fault::ResetInHead, "reset-in-head"),
    (Fault::ResetInBody, "reset-in-body"),
    (Fault::Truncate, "truncate"),
    (Fault::Unavailable, "unavailable"),
    (Fault::CloseAfter, "close-after"),
    (Fault::Trickle, "trickle"),
    (Fault::CloseWrite, "close-write"),
    (Fault::CloseRead, "close-read"),
    (Fault::Silence, "silence"),
];

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = NAMES.into_iter().find(|(_, name)| *name == text);
        found.map(|(fault, _)| fault).ok_or_else(|| format!("{text:?} is not a fault"))
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = NAMES.iter().find(|(fault, _)| fault == self).map_or("", |(_, name)| name);
        f.write_str(name)
    }
}

/// Every `every`th request meets the next one of `faults`; the others get a good answer.
#[derive(Clone, Debug)]
pub struct Faults {
    pub faults: Vec<Fault>,
    pub every: usize,
}

impl Faults {
    /// Every request meets this one.
    pub fn always(fault: Fault) -> Self {
        Self { faults: vec![fault], every: 1 }
    }

    pub fn none() -> Self {
        Self { faults: Vec::new(), every: 1 }
    }

    fn of(&self, request: usize) -> Option<Fault> {
        let faulty = request.is_multiple_of(self.every).then_some(request / self.every)?;
        self.faults.get(faulty.checked_rem(self.faults.len())?).copied()
    }
}

/// HTTP/1.1 only, since it is about what happens to connections.
pub struct FaultyApp {
    address: SocketAddr,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

struct Shared {
    name: String,
    plan: Mutex<Plan>,
    calls: File,
}

struct Plan {
    faults: Faults,
    requests: usize,
}

impl FaultyApp {
    /// Answers with its name. The calls are added to the file.
    pub async fn start(name: &str, address: SocketAddr, calls: &Path, faults: Faults) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let calls = OpenOptions::new().create(true).append(true).open(calls).unwrap();
        let plan = Mutex::new(Plan { faults, requests: 0 });
        let shared = Arc::new(Shared { name: name.to_owned(), plan, calls });
        let serving = tokio::spawn(serve(listener, shared.clone()));
        Self { address, shared, serving }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What becomes of requests from now on.
    pub fn set(&self, faults: Faults) {
        *self.shared.plan.lock().unwrap() = Plan { faults, requests: 0 };
    }
}

impl Drop for FaultyApp {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Shared {
    /// Written down before anything else happens, and at once: it may be killed the next moment.
    fn take(&self, head: &str) -> Option<Fault> {
        if let Some(id) = field(head, CALL_ID) {
            (&self.calls).write_all(format!("{id}\n").as_bytes()).unwrap();
        }
        let mut plan = self.plan.lock().unwrap();
        plan.requests += 1;
        plan.faults.of(plan.requests)
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let shared = shared.clone();
        tokio::spawn(async move {
            // A caller that goes away is the caller's matter.
            let _ = converse(stream, &shared).await;
        });
    }
}

async fn converse(mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut read = Vec::new();
    while let Some(head) = next_head(&mut stream, &mut read).await? {
        let fault = shared.take(&head);
        let length: usize = field(&head, "content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        while read.len() < length {
            if stream.read_buf(&mut read).await? == 0 {
                return Ok(());
            }
        }
        read.drain(..length);
        if !answer(&mut stream, &shared.name, fault).await? {
            return Ok(());
        }
    }
    Ok(())
}

/// `false`: the connection is over.
async fn answer(stream: &mut TcpStream, name: &str, fault: Option<Fault>) -> io::Result<bool> {
    let good = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{name}", name.len());
    let body = good.len() - name.len();
    let (before, within) = (good.as_bytes(), &good.as_bytes()[..body + 1]);
    match fault {
        None => stream.write_all(before).await?,
        Some(Fault::ResetBefore) => return reset(stream),
        Some(Fault::ResetInHead) => {
            stream.write_all(&within[..body / 2]).await?;
            return reset(stream);
        }
        Some(Fault::ResetInBody) => {
            stream.write_all(within).await?;
            sleep(ON_ITS_WAY).await;
            return reset(stream);
        }
        Some(Fault::Truncate) => {
            stream.write_all(within).await?;
            sleep(ON_ITS_WAY).await;
            return Ok(false);
        }
        Some(Fault::Unavailable) => {
            stream.write_all(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\nbusy").await?;
        }
        Some(Fault::CloseAfter) => {
            stream.write_all(before).await?;
            return Ok(false);
        }
        Some(Fault::Trickle) => {
            stream.write_all(&before[..body]).await?;
            for byte in name.as_bytes() {
                sleep(TRICKLE).await;
                stream.write_all(&[*byte]).await?;
            }
        }
        Some(Fault::CloseWrite) => {
            stream.shutdown().await?;
            while stream.read(&mut [0; 256]).await? > 0 {}
            return Ok(false);
        }
        Some(Fault::CloseRead) => {
            SockRef::from(&*stream).shutdown(Shutdown::Read)?;
            stream.write_all(before).await?;
        }
        Some(Fault::Silence) => {
            while stream.read(&mut [0; 256]).await? > 0 {}
            return Ok(false);
        }
    }
    Ok(true)
}

const TRICKLE: Duration = Duration::from_millis(10);
/// The beginning of an answer has likely got to the caller by then: one that has not is as good as none.
const ON_ITS_WAY: Duration = Duration::from_millis(50);

/// A close with no time to linger is a reset.
fn reset(stream: &TcpStream) -> io::Result<bool> {
    SockRef::from(stream).set_linger(Some(Duration::ZERO))?;
    Ok(false)
}

/// `None`: the caller has closed. What was read beyond the head is left in `read`.
async fn next_head(stream: &mut TcpStream, read: &mut Vec<u8>) -> io::Result<Option<String>> {
    loop {
        if let Some(end) = memchr::memmem::find(read, b"\r\n\r\n") {
            let head = read.drain(..end + 4).collect();
            return Ok(Some(String::from_utf8(head).unwrap().to_ascii_lowercase()));
        }
        if stream.read_buf(read).await? == 0 {
            return Ok(None);
        }
    }
}

/// Of a head in lower case.
fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_come_in_turns() {
        let faults = Faults { faults: vec![Fault::Unavailable, Fault::Truncate], every: 3 };
        let met: Vec<_> = (1..=9).map(|request| faults.of(request).map(|fault| fault.to_string())).collect();
        let met: Vec<_> = met.iter().map(|fault| fault.as_deref().unwrap_or("-")).collect();
        assert_eq!(met, ["-", "-", "truncate", "-", "-", "unavailable", "-", "-", "truncate"]);
        assert_eq!(Faults::none().of(1), None);
        assert_eq!("close-read".parse(), Ok(Fault::CloseRead));
    }
}

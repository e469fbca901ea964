//! What `weft-tests-load` does: so many clients, each with a connection that it keeps and a request at every turn.
//!
//! The rate is held: a turn that comes late because an answer did is made up for. What a good client does without
//! counting a failure is not counted here either: a connection that the server has closed between two requests is
//! replaced.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    signal::unix::{SignalKind, signal},
    task::{JoinSet, LocalSet, spawn_local},
    time::{Instant, MissedTickBehavior, interval, interval_at, timeout},
};

use super::Report;

const REMEMBERED: usize = 10;
const PROGRESS: Duration = Duration::from_millis(100);

#[derive(Clone, Debug)]
pub struct Plan {
    /// Such as `http://orders:80/`. The name is resolved for each connection.
    pub url: Uri,
    pub connections: u32,
    /// Of all connections together.
    pub per_second: u32,
    /// So many requests in all; without it, until SIGTERM.
    pub requests: Option<u64>,
    /// For connecting, and for each answer.
    pub patience: Duration,
}

impl Plan {
    /// 1,000 requests a second over 16 connections.
    pub fn steady(url: &str) -> Self {
        let patience = Duration::from_secs(10);
        Self { url: url.parse().unwrap(), connections: 16, per_second: 1000, requests: None, patience }
    }

    pub fn seconds(mut self, seconds: u32) -> Self {
        self.requests = Some(u64::from(self.per_second) * u64::from(seconds));
        self
    }

    /// A name, or an address without the brackets that it has in a URL; and the port.
    fn address(&self) -> (&str, u16) {
        let host = self.url.host().unwrap();
        (host.trim_start_matches('[').trim_end_matches(']'), self.url.port_u16().unwrap_or(80))
    }

    fn request(&self) -> Request<Empty<Bytes>> {
        let path = self.url.path_and_query().unwrap().as_str();
        Request::get(path).header(header::HOST, self.url.authority().unwrap().as_str()).body(Empty::new()).unwrap()
    }

    pub(super) fn to_args(&self) -> [String; 5] {
        let requests = self.requests.unwrap_or(u64::MAX);
        let patience = self.patience.as_millis();
        let [url, connections] = [self.url.to_string(), self.connections.to_string()];
        [url, connections, self.per_second.to_string(), requests.to_string(), patience.to_string()]
    }

    /// The other way round; `None` if the arguments are not those of a plan.
    pub fn from_args(args: &[String]) -> Option<Self> {
        let [url, connections, per_second, requests, patience] = args else { return None };
        Some(Self {
            url: url.parse().ok()?,
            connections: connections.parse().ok()?,
            per_second: per_second.parse().ok()?,
            requests: requests.parse().ok().filter(|count| *count != u64::MAX),
            patience: Duration::from_millis(patience.parse().ok()?),
        })
    }
}

struct Run {
    plan: Plan,
    begun: Cell<u64>,
    stopped: Cell<bool>,
    report: RefCell<Report>,
}

/// A kept connection.
type Kept = Option<SendRequest<Empty<Bytes>>>;

enum Failure {
    Connect(String),
    Status(StatusCode, String),
    Broken(String),
    Timeout,
}

/// Prints `answered N` again and again, and returns when the plan is done or SIGTERM came.
pub async fn run(plan: Plan) -> Report {
    let run = Rc::new(Run { plan, begun: Cell::default(), stopped: Cell::default(), report: RefCell::default() });
    let all = async {
        let watching = spawn_local(watch(run.clone()));
        let mut clients = JoinSet::new();
        for number in 0..run.plan.connections {
            clients.spawn_local(client(run.clone(), number));
        }
        while let Some(ended) = clients.join_next().await {
            ended.unwrap();
        }
        watching.abort();
    };
    LocalSet::new().run_until(all).await;
    run.report.take()
}

async fn watch(run: Rc<Run>) {
    let mut stop = signal(SignalKind::terminate()).unwrap();
    let mut turn = interval(PROGRESS);
    loop {
        tokio::select! {
            _ = stop.recv() => run.stopped.set(true),
            _ = turn.tick() => {
                let report = run.report.borrow();
                println!("answered {}", report.ok + report.failed());
            }
        }
    }
}

async fn client(run: Rc<Run>, number: u32) {
    let pace = Duration::from_secs(1) * run.plan.connections / run.plan.per_second;
    // Not all at once: the rate is steady within a turn, too.
    let mut turn = interval_at(Instant::now() + pace * number / run.plan.connections, pace);
    turn.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut kept = None;
    loop {
        turn.tick().await;
        if !run.may_begin() {
            return;
        }
        let begun = Instant::now();
        let exchange = timeout(run.plan.patience, exchange(&run, &mut kept));
        let result = exchange.await.unwrap_or(Err(Failure::Timeout));
        if !matches!(result, Ok(()) | Err(Failure::Status(..))) {
            kept = None;
        }
        run.count(result, begun.elapsed());
    }
}

async fn exchange(run: &Run, kept: &mut Kept) -> Result<(), Failure> {
    let mut sender = match kept.take() {
        Some(kept) if !kept.is_closed() => kept,
        _ => open(run).await?,
    };
    let response = match sender.send_request(run.plan.request()).await {
        // Closed by the server while the connection was idle: nothing was sent.
        Err(error) if error.is_canceled() => {
            sender = open(run).await?;
            sender.send_request(run.plan.request()).await
        }
        other => other,
    };
    let (head, body) = response.map_err(|error| Failure::Broken(format!("{error:?}")))?.into_parts();
    let body = body.collect().await.map_err(|error| Failure::Broken(format!("{error:?}")))?.to_bytes();
    *kept = Some(sender);
    match head.status {
        StatusCode::OK => Ok(()),
        other => Err(Failure::Status(other, String::from_utf8_lossy(&body).into_owned())),
    }
}

async fn open(run: &Run) -> Result<SendRequest<Empty<Bytes>>, Failure> {
    let stream = TcpStream::connect(run.plan.address()).await;
    let stream = stream.map_err(|error| Failure::Connect(error.to_string()))?;
    stream.set_nodelay(true).unwrap();
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    // Its failure is that of the request.
    spawn_local(async move { _ = connection.await });
    run.report.borrow_mut().connections += 1;
    Ok(sender)
}

impl Run {
    fn may_begin(&self) -> bool {
        let begun = self.begun.get();
        let may = !self.stopped.get() && self.plan.requests.is_none_or(|all| begun < all);
        self.begun.set(begun + u64::from(may));
        may
    }

    fn count(&self, result: Result<(), Failure>, took: Duration) {
        let mut report = self.report.borrow_mut();
        report.slowest_ms = report.slowest_ms.max(took.as_millis() as u64);
        let said = match result {
            Ok(()) => {
                report.ok += 1;
                return;
            }
            Err(Failure::Status(status, body)) => {
                *report.status.entry(status.as_u16()).or_default() += 1;
                format!("{status}: {body}")
            }
            Err(Failure::Connect(error)) => {
                report.connect += 1;
                format!("cannot connect: {error}")
            }
            Err(Failure::Broken(error)) => {
                report.broken += 1;
                format!("the connection broke: {error}")
            }
            Err(Failure::Timeout) => {
                report.timeout += 1;
                "no answer in time".to_owned()
            }
        };
        if report.first_failures.len() < REMEMBERED {
            report.first_failures.push(said);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;
    use crate::{App, Behaviour};

    fn plan(address: std::net::SocketAddr, requests: u64) -> Plan {
        let plan = Plan::steady(&format!("http://{address}/"));
        Plan { connections: 2, requests: Some(requests), ..plan }
    }

    #[tokio::test]
    async fn connections_are_kept_and_nothing_is_left_out() {
        let app = App::start("app").await;
        let report = run(plan(app.address(), 100)).await;
        assert_eq!((report.ok, report.failed(), report.connections), (100, 0, 2), "{report:?}");
        assert_eq!(app.answered(), 100);
    }

    #[tokio::test]
    async fn each_failure_is_counted_as_what_it_is() {
        let app = App::start("app").await;
        app.set(Behaviour::Fail(StatusCode::SERVICE_UNAVAILABLE));
        let report = run(plan(app.address(), 10)).await;
        assert_eq!((report.status.get(&503), report.failed()), (Some(&10), 10), "{report:?}");
        assert_eq!(report.connections, 2, "a bad answer is an answer");

        app.set(Behaviour::Hold);
        let report = run(Plan { patience: Duration::from_millis(300), ..plan(app.address(), 2) }).await;
        assert_eq!((report.timeout, report.failed()), (2, 2), "{report:?}");

        let nobody = std::net::SocketAddr::from(([127, 0, 0, 1], crate::free_port()));
        let report = run(plan(nobody, 10)).await;
        assert_eq!((report.connect, report.failed(), report.connections), (10, 10, 0), "{report:?}");
        assert_eq!(report.first_failures.len(), REMEMBERED);
    }

    #[tokio::test]
    async fn an_answer_that_breaks_off_is_a_failure_and_a_kept_connection_that_ends_is_not() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            for answer in
                ["HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nab"]
                    .iter()
                    .cycle()
            {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = stream.read(&mut [0; 1024]).await.unwrap();
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        let report = run(Plan { connections: 1, per_second: 20, ..plan(address, 4) }).await;
        assert_eq!((report.ok, report.broken, report.failed()), (2, 2, 2), "{report:?}");
        assert_eq!(report.connections, 4);
    }

    #[test]
    fn a_plan_survives_the_command_line() {
        for plan in [Plan::steady("http://[fd88::2]:80/x?y"), Plan::steady("http://orders/").seconds(3)] {
            assert_eq!(format!("{:?}", Plan::from_args(&plan.to_args()).unwrap()), format!("{plan:?}"));
        }
        assert!(Plan::from_args(&["http://orders/".to_owned()]).is_none());
    }
}

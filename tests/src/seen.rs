//! So many calls, at a bounded concurrency, and what their client sees of each.

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::request;
use tokio::task::JoinSet;

use crate::Connection;

/// How the calls ended. Every one of them has ended in one of these ways.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// By status.
    pub answers: BTreeMap<u16, u64>,
    /// The connection ended before the answer was complete.
    pub broken: u64,
    /// No answer, or not a whole one, within [`crate::PATIENCE`].
    pub hung: u64,
    pub slowest: Duration,
    /// One of each kind that is not good.
    pub examples: BTreeMap<String, String>,
}

impl Seen {
    pub fn status(&self, status: u16) -> u64 {
        self.answers.get(&status).copied().unwrap_or(0)
    }

    /// All calls that did not end with 200.
    pub fn failed(&self) -> u64 {
        self.total() - self.status(200)
    }

    pub fn total(&self) -> u64 {
        self.answers.values().sum::<u64>() + self.broken + self.hung
    }

    fn take(&mut self, result: Result<crate::Answer, String>, took: Duration) {
        self.slowest = self.slowest.max(took);
        match result {
            Ok(answer) => {
                *self.answers.entry(answer.status.as_u16()).or_default() += 1;
                if answer.status != 200 {
                    let example = format!("{} {}", answer.header("proxy-status"), answer.text());
                    self.examples.entry(answer.status.as_u16().to_string()).or_insert(example);
                }
            }
            Err(reason) => {
                *(if reason == "no answer" { &mut self.hung } else { &mut self.broken }) += 1;
                self.examples.entry("broken".to_owned()).or_insert(reason);
            }
        }
    }
}

/// A line of a table: how many calls ended how.
impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "| {}", self.total())?;
        [200, 502, 503, 504].into_iter().try_for_each(|status| write!(f, " | {}", self.status(status)))?;
        write!(f, " | {} | {:.1} s |", self.broken, self.slowest.as_secs_f64())
    }
}

/// Makes `count` calls by `clients`, each with a connection that it keeps, and again at once. `call` makes the request of
/// that number; nothing is called twice. Returns when the last has ended.
pub async fn calls(
    proxy: SocketAddr,
    count: u64,
    clients: usize,
    call: impl Fn(u64) -> (request::Builder, Bytes) + Send + Sync + 'static,
) -> Seen {
    let (next, call) = (Arc::new(AtomicU64::new(0)), Arc::new(call));
    let seen = Arc::<Mutex<Seen>>::default();
    let mut running = JoinSet::new();
    for _ in 0..clients {
        let (next, call, seen) = (next.clone(), call.clone(), seen.clone());
        running.spawn(async move {
            let mut kept = None;
            loop {
                let number = next.fetch_add(1, Ordering::SeqCst);
                if number >= count {
                    return;
                }
                let (request, body) = call(number);
                let start = Instant::now();
                let result = exchange(&mut kept, proxy, request, body).await;
                seen.lock().unwrap().take(result, start.elapsed());
            }
        });
    }
    while let Some(ended) = running.join_next().await {
        ended.unwrap();
    }
    let seen = seen.lock().unwrap().clone();
    assert_eq!(seen.total(), count, "{seen:#?}");
    seen
}

/// A connection on which a call has failed is not used again.
async fn exchange(
    kept: &mut Option<Connection>,
    proxy: SocketAddr,
    request: request::Builder,
    body: Bytes,
) -> Result<crate::Answer, String> {
    let mut connection = match kept.take().filter(Connection::is_open) {
        Some(connection) => connection,
        None => Connection::open(proxy).await?,
    };
    let answer = connection.send_body(request, body).await?;
    *kept = Some(connection);
    Ok(answer)
}

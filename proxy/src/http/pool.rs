//! The connection pool of one worker: connections for one request at a time (HTTP/1.1), and connections that requests
//! share (HTTP/2).
//!
//! A worker has its own pool, so its lock is never waited for. A connection that turns out to be dead before it took
//! the request gives the request back, and a fresh one is tried: that race is ours, and never the caller's error.

use std::{
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hyper::{Request, Response, client::conn::TrySendError};
use rustc_hash::FxHashMap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    body::Body,
    client::{self, Client, Target},
    http1,
};
use crate::{error::ProxyError, net::Hop};

pub use multiplexed::STREAMS_PER_CONNECTION;
use multiplexed::{Multiplexed, Place};

mod multiplexed;

/// Idle connections are closed before the other side would: its own limit is longer.
pub const IDLE_LIMIT: Duration = Duration::from_secs(50);
/// How often `sweep` is to be called.
pub const SWEEP: Duration = Duration::from_secs(10);
const IDLE_SWEEPS: u64 = IDLE_LIMIT.as_secs() / SWEEP.as_secs();
const IDLE_PER_TARGET: usize = 512;

pub struct Pool {
    client: Arc<Client>,
    /// The keys come from the control plane, so that nobody can make them collide.
    slots: Mutex<FxHashMap<Arc<Target>, Slot>>,
    sweeps: AtomicU64,
}

/// HTTP/1.1 connections to another sidecar, at most. They answer fastest while there are few requests; more requests at
/// a time share HTTP/2 connections, which saves half of the system calls and most of the memory (docs/benchmarks.md).
const DEDICATED: usize = 4;

struct Slot {
    /// The most recently used last.
    idle: Vec<Idle>,
    /// Places for connections of HTTP/1.1 to another sidecar.
    dedicated: Arc<Semaphore>,
    http2: Multiplexed,
    /// HTTP/1.1 messages in the streams of HTTP/2.
    http1_streams: Multiplexed,
}

struct Idle {
    connection: http1::Connection,
    place: Option<OwnedSemaphorePermit>,
    /// The sweep before its last use: a request does not have to read the clock.
    since: u64,
}

impl Default for Slot {
    fn default() -> Self {
        let dedicated = Arc::new(Semaphore::new(DEDICATED));
        Self { idle: Vec::new(), dedicated, http2: Multiplexed::default(), http1_streams: Multiplexed::default() }
    }
}

impl Slot {
    fn multiplexed(&mut self, hop: Hop) -> &mut Multiplexed {
        match hop {
            Hop::Http1Streams => &mut self.http1_streams,
            Hop::Http1 | Hop::Http2 => &mut self.http2,
        }
    }
}

/// A request that did not get an answer.
#[derive(Debug)]
pub struct Unanswered {
    pub error: ProxyError,
    /// The request, untouched, when not a byte of it was sent.
    pub request: Option<Box<Request<Body>>>,
}

/// How a request gets to its target.
enum Path {
    Dedicated(Option<http1::Connection>, Option<OwnedSemaphorePermit>),
    Shared,
}

/// Where a connection belongs that is in use.
#[derive(Debug)]
pub struct Lease {
    pool: Arc<Pool>,
    target: Arc<Target>,
    place: Option<OwnedSemaphorePermit>,
}

impl Lease {
    /// The connection can take another request.
    pub fn give_back(self, mut connection: http1::Connection) {
        connection.rest();
        self.pool.put(self.target, connection, self.place);
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pool")
    }
}

impl Pool {
    pub fn new(client: Arc<Client>) -> Arc<Self> {
        Arc::new(Self { client, slots: Mutex::default(), sweeps: AtomicU64::new(0) })
    }

    /// Sends one request and waits for the response's head. `connect_limit` bounds a new connection.
    pub async fn send(
        self: &Arc<Self>,
        target: &Arc<Target>,
        hop: Hop,
        connect_limit: Duration,
        request: Request<Body>,
    ) -> Result<Response<Body>, Unanswered> {
        let path = match hop {
            Hop::Http2 => Path::Shared,
            Hop::Http1 | Hop::Http1Streams => self.http1_path(target, hop),
        };
        match path {
            Path::Dedicated(connection, place) => {
                self.send_http1(target, connect_limit, connection, place, request).await
            }
            // Boxed, and so are all connects: a future is as large as its largest branch, and moving it costs.
            Path::Shared => Box::pin(self.send_shared(target, hop, connect_limit, request)).await,
        }
    }

    /// Sends on this connection, else on a new one.
    async fn send_http1(
        self: &Arc<Self>,
        target: &Arc<Target>,
        connect_limit: Duration,
        mut idle: Option<http1::Connection>,
        mut place: Option<OwnedSemaphorePermit>,
        mut request: Request<Body>,
    ) -> Result<Response<Body>, Unanswered> {
        loop {
            let reused = idle.is_some();
            let connection = match idle.take() {
                Some(connection) => connection,
                None => match Box::pin(self.client.http1(target, connect_limit)).await {
                    Ok(connection) => connection,
                    Err(error) => return Err(Unanswered { error, request: Some(Box::new(request)) }),
                },
            };
            let lease = Lease { pool: self.clone(), target: target.clone(), place: place.take() };
            match http1::send(connection, request, lease).await {
                Ok(response) => return Ok(response),
                Err(unanswered) => match unanswered.request {
                    Some(untouched) if reused => request = untouched,
                    request => {
                        let error = self.client.broken(target, &unanswered.error);
                        return Err(Unanswered { error, request: request.map(Box::new) });
                    }
                },
            }
        }
    }

    async fn send_shared(
        self: &Arc<Self>,
        target: &Arc<Target>,
        hop: Hop,
        connect_limit: Duration,
        mut request: Request<Body>,
    ) -> Result<Response<Body>, Unanswered> {
        loop {
            let Place { mut sender, stream, reused } = match self.place(target, hop, connect_limit).await {
                Ok(place) => place,
                Err(error) => return Err(Unanswered { error, request: Some(Box::new(request)) }),
            };
            match sender.try_send_request(request).await {
                Ok(response) => return Ok(response.map(|body| Body::placed_stream(body, stream))),
                Err(error) => {
                    request = self.retryable(target, error, reused)?;
                    self.with_slot(target, |slot| slot.multiplexed(hop).forget_closed());
                }
            }
        }
    }

    /// Room on a shared connection. Waiting for another request's connect counts as connecting.
    async fn place(&self, target: &Arc<Target>, hop: Hop, connect_limit: Duration) -> Result<Place, ProxyError> {
        let place = || self.with_slot(target, |slot| slot.multiplexed(hop).place(self.now()));
        if let Some(place) = place() {
            return Ok(place);
        }
        let connecting = self.with_slot(target, |slot| slot.multiplexed(hop).connecting.clone());
        client::within(target, connect_limit, async {
            let _turn = connecting.lock().await;
            if let Some(place) = place() {
                return Ok(place);
            }
            let sender = Box::pin(self.client.http2(target, hop, connect_limit)).await?;
            Ok(self.with_slot(target, |slot| slot.multiplexed(hop).add(sender, self.now())))
        })
        .await
    }

    /// An idle connection, else a new one; to another sidecar, a shared one once there are many.
    fn http1_path(&self, target: &Arc<Target>, hop: Hop) -> Path {
        if let Some((connection, place)) = self.take(target) {
            return Path::Dedicated(Some(connection), place);
        }
        if hop == Hop::Http1 || target.identity.is_none() {
            return Path::Dedicated(None, None);
        }
        match self.with_slot(target, |slot| slot.dedicated.clone()).try_acquire_owned() {
            Ok(place) => Path::Dedicated(None, Some(place)),
            Err(_) => Path::Shared,
        }
    }

    /// The idle connection used last, which is the least likely to have been closed by the other side.
    fn take(&self, target: &Arc<Target>) -> Option<(http1::Connection, Option<OwnedSemaphorePermit>)> {
        let mut slots = self.lock();
        let idle = &mut slots.get_mut(target)?.idle;
        while let Some(mut last) = idle.pop() {
            if last.connection.is_open() {
                return Some((last.connection, last.place));
            }
        }
        None
    }

    fn put(&self, target: Arc<Target>, connection: http1::Connection, place: Option<OwnedSemaphorePermit>) {
        let since = self.now();
        let mut slots = self.lock();
        let idle = &mut slots.entry(target).or_default().idle;
        if idle.len() < IDLE_PER_TARGET {
            idle.push(Idle { connection, place, since });
        }
    }

    /// Closes what was idle for too long, and everything to targets that nobody else knows any more.
    pub fn sweep(&self) {
        let sweep = self.sweeps.fetch_add(1, Ordering::Relaxed) + 1;
        self.lock().retain(|target, slot| {
            slot.idle.retain_mut(|idle| sweep - idle.since < IDLE_SWEEPS && idle.connection.is_open());
            let mut in_use = slot.dedicated.available_permits() < DEDICATED;
            for multiplexed in [&mut slot.http2, &mut slot.http1_streams] {
                multiplexed.sweep(sweep, IDLE_SWEEPS);
                in_use |= multiplexed.is_in_use();
            }
            let known = Arc::strong_count(target) > 1;
            known && (in_use || !slot.idle.is_empty())
        });
    }

    /// The request to try again with, when a connection that had been idle was closed before it took it.
    fn retryable(
        &self,
        target: &Target,
        mut failure: TrySendError<Request<Body>>,
        reused: bool,
    ) -> Result<Request<Body>, Unanswered> {
        match failure.take_message() {
            Some(request) if reused => Ok(request),
            request => {
                let error = self.client.broken_off(target, &failure.into_error());
                Err(Unanswered { error, request: request.map(Box::new) })
            }
        }
    }

    /// The number of the last sweep: the pool's clock.
    fn now(&self) -> u64 {
        self.sweeps.load(Ordering::Relaxed)
    }

    fn with_slot<T>(&self, target: &Arc<Target>, act: impl FnOnce(&mut Slot) -> T) -> T {
        let mut slots = self.lock();
        match slots.get_mut(target) {
            Some(slot) => act(slot),
            None => act(slots.entry(target.clone()).or_default()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, FxHashMap<Arc<Target>, Slot>> {
        self.slots.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;

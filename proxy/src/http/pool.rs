//! The connection pool of one worker: connections for one request at a time (HTTP/1.1), and connections that requests
//! share (HTTP/2).
//!
//! A worker has its own pool, so its lock is never waited for. A connection that turns out to be dead before it took
//! the request gives the request back, and a fresh one is tried: that race is ours, and never the caller's error. It is
//! tried, too, when an idle connection was closed without a byte of an answer, where the request can be done twice.

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hyper::{Method, Request, Response};
use rustc_hash::FxHashMap;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use super::{
    body::Body,
    client::{self, Client, Target},
    http1,
};
use crate::{
    error::ProxyError,
    net::Hop,
    policy::bulkhead::limit::{self, Limit},
};

pub use multiplexed::STREAMS_PER_CONNECTION;
use multiplexed::{Multiplexed, Place};
use room::Found;
pub use room::{Connecting, Room};

mod multiplexed;
mod room;

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
    /// When the other side may close it, where it has said so.
    until: Option<Instant>,
}

impl Idle {
    fn is_over(&self) -> bool {
        self.until.is_some_and(|until| until <= Instant::now())
    }
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
    /// Not a byte of the request was sent: it is as it was.
    pub untouched: bool,
    /// Not a byte of an answer came.
    pub silent: bool,
}

impl Unanswered {
    fn untouched(error: ProxyError) -> Self {
        Self { error, untouched: true, silent: true }
    }
}

/// What is left of a request that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Nothing that can be counted on.
    Nothing,
    /// Its head, for another attempt. HTTP/1.1 only reads it; HTTP/2 takes it away, so that it has to be copied.
    Head,
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
    /// Whether the other side is another sidecar.
    pub fn is_of_the_mesh(&self) -> bool {
        self.target.identity.is_some()
    }

    /// The connection can take another request, within `rest` where the other side closes it then.
    pub fn give_back(self, mut connection: http1::Connection, rest: Option<Duration>) {
        connection.rest();
        let until = rest.filter(|rest| *rest < IDLE_LIMIT).map(|rest| Instant::now() + rest);
        self.pool.put(self.target, Idle { connection, place: self.place, since: self.pool.now(), until });
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

    /// Sends one request and waits for the response's head. `connecting` bounds a new connection. The body of the
    /// request is taken, unless it comes back untouched; `keep` says what else stays.
    pub async fn send(
        self: &Arc<Self>,
        target: &Arc<Target>,
        hop: Hop,
        connecting: impl Into<Connecting<'_>>,
        request: &mut Request<Body>,
        keep: Keep,
    ) -> Result<Response<Body>, Unanswered> {
        let connecting = connecting.into();
        let path = match hop {
            Hop::Http2 => Path::Shared,
            // Where connections are limited, as few as possible are made.
            Hop::Http1Streams if connecting.room.is_some() && target.identity.is_some() => Path::Shared,
            Hop::Http1 | Hop::Http1Streams => self.http1_path(target, hop),
        };
        match path {
            Path::Dedicated(connection, place) => self.send_http1(target, connecting, connection, place, request).await,
            // Boxed, and so are all connects: a future is as large as its largest branch, and moving it costs.
            Path::Shared => Box::pin(self.send_shared(target, hop, connecting, request, keep)).await,
        }
    }

    /// Sends on this connection, else on a new one.
    async fn send_http1(
        self: &Arc<Self>,
        target: &Arc<Target>,
        connecting: Connecting<'_>,
        mut idle: Option<http1::Connection>,
        mut place: Option<OwnedSemaphorePermit>,
        request: &mut Request<Body>,
    ) -> Result<Response<Body>, Unanswered> {
        let mut tries = 0;
        loop {
            tries += 1;
            let mut reused = idle.is_some();
            let connection = match idle.take() {
                Some(connection) => connection,
                None => match Box::pin(self.http1(target, connecting)).await {
                    Ok((connection, is_used)) => {
                        reused = is_used;
                        connection
                    }
                    Err(error) => return Err(Unanswered::untouched(error)),
                },
            };
            let lease = Lease { pool: self.clone(), target: target.clone(), place: place.take() };
            match http1::send(connection, request, lease).await {
                Ok(response) => return Ok(response),
                // Also a fresh one may meet its end: a listener that closes takes along what nobody has accepted.
                Err(unanswered) if unanswered.again && (reused || tries == 1) => {}
                Err(unanswered) => {
                    let http1::Unanswered { error, untouched, silent, .. } = *unanswered;
                    return Err(Unanswered { error: self.client.broken(target, &error), untouched, silent });
                }
            }
        }
    }

    async fn send_shared(
        self: &Arc<Self>,
        target: &Arc<Target>,
        hop: Hop,
        connecting: Connecting<'_>,
        request: &mut Request<Body>,
        keep: Keep,
    ) -> Result<Response<Body>, Unanswered> {
        loop {
            let Place { mut sender, stream, reused } = match self.place(target, hop, connecting).await {
                Ok(place) => place,
                Err(error) => return Err(Unanswered::untouched(error)),
            };
            if request.method() == Method::CONNECT {
                match Box::pin(stream.takes_connect()).await {
                    Some(true) => {}
                    None if reused => continue,
                    answer => return Err(Unanswered::untouched(self.client.no_connect(target, answer))),
                }
            }
            let again = http_body::Body::is_end_stream(request.body()) && request.method().is_idempotent();
            let left = if keep == Keep::Head || again { copy(request) } else { Request::new(Body::empty()) };
            match sender.try_send_request(std::mem::replace(request, left)).await {
                Ok(response) => return Ok(response.map(|body| Body::placed_stream(body, stream))),
                Err(mut failure) => {
                    let taken_back = failure.take_message();
                    let untouched = taken_back.is_some();
                    if let Some(whole) = taken_back {
                        *request = whole;
                    }
                    // What else befalls a stream is its own: only who loses the connection knows nothing.
                    if !(reused && (untouched || again && sender.is_closed())) {
                        let error = self.client.broken_off(target, &failure.into_error());
                        return Err(Unanswered { error, untouched, silent: true });
                    }
                    self.with_slot(target, |slot| slot.multiplexed(hop).forget_closed());
                }
            }
        }
    }

    /// Room on a shared connection. Waiting for another request's connect counts as connecting.
    async fn place(
        self: &Arc<Self>,
        target: &Arc<Target>,
        hop: Hop,
        connecting: Connecting<'_>,
    ) -> Result<Place, ProxyError> {
        let place = || self.with_slot(target, |slot| slot.multiplexed(hop).place(self.now()));
        if let Some(place) = place() {
            return Ok(place);
        }
        let turn = self.with_slot(target, |slot| slot.multiplexed(hop).connecting.clone());
        let connect = async {
            let _turn = turn.lock().await;
            if let Some(place) = place() {
                return Ok(place);
            }
            let (room, limit) = match connecting.find(self, place).await? {
                Found::Another(place) => return Ok(place),
                Found::New(room, limit) => (room, limit),
            };
            let made = Box::pin(self.client.http2(target, hop, limit, room)).await?;
            let of = connecting.room.map(|room| room.limit().clone());
            Ok(self.with_slot(target, |slot| slot.multiplexed(hop).add(made, of, self.now())))
        };
        match connecting.room {
            None => client::within(target, connecting.limit, connect).await,
            // Who has its turn has the time for itself; who has none yet waits for room, and not for an endpoint.
            Some(room) => {
                let limit = connecting.limit * 2;
                tokio::time::timeout(limit, connect).await.unwrap_or_else(|_| Err(room.full(limit)))
            }
        }
    }

    /// A new HTTP/1.1 connection; or one that was used before, when that is free sooner than there is room.
    async fn http1(
        self: &Arc<Self>,
        target: &Arc<Target>,
        connecting: Connecting<'_>,
    ) -> Result<(http1::Connection, bool), ProxyError> {
        match connecting.find(self, || self.take(target)).await? {
            Found::Another((connection, _)) => Ok((connection, true)),
            Found::New(room, limit) => Ok((self.client.http1(target, limit, room).await?, false)),
        }
    }

    /// Leave for a connection that is not the pool's.
    ///
    /// # Errors
    /// There was no room for one in time.
    pub async fn room(
        self: &Arc<Self>,
        connecting: Connecting<'_>,
    ) -> Result<(Option<limit::Place>, Duration), ProxyError> {
        match connecting.find(self, || None::<Infallible>).await? {
            Found::New(room, limit) => Ok((room, limit)),
            Found::Another(never) => match never {},
        }
    }

    /// Closes a connection within `limit` that nobody uses.
    fn close_idle(&self, limit: &Arc<Limit>) -> bool {
        self.lock().values_mut().any(|slot| {
            let idle = slot.idle.iter().position(|idle| idle.connection.is_within(limit));
            idle.map(|index| slot.idle.remove(index)).is_some()
                || [&mut slot.http2, &mut slot.http1_streams].into_iter().any(|shared| shared.close_idle(limit))
        })
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
            if !last.is_over() && last.connection.is_open() {
                return Some((last.connection, last.place));
            }
        }
        None
    }

    fn put(&self, target: Arc<Target>, connection: Idle) {
        let mut slots = self.lock();
        let idle = &mut slots.entry(target).or_default().idle;
        if idle.len() < IDLE_PER_TARGET {
            idle.push(connection);
        }
    }

    /// Closes what was idle for too long, and everything to targets that nobody else knows any more.
    pub fn sweep(&self) {
        let sweep = self.sweeps.fetch_add(1, Ordering::Relaxed) + 1;
        self.lock().retain(|target, slot| {
            slot.idle
                .retain_mut(|idle| sweep - idle.since < IDLE_SWEEPS && !idle.is_over() && idle.connection.is_open());
            let mut in_use = slot.dedicated.available_permits() < DEDICATED;
            for multiplexed in [&mut slot.http2, &mut slot.http1_streams] {
                multiplexed.sweep(sweep, IDLE_SWEEPS);
                in_use |= multiplexed.is_in_use();
            }
            let known = Arc::strong_count(target) > 1;
            known && (in_use || !slot.idle.is_empty())
        });
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

/// The head of the request once more. What a `CONNECT` names is no part of it.
fn copy(request: &Request<Body>) -> Request<Body> {
    let mut copy = Request::new(Body::empty());
    request.method().clone_into(copy.method_mut());
    request.uri().clone_into(copy.uri_mut());
    *copy.version_mut() = request.version();
    request.headers().clone_into(copy.headers_mut());
    copy
}

#[cfg(test)]
mod tests;

//! The connection pool of one worker: idle HTTP/1.1 connections, and HTTP/2 connections that requests share.
//!
//! A worker has its own pool, so its lock is never waited for. A connection that turns out to be dead before it took
//! the request gives the request back, and a fresh one is tried: that race is ours, and never the caller's error.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use hyper::{
    Request, Response,
    body::Incoming,
    client::conn::{TrySendError, http1, http2},
};

use super::{
    body::Body,
    client::{self, Client, Target},
};
use crate::{
    error::{Kind, ProxyError},
    net::Hop,
};

/// Idle connections are closed before the other side would: its own limit is longer.
pub const IDLE_LIMIT: Duration = Duration::from_secs(50);
const IDLE_PER_TARGET: usize = 512;

pub struct Pool {
    client: Arc<Client>,
    slots: Mutex<HashMap<Arc<Target>, Slot>>,
}

#[derive(Default)]
struct Slot {
    /// The most recently used last.
    http1: Vec<(http1::SendRequest<Body>, Instant)>,
    http2: Vec<Shared>,
    /// Held while the HTTP/2 connection is made, so that a burst makes one.
    connecting: Arc<tokio::sync::Mutex<()>>,
}

/// An HTTP/2 connection and its requests, each of which holds a clone of `streams`.
struct Shared {
    sender: http2::SendRequest<Body>,
    streams: Arc<()>,
}

/// Fewer than the stream limit of common servers: beyond that limit requests would wait in silence.
const STREAMS_PER_CONNECTION: usize = 100;

impl Shared {
    fn has_room(&self) -> bool {
        !self.sender.is_closed() && Arc::strong_count(&self.streams) <= STREAMS_PER_CONNECTION
    }
}

/// A request that did not get an answer.
#[derive(Debug)]
pub struct Unanswered {
    pub error: ProxyError,
    /// The request, untouched, when not a byte of it was sent.
    pub request: Option<Box<Request<Body>>>,
}

/// The connection of a response that is still coming. Dropping it closes an HTTP/1.1 connection.
pub struct Lease {
    pool: Arc<Pool>,
    target: Arc<Target>,
    sender: Option<http1::SendRequest<Body>>,
    _stream: Option<Arc<()>>,
}

impl Lease {
    /// The response is complete: the connection can take another request.
    pub fn give_back(mut self) {
        if let Some(sender) = self.sender.take().filter(|sender| !sender.is_closed()) {
            self.pool.put(&self.target, sender);
        }
    }
}

impl Pool {
    pub fn new(client: Arc<Client>) -> Arc<Self> {
        Arc::new(Self { client, slots: Mutex::default() })
    }

    /// Sends one request and waits for the response's head. `connect_limit` bounds a new connection.
    pub async fn send(
        self: &Arc<Self>,
        target: &Arc<Target>,
        hop: Hop,
        connect_limit: Duration,
        request: Request<Body>,
    ) -> Result<(Response<Incoming>, Lease), Unanswered> {
        match hop {
            Hop::Http1 => self.send_http1(target, connect_limit, request).await,
            Hop::Http2 => self.send_http2(target, connect_limit, request).await,
        }
    }

    async fn send_http1(
        self: &Arc<Self>,
        target: &Arc<Target>,
        connect_limit: Duration,
        mut request: Request<Body>,
    ) -> Result<(Response<Incoming>, Lease), Unanswered> {
        loop {
            let (mut sender, reused) = match self.take(target) {
                Some(sender) => (sender, true),
                None => match self.client.http1(target, connect_limit).await {
                    Ok(sender) => (sender, false),
                    Err(error) => return Err(Unanswered { error, request: Some(Box::new(request)) }),
                },
            };
            match sender.try_send_request(request).await {
                Ok(response) => {
                    let (pool, target) = (self.clone(), target.clone());
                    let lease = Lease { pool, target, sender: Some(sender), _stream: None };
                    return Ok((response, lease));
                }
                Err(error) => request = self.retryable(target, error, reused)?,
            }
        }
    }

    async fn send_http2(
        self: &Arc<Self>,
        target: &Arc<Target>,
        connect_limit: Duration,
        mut request: Request<Body>,
    ) -> Result<(Response<Incoming>, Lease), Unanswered> {
        loop {
            let (mut sender, stream, reused) = match self.http2(target, connect_limit).await {
                Ok(connection) => connection,
                Err(error) => return Err(Unanswered { error, request: Some(Box::new(request)) }),
            };
            match sender.try_send_request(request).await {
                Ok(response) => {
                    let (pool, target) = (self.clone(), target.clone());
                    let lease = Lease { pool, target, sender: None, _stream: Some(stream) };
                    return Ok((response, lease));
                }
                Err(error) => {
                    request = self.retryable(target, error, reused)?;
                    self.forget_closed(target);
                }
            }
        }
    }

    /// An HTTP/2 connection with room for a request, a place on it, and whether it was there before. Waiting for another
    /// request's connect counts as connecting.
    async fn http2(
        &self,
        target: &Arc<Target>,
        connect_limit: Duration,
    ) -> Result<(http2::SendRequest<Body>, Arc<()>, bool), ProxyError> {
        let place = || {
            let slots = self.lock();
            let shared = slots.get(target)?.http2.iter().find(|shared| shared.has_room())?;
            Some((shared.sender.clone(), shared.streams.clone(), true))
        };
        if let Some(place) = place() {
            return Ok(place);
        }
        let connecting = self.lock().entry(target.clone()).or_default().connecting.clone();
        client::within(target, connect_limit, async {
            let _turn = connecting.lock().await;
            if let Some(place) = place() {
                return Ok(place);
            }
            let sender = self.client.http2(target, connect_limit).await?;
            let streams = Arc::new(());
            let shared = Shared { sender: sender.clone(), streams: streams.clone() };
            self.lock().entry(target.clone()).or_default().http2.push(shared);
            Ok((sender, streams, false))
        })
        .await
    }

    fn forget_closed(&self, target: &Arc<Target>) {
        if let Some(slot) = self.lock().get_mut(target) {
            slot.http2.retain(|shared| !shared.sender.is_closed());
        }
    }

    /// The idle connection used last, which is the least likely to have been closed by the other side.
    fn take(&self, target: &Arc<Target>) -> Option<http1::SendRequest<Body>> {
        let mut slots = self.lock();
        let idle = &mut slots.get_mut(target)?.http1;
        let ready = idle.iter().rposition(|(sender, _)| sender.is_ready())?;
        Some(idle.remove(ready).0)
    }

    fn put(&self, target: &Arc<Target>, sender: http1::SendRequest<Body>) {
        let mut slots = self.lock();
        let idle = &mut slots.entry(target.clone()).or_default().http1;
        if idle.len() < IDLE_PER_TARGET {
            idle.push((sender, Instant::now()));
        }
    }

    /// Closes what was idle for too long, and everything to targets that nobody else knows any more.
    pub fn sweep(&self, now: Instant) {
        self.lock().retain(|target, slot| {
            slot.http1.retain(|(sender, since)| !sender.is_closed() && now.duration_since(*since) < IDLE_LIMIT);
            slot.http2.retain(|shared| !shared.sender.is_closed());
            let in_use = Arc::strong_count(&slot.connecting) > 1;
            let known = Arc::strong_count(target) > 1;
            in_use || known && (!slot.http1.is_empty() || !slot.http2.is_empty())
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
                let error = broken(&self.client, target, &failure.into_error());
                Err(Unanswered { error, request: request.map(Box::new) })
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<Target>, Slot>> {
        self.slots.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Why a request that was begun on a connection got no answer.
fn broken(client: &Client, target: &Target, error: &hyper::Error) -> ProxyError {
    if error.is_user() {
        // The only part of a request that can fail on this side is its body, which comes from the caller.
        return ProxyError::new(Kind::BadRequest, "the request's body broke off or is malformed");
    }
    let refusal = weft_certs::handshake_refusal(error);
    if let weft_certs::Refusal::Alert(_) = refusal {
        // In TLS 1.3 a server refuses our certificate only after our side of the handshake is done.
        return client.not_trusted(target, &refusal);
    }
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    ProxyError::new(Kind::Reset, format_args!("{} broke the connection off: {error}{cause}", target.address))
}

#[cfg(test)]
mod tests;

//! HTTP/2 connections to one target, which requests share.

use std::sync::Arc;

use hyper::client::conn::http2::SendRequest;

use crate::{
    http::{body::Body, client::Settings},
    policy::bulkhead::limit::Limit,
};

/// Fewer than the stream limit of common servers: beyond that limit requests would wait in silence.
pub const STREAMS_PER_CONNECTION: usize = 100;

#[derive(Default)]
pub(super) struct Multiplexed {
    connections: Vec<Shared>,
    /// Held while a connection is made, so that a burst makes one.
    pub(super) connecting: Arc<tokio::sync::Mutex<()>>,
}

/// A connection and its requests, each of which holds a clone of `streams`.
struct Shared {
    sender: SendRequest<Body>,
    streams: Arc<Settings>,
    /// What limits the connections of the backend that it was made for.
    limit: Option<Arc<Limit>>,
    /// The sweep before its last use.
    used: u64,
}

/// Room for one request on a connection.
pub(super) struct Place {
    pub(super) sender: SendRequest<Body>,
    /// Held as long as the place is taken.
    pub(super) stream: Arc<Settings>,
    /// Whether the connection was there before.
    pub(super) reused: bool,
}

impl Multiplexed {
    pub(super) fn place(&mut self, sweep: u64) -> Option<Place> {
        let has_room = |shared: &&mut Shared| {
            !shared.sender.is_closed() && Arc::strong_count(&shared.streams) <= STREAMS_PER_CONNECTION
        };
        let shared = self.connections.iter_mut().find(has_room)?;
        shared.used = sweep;
        Some(Place { sender: shared.sender.clone(), stream: shared.streams.clone(), reused: true })
    }

    /// Takes a new connection in, and gives the first place on it.
    pub(super) fn add(
        &mut self,
        (sender, settings): (SendRequest<Body>, Settings),
        limit: Option<Arc<Limit>>,
        sweep: u64,
    ) -> Place {
        let streams = Arc::new(settings);
        self.connections.push(Shared { sender: sender.clone(), streams: streams.clone(), limit, used: sweep });
        Place { sender, stream: streams, reused: false }
    }

    /// Closes a connection within `limit` that no request is on.
    pub(super) fn close_idle(&mut self, limit: &Arc<Limit>) -> bool {
        let is_idle = |shared: &Shared| {
            Arc::strong_count(&shared.streams) == 1
                && !shared.sender.is_closed()
                && shared.limit.as_ref().is_some_and(|of| Arc::ptr_eq(of, limit))
        };
        let idle = self.connections.iter().position(is_idle);
        idle.map(|index| self.connections.swap_remove(index)).is_some()
    }

    pub(super) fn forget_closed(&mut self) {
        self.connections.retain(|shared| !shared.sender.is_closed());
    }

    /// Forgets the closed ones, and closes those that were not used for so many sweeps.
    pub(super) fn sweep(&mut self, sweep: u64, limit: u64) {
        self.connections.retain_mut(|shared| {
            if Arc::strong_count(&shared.streams) > 1 {
                shared.used = sweep;
            }
            !shared.sender.is_closed() && sweep - shared.used < limit
        });
    }

    /// Whether there is a connection, or somebody makes one.
    pub(super) fn is_in_use(&self) -> bool {
        !self.connections.is_empty() || Arc::strong_count(&self.connecting) > 1
    }
}

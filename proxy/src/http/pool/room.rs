//! How many connections there may be to all endpoints of a backend, from all workers together.
//!
//! A place is taken for each new connection and lives in its socket, whether the connection is in use or idle. When there
//! is none, a connection that nobody uses is closed for the new one, in whichever worker's pool it is; else the request
//! waits until one is free to be used or closed. A connection counts for the backend that it was opened for: endpoints
//! that are in several backends share their connections.

use std::{
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use prometheus_client::metrics::counter::Counter;
use tokio::time::sleep;

use super::Pool;
use crate::{
    error::{Kind, ProxyError},
    policy::bulkhead::{
        RETRY_AFTER,
        limit::{Limit, Place},
        notice::Notice,
    },
};

/// Who waits looks so often for a connection that is not used any more: HTTP/2 does not say when a stream is over.
const LOOK: Duration = Duration::from_millis(10);

#[derive(Debug)]
pub struct Room {
    backend: Arc<str>,
    limit: Arc<Limit>,
    /// Those that may have connections of it.
    pools: Mutex<Vec<Weak<Pool>>>,
    refused: Counter,
    notice: Notice,
}

/// How a new connection is made: within this time, and in this room if there is a limit.
#[derive(Clone, Copy, Debug)]
pub struct Connecting<'a> {
    pub limit: Duration,
    pub room: Option<&'a Arc<Room>>,
}

impl From<Duration> for Connecting<'_> {
    fn from(limit: Duration) -> Self {
        Self { limit, room: None }
    }
}

/// What a request that needs a connection gets.
pub(super) enum Found<T> {
    /// One that is there already.
    Another(T),
    /// Leave to make one, within what is left of the time.
    New(Option<Place>, Duration),
}

impl Room {
    pub fn new(backend: Arc<str>, max_connections: u32, refused: Counter) -> Arc<Self> {
        let (limit, pools, notice) = (Limit::new(max_connections), Mutex::default(), Notice::default());
        Arc::new(Self { backend, limit, pools, refused, notice })
    }

    /// Those that are open stay open; there is no new one until fewer are.
    pub fn resize(&self, max_connections: u32) {
        self.limit.resize(max_connections);
    }

    pub(super) fn limit(&self) -> &Arc<Limit> {
        &self.limit
    }

    async fn find<T>(&self, mut another: impl FnMut() -> Option<T>) -> Found<T> {
        let mut place = pin!(self.limit.take());
        loop {
            if let Some(another) = another() {
                return Found::Another(another);
            }
            self.close_idle();
            tokio::select! {
                biased;
                place = &mut place => return Found::New(Some(place), Duration::ZERO),
                () = sleep(LOOK) => {}
            }
        }
    }

    /// Closes one connection that nobody uses.
    fn close_idle(&self) {
        let pools: Vec<_> = self.pools().iter().filter_map(Weak::upgrade).collect();
        let _ = pools.iter().any(|pool| pool.close_idle(&self.limit));
    }

    fn join(&self, pool: &Arc<Pool>) {
        let mut pools = self.pools();
        if !pools.iter().any(|known| known.as_ptr() == Arc::as_ptr(pool)) {
            pools.push(Arc::downgrade(pool));
        }
    }

    fn pools(&self) -> MutexGuard<'_, Vec<Weak<Pool>>> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn full(&self, waited: Duration) -> ProxyError {
        self.refused.inc();
        let details = format!(
            "the bulkhead is full: {} connections are open, as many as there may be, and none became free within \
             {waited:?}",
            self.limit.limit()
        );
        if let Some(refused) = self.notice.take(Instant::now()) {
            tracing::warn!(backend = %self.backend, refused, "{details}");
        }
        ProxyError { kind: Kind::BulkheadFull, details, retry_after: Some(RETRY_AFTER) }
    }
}

impl Connecting<'_> {
    /// Leave for a new connection, or `another` one that has become free meanwhile.
    ///
    /// # Errors
    /// There was neither in time.
    pub(super) async fn find<T>(
        self,
        pool: &Arc<Pool>,
        another: impl FnMut() -> Option<T>,
    ) -> Result<Found<T>, ProxyError> {
        let Some(room) = self.room else { return Ok(Found::New(None, self.limit)) };
        room.join(pool);
        if let Some(place) = room.limit.try_take() {
            return Ok(Found::New(Some(place), self.limit));
        }
        let began = Instant::now();
        match tokio::time::timeout(self.limit, Box::pin(room.find(another))).await {
            Ok(Found::New(place, _)) => Ok(Found::New(place, self.limit.saturating_sub(began.elapsed()))),
            Ok(another) => Ok(another),
            Err(_) => Err(room.full(self.limit)),
        }
    }
}

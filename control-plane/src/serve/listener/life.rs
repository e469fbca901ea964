//! Until when a connection may be used: while the certificate that it was opened with is valid, or a newer one that it
//! was given meanwhile. A peer without one has what a first SVID takes.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use weft_certs::Clock;

/// The end of one connection's life; all clones share it.
#[derive(Clone)]
pub struct Life {
    clock: Clock,
    end: Arc<Mutex<SystemTime>>,
}

impl Life {
    pub fn until(end: SystemTime, clock: Clock) -> Self {
        Self { clock, end: Arc::new(Mutex::new(end)) }
    }

    /// `None` when it is over.
    pub fn remaining(&self) -> Option<Duration> {
        let end = *self.end();
        end.duration_since(self.clock.now()).ok().filter(|left| !left.is_zero())
    }

    pub fn is_over(&self) -> bool {
        self.remaining().is_none()
    }

    /// The peer has got a certificate that is valid until `end`. What is over stays over.
    pub fn extend(&self, end: SystemTime) {
        if !self.is_over() {
            let mut current = self.end();
            *current = end.max(*current);
        }
    }

    fn end(&self) -> MutexGuard<'_, SystemTime> {
        // A point in time is whole whatever happened elsewhere.
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Life").field(&*self.end()).finish()
    }
}

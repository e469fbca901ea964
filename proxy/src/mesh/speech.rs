//! Which side of a port's connections speaks first, as far as it was seen. It is learned, and survives updates.

use std::sync::atomic::{AtomicU8, Ordering};

#[derive(Debug, Default)]
pub struct Speech(AtomicU8);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum First {
    #[default]
    Unknown,
    Client,
    Server,
}

impl Speech {
    pub fn first(&self) -> First {
        match self.0.load(Ordering::Relaxed) {
            0 => First::Unknown,
            1 => First::Client,
            _ => First::Server,
        }
    }

    /// A server that was heard first stays so: its clients wait for it.
    pub fn learn(&self, first: First) {
        let value = match first {
            First::Unknown => 0,
            First::Client => 1,
            First::Server => 2,
        };
        self.0.fetch_max(value, Ordering::Relaxed);
    }
}

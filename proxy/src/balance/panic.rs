//! The panic threshold: when so few endpoints can be used that they would fail under the whole load, all are used,
//! whatever is known of them. Some requests then fail; without it, all would soon.
//!
//! An endpoint can be used when it is not reported unhealthy and its circuit is closed. Being spared from ejection does
//! not count: that is for want of others. The log and the metrics are told when it begins and ends, not for each request.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use prometheus_client::metrics::counter::Counter;

use super::set::Set;

#[derive(Debug)]
pub(super) struct Panic {
    backend: Arc<str>,
    on: AtomicBool,
    /// How often it began.
    begun: Counter,
}

impl Panic {
    pub(super) fn new(backend: Arc<str>, begun: Counter) -> Self {
        Self { backend, on: AtomicBool::new(false), begun }
    }

    /// Whether all endpoints are used now.
    pub(super) fn is_on(&self, set: &Set) -> bool {
        let Some(percent) = set.settings.panic_percent else { return false };
        let (usable, of) = (set.usable().closed(), set.everyone.len());
        let on = is_too_few(usable, of, percent);
        if self.on.load(Ordering::Relaxed) != on && self.on.swap(on, Ordering::Relaxed) != on {
            self.tell(on, usable, of, percent);
        }
        on
    }

    fn tell(&self, on: bool, usable: usize, of: usize, percent: u32) {
        let backend = &self.backend;
        if on {
            self.begun.inc();
            tracing::warn!(%backend, usable, of, "less than {percent} % of the endpoints can be used: all of them are");
        } else {
            tracing::info!(%backend, usable, of, "{percent} % of the endpoints can be used again: the others are left out");
        }
    }
}

fn is_too_few(usable: usize, of: usize, percent: u32) -> bool {
    usable * 100 < of * percent as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn less_than_the_share_is_too_few() {
        for (usable, of, percent, expected) in
            [(5, 10, 50, false), (4, 10, 50, true), (0, 1, 1, true), (1, 1, 100, false), (0, 0, 50, false)]
        {
            assert_eq!(is_too_few(usable, of, percent), expected, "{usable} of {of}, {percent} %");
        }
    }
}

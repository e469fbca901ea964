//! What happens next, in the order of time. Of events at the same time the one that was scheduled first comes first,
//! so that a run has one order only.

use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// An application has a request for a backend.
    Due { client: u32, backend: u32 },
    /// An attempt reaches its endpoint.
    Delivered { attempt: u32 },
    /// A worker has finished. `life` is the one of the endpoint in which it began.
    Served { endpoint: u32, attempt: u32, life: u32 },
    /// The time of an attempt is over.
    Expired { attempt: u32 },
    /// The wait before another attempt is over.
    Again { request: u32 },
    /// The processes of a fault end.
    Crashed { fault: u32 },
}

#[derive(Debug, Default)]
pub struct Events {
    /// By nanoseconds since the beginning.
    queue: BinaryHeap<Reverse<(u64, u32, Event)>>,
    scheduled: u32,
}

impl Events {
    pub fn schedule(&mut self, at: Duration, event: Event) {
        self.scheduled += 1;
        self.queue.push(Reverse((at.as_nanos() as u64, self.scheduled, event)));
    }

    pub fn next(&mut self) -> Option<(Duration, Event)> {
        self.queue.pop().map(|Reverse((at, _, event))| (Duration::from_nanos(at), event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_and_then_as_they_were_scheduled() {
        let mut events = Events::default();
        let second = Duration::from_secs(1);
        let again = |request| Event::Again { request };
        for (at, request) in [(2 * second, 1), (second, 9), (second, 2)] {
            events.schedule(at, again(request));
        }
        let order: Vec<Event> = std::iter::from_fn(|| events.next()).map(|(_, event)| event).collect();
        assert_eq!(order, [again(9), again(2), again(1)]);
    }
}

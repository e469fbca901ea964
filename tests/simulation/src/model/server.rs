//! An endpoint: workers, and a queue in front of them. It does not learn that a caller has given up, and does the work
//! all the same, as most applications do.

use std::collections::VecDeque;

#[derive(Debug)]
pub struct Server {
    workers: usize,
    busy: usize,
    waiting: VecDeque<u32>,
    queue: usize,
    /// Counts the processes: what an earlier one began does not end.
    life: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    Starts,
    Waits,
    /// The queue is full.
    Refused,
}

impl Server {
    pub fn new(workers: usize, queue: usize) -> Self {
        Self { workers, busy: 0, waiting: VecDeque::new(), queue, life: 0 }
    }

    pub fn take(&mut self, attempt: u32) -> Taken {
        if self.busy < self.workers {
            self.busy += 1;
            return Taken::Starts;
        }
        if self.waiting.len() >= self.queue {
            return Taken::Refused;
        }
        self.waiting.push_back(attempt);
        Taken::Waits
    }

    /// A worker has finished: the request that it takes next.
    pub fn next(&mut self) -> Option<u32> {
        let next = self.waiting.pop_front();
        if next.is_none() {
            self.busy -= 1;
        }
        next
    }

    pub fn life(&self) -> u32 {
        self.life
    }

    /// Everything that was begun or waits is lost.
    pub fn crash(&mut self) {
        self.life += 1;
        self.busy = 0;
        self.waiting.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_start_wait_or_are_refused() {
        let mut server = Server::new(1, 1);
        assert_eq!([server.take(1), server.take(2), server.take(3)], [Taken::Starts, Taken::Waits, Taken::Refused]);
        assert_eq!(server.next(), Some(2));
        assert_eq!(server.next(), None);
        assert_eq!(server.take(4), Taken::Starts);
        server.crash();
        assert_eq!((server.take(5), server.life()), (Taken::Starts, 1));
    }
}

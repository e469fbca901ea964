//! A number of places that can be changed while they are taken. Exact across threads, first come first served.
//!
//! Tokio's semaphore does the queueing; it cannot take back permits that are in use. Those that are too many after the
//! limit has shrunk are counted as excess, and vanish as they come back.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Semaphore, SemaphorePermit};

#[derive(Debug)]
pub struct Limit {
    semaphore: Semaphore,
    counts: Mutex<Counts>,
}

/// The permits there are, free or not, are `limit + excess`.
#[derive(Debug)]
struct Counts {
    limit: u32,
    excess: u32,
    taken: u32,
}

/// A place; free again when it is dropped.
#[must_use = "the place is free again when this is dropped"]
#[derive(Debug)]
pub struct Place {
    limit: Arc<Limit>,
}

impl Limit {
    pub fn new(limit: u32) -> Arc<Self> {
        let counts = Counts { limit, excess: 0, taken: 0 };
        Arc::new(Self { semaphore: Semaphore::new(limit as usize), counts: Mutex::new(counts) })
    }

    /// A place, if one is free and nobody waits for it.
    pub fn try_take(self: &Arc<Self>) -> Option<Place> {
        loop {
            if let Some(place) = self.keep(self.semaphore.try_acquire().ok()?) {
                return Some(place);
            }
        }
    }

    /// Waits for a place, behind those who wait already.
    pub async fn take(self: &Arc<Self>) -> Place {
        loop {
            match self.semaphore.acquire().await {
                Ok(permit) => {
                    if let Some(place) = self.keep(permit) {
                        return place;
                    }
                }
                // Nobody closes the semaphore.
                Err(_) => std::future::pending().await,
            }
        }
    }

    /// A waiter that gave up may have put back a permit that is one too many.
    fn keep(self: &Arc<Self>, permit: SemaphorePermit<'_>) -> Option<Place> {
        let mut counts = self.lock();
        permit.forget();
        if counts.excess > 0 {
            counts.excess -= 1;
            return None;
        }
        counts.taken += 1;
        Some(Place { limit: self.clone() })
    }

    /// Changes the number of places. Those that are taken stay taken; there is no new one until fewer are.
    pub fn resize(&self, limit: u32) {
        let mut counts = self.lock();
        if limit >= counts.limit {
            let more = limit - counts.limit;
            let kept = more.min(counts.excess);
            counts.excess -= kept;
            self.semaphore.add_permits((more - kept) as usize);
        } else {
            let fewer = counts.limit - limit;
            let forgotten = self.semaphore.forget_permits(fewer as usize);
            counts.excess += fewer - u32::try_from(forgotten).unwrap_or(fewer).min(fewer);
        }
        counts.limit = limit;
    }

    pub fn limit(&self) -> u32 {
        self.lock().limit
    }

    pub fn taken(&self) -> u32 {
        self.lock().taken
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    pub fn is_of(&self, limit: &Arc<Limit>) -> bool {
        Arc::ptr_eq(&self.limit, limit)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.limit.lock();
        counts.taken -= 1;
        if counts.excess > 0 {
            counts.excess -= 1;
        } else {
            self.limit.semaphore.add_permits(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::{Pin, pin},
        sync::atomic::{AtomicBool, AtomicU32, Ordering},
        task::{Context, Poll, Waker},
    };

    use proptest::prelude::*;

    use super::*;

    fn poll(waiter: Pin<&mut impl Future<Output = Place>>) -> Option<Place> {
        match waiter.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(place) => Some(place),
            Poll::Pending => None,
        }
    }

    #[test]
    fn who_waits_longer_is_served_first() {
        let limit = Limit::new(1);
        let held = limit.try_take().unwrap();
        let (mut first, mut second) = (pin!(limit.take()), pin!(limit.take()));
        assert!(poll(first.as_mut()).is_none() && poll(second.as_mut()).is_none());
        drop(held);
        assert!(limit.try_take().is_none(), "nobody overtakes who waits");
        assert!(poll(second.as_mut()).is_none());
        let held = poll(first.as_mut()).unwrap();
        drop(held);
        assert!(poll(second.as_mut()).is_some());
        assert!(limit.try_take().is_some());
    }

    #[test]
    fn a_waiter_that_gives_up_passes_its_place_on() {
        let limit = Limit::new(1);
        let held = limit.try_take().unwrap();
        let (mut first, mut second) = (Box::pin(limit.take()), pin!(limit.take()));
        assert!(poll(first.as_mut()).is_none() && poll(second.as_mut()).is_none());
        drop(held);
        drop(first);
        assert!(poll(second.as_mut()).is_some(), "also when it had been given the place already");
    }

    #[test]
    fn a_place_too_many_is_not_given_out_again() {
        let limit = Limit::new(2);
        let (one, two) = (limit.try_take().unwrap(), limit.try_take().unwrap());
        let mut waiter = Box::pin(limit.take());
        assert!(poll(waiter.as_mut()).is_none());
        drop(one); // the waiter's, from now on
        limit.resize(1);
        drop(waiter);
        assert!(limit.try_take().is_none(), "{limit:?}");
        drop(two);
        assert!(limit.try_take().is_some());
    }

    #[derive(Clone, Debug)]
    enum Op {
        Try,
        Wait,
        Poll(usize),
        GiveUp(usize),
        Free(usize),
        Resize(u32),
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            3 => Just(Op::Try),
            3 => Just(Op::Wait),
            3 => any::<usize>().prop_map(Op::Poll),
            1 => any::<usize>().prop_map(Op::GiveUp),
            4 => any::<usize>().prop_map(Op::Free),
            1 => (0..6_u32).prop_map(Op::Resize),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        /// No place beyond the limit is ever given out, and in the end there are as many as the limit says.
        #[test]
        fn no_place_is_lost_or_made_up(first in 0..6_u32, ops in prop::collection::vec(op(), 1..200)) {
            let limit = Limit::new(first);
            let (mut held, mut waiters, mut size) = (Vec::new(), Vec::new(), first);
            for op in ops {
                let before = held.len();
                match op {
                    Op::Try => held.extend(limit.try_take()),
                    Op::Wait => {
                        let limit = limit.clone();
                        waiters.push(Box::pin(async move { limit.take().await }));
                    }
                    Op::Poll(which) if !waiters.is_empty() => {
                        let which = which % waiters.len();
                        if let Some(place) = poll(waiters[which].as_mut()) {
                            held.push(place);
                            drop(waiters.remove(which));
                        }
                    }
                    Op::GiveUp(which) if !waiters.is_empty() => drop(waiters.remove(which % waiters.len())),
                    Op::Free(which) if !held.is_empty() => drop(held.swap_remove(which % held.len())),
                    Op::Poll(_) | Op::GiveUp(_) | Op::Free(_) => {}
                    Op::Resize(to) => {
                        size = to;
                        limit.resize(to);
                    }
                }
                prop_assert_eq!(limit.taken() as usize, held.len());
                prop_assert!(held.len() <= before || held.len() <= size as usize, "{:?}", limit);
            }
            drop((held, waiters));
            let all: Vec<_> = std::iter::from_fn(|| limit.try_take()).take(10).collect();
            prop_assert_eq!(all.len(), size as usize, "{:?}", limit);
        }
    }

    #[test]
    fn many_threads_never_take_more_than_there_are() {
        const MOST: u32 = 5;
        let (limit, under_way, done) = (Limit::new(MOST), AtomicU32::new(0), AtomicBool::new(false));
        let work = |seed: usize| {
            for turn in 0..3_000 {
                let place = match (turn + seed) % 2 {
                    0 => limit.try_take(),
                    _ => poll(pin!(limit.take())), // gives up at once
                };
                let Some(place) = place else { continue };
                assert!(under_way.fetch_add(1, Ordering::SeqCst) < MOST, "more places than there are");
                std::thread::yield_now();
                under_way.fetch_sub(1, Ordering::SeqCst);
                drop(place);
            }
        };
        std::thread::scope(|scope| {
            let resizing = scope.spawn(|| {
                for turn in 0.. {
                    if done.load(Ordering::SeqCst) {
                        break;
                    }
                    limit.resize(turn % (MOST + 1));
                    std::thread::yield_now();
                }
            });
            let working: Vec<_> = (0..4).map(|seed| scope.spawn(move || work(seed))).collect();
            working.into_iter().for_each(|thread| thread.join().unwrap());
            done.store(true, Ordering::SeqCst);
            resizing.join().unwrap();
        });
        limit.resize(MOST);
        assert_eq!(limit.taken(), 0);
        let all: Vec<_> = std::iter::from_fn(|| limit.try_take()).take(10).collect();
        assert_eq!(all.len(), MOST as usize, "no place was lost");
    }
}

//! Time on a connection: when one ends that is idle, or on which what was begun does not go on.
//!
//! One timer runs on through all requests, so that none has to touch it or to read the clock. It only counts the periods in
//! which nothing moved; what that means is asked when one is over. A limit is kept to a period: nothing ends early, and
//! everything within the limit and one period more.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep};

use crate::http::server::Limits;

pub(super) struct Watch {
    limits: Limits,
    period: Duration,
    timer: Pin<Box<Sleep>>,
    /// Whether the timer wakes the task.
    is_set: bool,
    /// Periods in a row in which nothing moved.
    still: u32,
    /// A request has come since the period began.
    used: bool,
    /// How far the connection was when the last period was over.
    moves: u32,
    /// Runs only for a head that does not come at once.
    head: Option<Pin<Box<Sleep>>>,
}

impl Watch {
    pub(super) fn new(limits: Limits) -> Self {
        let period = limits.idle.min(limits.stall);
        let timer = Box::pin(sleep(period));
        Self { limits, period, timer, is_set: false, still: 0, used: false, moves: 0, head: None }
    }

    /// A request has ended.
    pub(super) fn restart(&mut self) {
        self.used = true;
    }

    /// Ready when no request has begun within its limit.
    pub(super) fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            self.is_set = true;
            ready!(self.timer.as_mut().poll(cx));
            let used = std::mem::take(&mut self.used);
            if self.has_lasted(used, self.limits.idle) {
                return Poll::Ready(());
            }
        }
    }

    /// Ready when the head that has begun is not complete within its limit.
    pub(super) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let limit = self.limits.head;
        self.head.get_or_insert_with(|| Box::pin(sleep(limit))).as_mut().poll(cx)
    }

    pub(super) fn head_is_complete(&mut self) {
        self.head = None;
    }

    /// Whether what should move has stood still for its limit. `moves` tells how far the connection is, where something
    /// should move, and is asked only when a period is over.
    pub(super) fn is_stuck(&mut self, cx: &mut Context<'_>, moves: impl FnOnce() -> Option<u32>) -> bool {
        if self.is_set && !self.timer.is_elapsed() {
            return false;
        }
        // Set once, it wakes this task, whatever the task waits for then.
        if !std::mem::replace(&mut self.is_set, true) && self.timer.as_mut().poll(cx).is_pending() {
            return false;
        }
        let moved = moves().is_none_or(|moves| std::mem::replace(&mut self.moves, moves) != moves);
        let is_stuck = self.has_lasted(moved, self.limits.stall);
        let _ = self.timer.as_mut().poll(cx);
        is_stuck
    }

    /// Counts a period and begins the next; whether nothing has moved for `limit`.
    fn has_lasted(&mut self, moved: bool, limit: Duration) -> bool {
        self.still = if moved { 0 } else { self.still.saturating_add(1) };
        self.timer.as_mut().reset(Instant::now() + self.period);
        self.period.saturating_mul(self.still) >= limit
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn watch(idle: u32, stall: u32) -> Watch {
        Watch::new(Limits { idle: idle * SECOND, head: SECOND, stall: stall * SECOND })
    }

    /// After how many seconds it is stuck, when the connection is so far at the end of each.
    async fn stuck_after(mut watch: Watch, moves: impl IntoIterator<Item = Option<u32>>) -> Option<u32> {
        let mut cx = Context::from_waker(Waker::noop());
        assert!(!watch.is_stuck(&mut cx, || panic!("nothing is over yet")));
        for (second, moves) in (1..).zip(moves) {
            tokio::time::advance(SECOND).await;
            if watch.is_stuck(&mut cx, || moves) {
                return Some(second);
            }
        }
        None
    }

    #[tokio::test(start_paused = true)]
    async fn what_stands_still_for_the_limit_is_stuck() {
        assert_eq!(
            stuck_after(watch(1, 3), [Some(7); 10]).await,
            Some(4),
            "it had moved before the first second's end"
        );
        assert_eq!(stuck_after(watch(1, 3), [7, 7, 7, 8, 8, 8, 8].map(Some)).await, Some(7));
        assert_eq!(stuck_after(watch(1, 3), (0..30).map(|second| Some(7 + second / 3))).await, None);
        // A time in which nothing has to move begins anew.
        assert_eq!(stuck_after(watch(1, 2), [Some(7), Some(7), None, Some(7), Some(7)]).await, Some(5));
        // The period is the smaller of the two limits.
        assert_eq!(stuck_after(watch(4, 1), [Some(7); 10]).await, Some(2));
    }

    #[tokio::test(start_paused = true)]
    async fn idle_is_who_has_no_request_for_the_limit() {
        for (idle, stall) in [(3, 1), (3, 300)] {
            let (mut watch, begun) = (watch(idle, stall), Instant::now());
            std::future::poll_fn(|cx| watch.poll_idle(cx)).await;
            assert_eq!(begun.elapsed().as_secs(), u64::from(idle));
            watch.restart();
            let begun = Instant::now();
            std::future::poll_fn(|cx| watch.poll_idle(cx)).await;
            assert!((3..=6).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_head_has_its_own_time() {
        let mut watch = watch(100, 100);
        for _ in 0..2 {
            let begun = Instant::now();
            std::future::poll_fn(|cx| watch.poll_head(cx)).await;
            assert_eq!(begun.elapsed(), SECOND);
            watch.head_is_complete();
        }
    }
}

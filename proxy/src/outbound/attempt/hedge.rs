//! Hedging: a request that has no answer after a while is sent to another endpoint as well, and the first answer is taken.

use std::{future::poll_fn, pin::Pin, sync::Arc, task::Poll, time::Instant};

use tokio::time::sleep;
use weft_proxy_api::policy::Hedge;

use super::{
    Call,
    once::{Attempted, discard, ended, pick},
    repeat::{Repeat, Tried},
    request::Outgoing,
};
use crate::{
    balance::{Endpoint, Picked},
    policy::retry::{Decision, Reason},
};

type Attempting<'f> = Pin<Box<dyn Future<Output = Attempted> + Send + 'f>>;

impl Call<'_> {
    /// The first attempt, with others beside it. The first that ends with what would not be tried again is taken, and the
    /// others are cancelled; when all of them fail, the last failure is. `made` counts all of them.
    ///
    /// Only requests that may be done twice, whose body is here by then, and as far as the budget allows. The head of each
    /// request is copied beforehand: the first attempt has it.
    pub(super) async fn hedged(
        &self,
        picked: Picked,
        outgoing: &mut Outgoing,
        hedge: Hedge,
        repeat: &Repeat<'_>,
        made: &mut u32,
    ) -> Attempted {
        let twin = outgoing.twin();
        let first = picked.endpoint().clone();
        let mut racing: Vec<Attempting<'_>> = vec![Box::pin(self.attempt(picked, outgoing))];
        let mut silence = Box::pin(sleep(hedge.after));
        let mut left = hedge.attempts;
        loop {
            // What ended first; `None`: nothing has for a while.
            let first_ended = poll_fn(|cx| {
                for index in 0..racing.len() {
                    if let Some(attempt) = racing.get_mut(index)
                        && let Poll::Ready(attempted) = attempt.as_mut().poll(cx)
                    {
                        drop(racing.swap_remove(index));
                        return Poll::Ready(Some(attempted));
                    }
                }
                if left > 0 && silence.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(None);
                }
                Poll::Pending
            });
            match first_ended.await {
                Some(attempted) => {
                    let tried = Tried { made: 1, is_whole: true, left: None };
                    let is_final = repeat.would(ended(self.backend, &attempted), tried) == Decision::Answer(None);
                    if is_final || racing.is_empty() {
                        return attempted;
                    }
                    discard(self.backend, attempted);
                }
                None => {
                    left -= 1;
                    silence.as_mut().reset(tokio::time::Instant::now() + hedge.after);
                    let Some(picked) = self.elsewhere(&first) else { continue };
                    let Some(mut beside) = twin.outgoing(*made, &self.deadline) else { continue };
                    if repeat.leave(Reason::Hedge).is_none() {
                        *made += 1;
                        racing.push(Box::pin(async move { self.attempt(picked, &mut beside).await }));
                    }
                }
            }
        }
    }

    /// Another endpoint than the first, if there is one.
    fn elsewhere(&self, first: &Arc<Endpoint>) -> Option<Picked> {
        let picked = pick(self.backend, Some(first), self.affinity, Instant::now()).ok()?;
        (!picked.endpoint().is(first)).then_some(picked)
    }
}

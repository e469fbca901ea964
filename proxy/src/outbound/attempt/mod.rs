//! Attempts: one endpoint after the other, until one takes the request and its answer can be passed on.
//!
//! What may be sent again, and after which wait, is decided by `policy::retry`; how often, by the backend's budget. How an
//! attempt ended is told to its endpoint. The backend's circuit judges the request as a whole: the leave that it gave is
//! kept over all attempts, and counts how the last one ended. While that circuit is not closed, a request is not repeated
//! but where it reached nobody, so that a probe is one attempt.

mod answering;
mod deadline;
mod hedge;
mod once;
mod repeat;
mod request;

use std::{sync::Arc, time::Instant};

use http::Response;
use weft_proxy_api::policy::Policies;

use super::Outbound;
use crate::{
    balance::{Affinity, Endpoint},
    error::ProxyError,
    http::{body::Body, proxy_status::PROXY_STATUS},
    mesh::{Backend, backend::Leave},
    net::Hop,
    policy::retry::{Decision, Safety, Stop},
    telemetry::Exchange,
};

pub(super) use deadline::Deadline;
pub(super) use once::{end, outcome, pick, unsent};
pub(super) use repeat::{Repeat, Tried, explained};
pub(super) use request::prepare;

use once::{Attempted, Failed, How, discard, ended};
use request::{Outgoing, Sent};

/// What stays the same for all attempts of one request.
pub(super) struct Call<'a> {
    pub cx: &'a Outbound,
    pub backend: &'a Arc<Backend>,
    pub policies: &'a Policies,
    pub hop: Hop,
    pub deadline: Deadline,
    pub affinity: Affinity,
}

impl Call<'_> {
    /// Sends the request and waits for the response's head. `leave` is the backend's; it and the endpoint's place
    /// live on in the response's body.
    pub async fn send(
        &self,
        leave: Leave,
        request: http::Request<Body>,
        exchange: &mut Exchange,
    ) -> Result<(Response<Body>, Arc<Endpoint>), ProxyError> {
        let (policy, is_grpc) = (&self.policies.retry, exchange.is_grpc);
        let safety = Safety::of(policy, request.method(), request.headers(), is_grpc);
        let repeat = Repeat::new(self.backend, policy, safety, &self.cx.metrics);
        repeat.begins(exchange.started());
        let limits = self.deadline.of_bodies(self.backend);
        let mut outgoing = Outgoing::new(request, policy, safety, limits, &self.deadline);
        let (mut made, mut avoid, mut now) = (0, None::<Arc<Endpoint>>, leave.guard.admitted());
        let (attempted, stop) = loop {
            let picked = pick(self.backend, avoid.as_deref(), self.affinity, now)?;
            let before = made;
            made += 1;
            let attempted = match policy.hedge.filter(|_| before == 0 && safety.idempotent) {
                None => self.attempt(picked, &mut outgoing).await,
                Some(hedge) => Box::pin(self.hedged(picked, &mut outgoing, hedge, &repeat, &mut made)).await,
            };
            if is_good(&attempted, is_grpc) {
                break (attempted, None);
            }
            // Beside others, it is not known which of them this is the end of.
            let untouched = made == before + 1 && matches!(&attempted, Err(Failed { how: How::Untouched, .. }));
            let tried =
                Tried { made, is_whole: outgoing.is_whole(untouched), left: self.deadline.left(Instant::now()) };
            match repeat.decide(ended(self.backend, &attempted), tried) {
                Decision::Answer(stop) => break (attempted, stop),
                Decision::Again { wait, .. } => {
                    avoid = Some(discard(self.backend, attempted));
                    if !wait.is_zero() {
                        Box::pin(tokio::time::sleep(wait)).await;
                    }
                    outgoing.again(made, untouched, &self.deadline);
                    now = Instant::now();
                }
            }
        };
        self.conclude(leave, attempted, outgoing.sent, made, stop, exchange)
    }

    /// What the caller gets, and how the backend is judged.
    fn conclude(
        &self,
        leave: Leave,
        attempted: Attempted,
        sent: Sent,
        made: u32,
        stop: Option<Stop>,
        exchange: &mut Exchange,
    ) -> Result<(Response<Body>, Arc<Endpoint>), ProxyError> {
        let now = Instant::now();
        exchange.note(|record| {
            let endpoint = match &attempted {
                Ok((picked, _)) => picked.endpoint(),
                Err(failed) => &failed.endpoint,
            };
            record.endpoint = Some(endpoint.target.address.to_string());
            record.peer = endpoint.target.identity.as_ref().map(ToString::to_string);
            record.attempts = (made > 1).then_some(made);
        });
        match attempted {
            Ok((mut picked, mut response)) => {
                picked.head_arrived(now);
                exchange.answered_at(now);
                if let Some(stop) = stop {
                    let note = repeat::note(self.backend, response.status(), made, stop);
                    response.headers_mut().append(PROXY_STATUS, note);
                }
                let (endpoint, limits) = (picked.endpoint().clone(), self.deadline.of_bodies(self.backend));
                Ok((answering::accept(self.backend, leave, picked, response, sent, limits, now), endpoint))
            }
            Err(Failed { error, .. }) => {
                self.backend.finish(leave.guard, outcome(&error), now);
                Err(repeat::explained(self.backend, error, made, stop))
            }
        }
    }
}

/// Whether the answer is passed on whatever the policy says.
fn is_good(attempted: &Attempted, is_grpc: bool) -> bool {
    attempted.as_ref().is_ok_and(|(_, response)| {
        response.status().as_u16() < 400 && !(is_grpc && response.headers().contains_key("grpc-status"))
    })
}

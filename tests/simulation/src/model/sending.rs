//! The way of a request through its client: the application's place, leave from the backend's circuit and bulkhead,
//! attempts, the end. In the order of the sidecar's own `outbound` module, which asks the same engines.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::{HeaderMap, StatusCode};
use rand::Rng;
use weft_proxy::{
    balance::{Affinity, Endpoint, Picked},
    policy::{
        Cause, Outcome, bulkhead,
        circuit_breaker::{Guard, State},
        retry::{self, Decision, Ended, Moment, Reason, Safety},
    },
};

use super::{
    client::Upstream,
    event::Event,
    run::Attempt,
    world::{NETWORK, World},
};

/// A request that is not over.
#[derive(Debug, Default)]
pub struct Call {
    /// When the sidecar got it.
    started: Duration,
    guard: Option<Guard>,
    _place: Option<bulkhead::Place>,
    /// Where it failed last.
    failed_on: Option<Arc<Endpoint>>,
}

/// An attempt and the request that it is of. `None` when it is over.
#[derive(Debug)]
pub struct Flight {
    request: u32,
    picked: Option<Picked>,
}

impl Flight {
    pub fn is_open(&self) -> bool {
        self.picked.is_some()
    }
}

impl World<'_> {
    /// The application calls, as soon as it has a place for the call.
    pub fn place(&mut self, request: u32) {
        let client = self.run.requests[request as usize].client;
        if self.clients[client].slots.as_mut().is_none_or(|slots| slots.take(request)) {
            self.admit(request);
        }
    }

    /// An application that has waited for a place as long as it has patience does not call any more.
    fn admit(&mut self, request: u32) {
        if self.now >= self.run.requests[request as usize].arrived + self.setup.patience {
            return self.finish(request, false);
        }
        let (now, repeats) = (self.instant(), self.setup.policies.rule.retry.attempts > 0);
        let upstream = self.upstream(request);
        let Ok(guard) = upstream.breaker.guard(now) else { return self.finish(request, false) };
        let place = match &upstream.bulkhead {
            None => None,
            Some(bulkhead) => match bulkhead.try_enter() {
                None => return self.finish(request, false),
                place => place,
            },
        };
        if repeats {
            upstream.retry_budget.request(now);
        }
        self.calls[request as usize] = Call { started: self.now, guard: Some(guard), _place: place, failed_on: None };
        self.attempt(request);
    }

    pub fn attempt(&mut self, request: u32) {
        let (now, deadline) = (self.instant(), self.deadline(request));
        let record = &mut self.run.requests[request as usize];
        let upstream = self.clients[record.client].upstream(record.backend, &self.setup.policies, now);
        let avoid = self.calls[request as usize].failed_on.as_deref();
        let picked = upstream
            .balancer
            .pick(now, &mut self.random.sidecars, avoid, Affinity::default())
            .expect("every backend has endpoints");
        record.attempts += 1;
        let endpoint = usize::from(picked.endpoint().target.address.port());
        let attempt = self.flights.len() as u32;
        self.run.attempts.push(Attempt { client: record.client, endpoint, sent: self.now });
        self.flights.push(Flight { request, picked: Some(picked) });
        let limit = self.setup.policies.rule.timeouts.backend_request;
        let expiry = limit.map_or(deadline, |limit| deadline.min(self.now + limit));
        self.events.schedule(self.now + NETWORK, Event::Delivered { attempt });
        self.events.schedule(expiry, Event::Expired { attempt });
    }

    /// An attempt ends, unless it has ended before.
    pub fn end(&mut self, attempt: u32, outcome: Outcome) {
        let Flight { request, picked } = &mut self.flights[attempt as usize];
        let (request, Some(picked)) = (*request, picked.take()) else { return };
        self.calls[request as usize].failed_on = Some(Arc::clone(picked.endpoint()));
        let _ = picked.finish(outcome, self.instant(), self.random.sidecars.random());
        match self.wait_before_another(request, outcome) {
            Some(wait) => self.events.schedule(self.now + wait, Event::Again { request }),
            None => self.conclude(request, outcome),
        }
    }

    /// `None`: there is no other attempt.
    fn wait_before_another(&mut self, request: u32, outcome: Outcome) -> Option<Duration> {
        let Outcome::Failure(cause) = outcome else { return None };
        let (now, left) = (self.instant(), self.deadline(request).saturating_sub(self.now));
        let policies = &self.setup.policies;
        let moment = Moment {
            made: self.run.requests[request as usize].attempts,
            is_whole: true,
            left: Some(left),
            time_of_day: SystemTime::UNIX_EPOCH + self.now,
            random: self.random.sidecars.random(),
        };
        let safety = Safety { idempotent: true, is_grpc: false };
        let headers = HeaderMap::new();
        let decision = retry::decide(&policies.rule.retry, safety, ended(cause, left, &headers), moment);
        let Decision::Again { reason, wait } = decision else { return None };
        let upstream = self.upstream(request);
        let may_go = match upstream.breaker.state(now) {
            State::Closed => true,
            State::HalfOpen => reason == Reason::Unsent,
            State::Open { .. } => false,
        };
        let is_free = reason == Reason::Unsent;
        (may_go && (is_free || upstream.retry_budget.take(policies.backend.retry_budget, now))).then_some(wait)
    }

    fn conclude(&mut self, request: u32, outcome: Outcome) {
        let (now, jitter) = (self.instant(), self.random.sidecars.random());
        if let Some(guard) = self.calls[request as usize].guard.take() {
            let latency = guard.latency(now);
            let _ = guard.finish(outcome, now, jitter);
            if let Some(bulkhead) = &self.upstream(request).bulkhead {
                bulkhead.observe(outcome, latency, now);
            }
        }
        self.finish(request, outcome == Outcome::Success);
    }

    /// The application has its answer, and calls for who waits.
    fn finish(&mut self, request: u32, good: bool) {
        let now = self.now;
        let record = &mut self.run.requests[request as usize];
        record.finished = now;
        record.good = good && record.took() <= self.setup.patience;
        self.calls[request as usize] = Call::default();
        let slots = self.clients[record.client].slots.as_mut();
        if let Some(next) = slots.and_then(|slots| slots.pass_on()) {
            self.admit(next);
        }
    }

    fn deadline(&self, request: u32) -> Duration {
        let limit = self.setup.policies.rule.timeouts.request.expect("a scenario sets a deadline");
        self.calls[request as usize].started + limit
    }

    fn upstream(&mut self, request: u32) -> &Upstream {
        let (now, record) = (self.instant(), &self.run.requests[request as usize]);
        self.clients[record.client].upstream(record.backend, &self.setup.policies, now)
    }
}

/// As the sidecar tells the retry engine how an attempt ended.
fn ended(cause: Cause, left: Duration, headers: &HeaderMap) -> Ended<'_> {
    match cause {
        Cause::ConnectRefused => Ended::Unsent { elsewhere: true },
        Cause::Reset => Ended::Reset,
        Cause::Timeout if !left.is_zero() => Ended::Timeout,
        Cause::Status(status) => Ended::Answered(status, headers),
        _ => Ended::Otherwise,
    }
}

pub fn unavailable() -> Outcome {
    Outcome::Failure(Cause::Status(StatusCode::SERVICE_UNAVAILABLE))
}

//! The users of the demo: requests to the frontend at a steady rate, and what came of each.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Context;
use bytes::Bytes;
use http::Request;
use tokio::{
    task::{JoinHandle, JoinSet},
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;

use super::app::{Answer, USER};
use crate::plain_http;

/// Above the mesh's own request timeout nothing is waited for.
const TIMEOUT: Duration = Duration::from_secs(10);
pub const USERS: usize = 200;

/// One request of one user.
#[derive(Clone, Debug)]
pub struct Sample {
    pub user: usize,
    pub sent: Instant,
    pub took: Duration,
    pub answer: Answer,
    /// Why there is no answer at all.
    pub error: Option<String>,
}

impl Sample {
    pub fn is_ok(&self) -> bool {
        self.error.is_none() && self.answer.status == 200
    }

    pub fn is_from(&self, version: &str) -> bool {
        self.answer.version.as_deref() == Some(version)
    }

    /// Why it failed, for people.
    pub fn failure(&self) -> Option<String> {
        let status = || format!("status {} {}", self.answer.status, self.answer.proxy_status.as_deref().unwrap_or(""));
        (!self.is_ok()).then(|| self.error.clone().unwrap_or_else(status))
    }
}

/// Requests in the background, until stopped or until enough are sent.
#[derive(Debug)]
pub struct Flow {
    samples: Arc<Mutex<Vec<Sample>>>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Flow {
    pub fn start(frontend: SocketAddr, per_second: u32, limit: usize) -> Self {
        let samples = Arc::<Mutex<Vec<Sample>>>::default();
        let stop = CancellationToken::new();
        let task = tokio::spawn(send(frontend, per_second, limit, samples.clone(), stop.clone()));
        Self { samples, stop, task }
    }

    pub fn so_far(&self) -> MutexGuard<'_, Vec<Sample>> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }

    /// Sends no more, waits for what is in flight.
    pub async fn stop(self) -> anyhow::Result<Vec<Sample>> {
        self.stop.cancel();
        self.task.await.context("the traffic ended early")?;
        let mut samples = std::mem::take(&mut *self.samples.lock().unwrap_or_else(PoisonError::into_inner));
        samples.sort_by_key(|sample| sample.sent);
        Ok(samples)
    }
}

async fn send(
    frontend: SocketAddr,
    per_second: u32,
    limit: usize,
    samples: Arc<Mutex<Vec<Sample>>>,
    stop: CancellationToken,
) {
    let mut ticks = interval(Duration::from_secs(1) / per_second);
    // A machine that was busy must not be answered with a burst.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut in_flight = JoinSet::new();
    for number in 0..limit {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.cancelled() => break,
        }
        while in_flight.try_join_next().is_some() {}
        let samples = samples.clone();
        in_flight.spawn(async move {
            let sample = ask(frontend, number % USERS).await;
            samples.lock().unwrap_or_else(PoisonError::into_inner).push(sample);
        });
    }
    while in_flight.join_next().await.is_some() {}
}

async fn ask(frontend: SocketAddr, user: usize) -> Sample {
    let sent = Instant::now();
    let answer = async {
        let request = Request::builder()
            .uri("/")
            .header(http::header::HOST, frontend.to_string())
            .header(USER, format!("user-{user}"))
            .body(Bytes::new())?;
        let response = plain_http::send(frontend, request).await?;
        let body = String::from_utf8_lossy(response.body());
        serde_json::from_slice::<Answer>(response.body())
            .with_context(|| format!("status {}: {body}", response.status()))
    };
    let answer = timeout(TIMEOUT, answer).await.context("no answer in time").flatten();
    let (answer, error) = match answer {
        Ok(answer) => (answer, None),
        Err(error) => (Answer::default(), Some(format!("{error:#}"))),
    };
    Sample { user, sent, took: sent.elapsed(), answer, error }
}

pub fn count(samples: &[Sample], matches: impl Fn(&Sample) -> bool) -> usize {
    samples.iter().filter(|sample| matches(sample)).count()
}

/// The versions that each user has met, in order of first meeting.
pub fn versions_by_user(samples: &[Sample]) -> BTreeMap<usize, Vec<String>> {
    let mut met: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for sample in samples {
        let versions = met.entry(sample.user).or_default();
        if let Some(version) = sample.answer.version.as_ref().filter(|version| !versions.contains(version)) {
            versions.push(version.clone());
        }
    }
    met
}

/// What 99 of 100 requests took at most.
pub fn p99<'a>(samples: impl IntoIterator<Item = &'a Sample>) -> Duration {
    let mut took: Vec<_> = samples.into_iter().map(|sample| sample.took).collect();
    took.sort();
    took.get(took.len().saturating_sub(1) * 99 / 100).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(user: usize, version: &str, took: u64) -> Sample {
        let answer = Answer { status: 200, version: Some(version.to_owned()), ..Answer::default() };
        Sample { user, sent: Instant::now(), took: Duration::from_millis(took), answer, error: None }
    }

    #[test]
    fn a_user_who_meets_two_versions_is_seen() {
        let met = versions_by_user(&[sample(1, "v1", 1), sample(2, "v2", 1), sample(1, "v1", 1), sample(2, "v1", 1)]);
        assert_eq!(met[&1], ["v1"]);
        assert_eq!(met[&2], ["v2", "v1"]);
    }

    #[test]
    fn p99_leaves_out_one_in_a_hundred() {
        let samples: Vec<_> = (1..=200).map(|took| sample(0, "v1", took)).collect();
        assert_eq!(p99(&samples), Duration::from_millis(198));
        assert_eq!(p99(&[]), Duration::ZERO);
    }

    #[tokio::test]
    async fn a_frontend_that_is_gone_is_a_failed_request_and_not_a_lost_one() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let flow = Flow::start(address, 1000, 5);
        while !flow.is_finished() {
            tokio::task::yield_now().await;
        }
        let samples = flow.stop().await.unwrap();
        assert_eq!(samples.len(), 5);
        assert!(samples.iter().all(|sample| !sample.is_ok() && sample.failure().unwrap().contains("connect")));
    }
}

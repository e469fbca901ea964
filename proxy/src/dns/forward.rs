//! Names that are not the mesh's: from the cache, or from the name servers, each question once at a time.
//!
//! An outage must not spread. Who asks gets an answer in bounded time: one that ran out if there is one, else SERVFAIL.
//! Questions that are already under way are waited for and not asked again, and how many are under way is limited.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hickory_proto::{ProtoError, op::ResponseCode};
use tokio::{
    sync::{Semaphore, watch},
    time::{Instant, timeout_at},
};

use super::{
    DnsMetrics,
    answer::{Age, Answer},
    cache::{Cache, LIMIT, Question},
    query::Query,
    upstream::Upstream,
};

/// How long a client waits for an answer before it gets one that ran out (RFC 8767).
const STALE_AFTER: Duration = Duration::from_millis(1800);
/// How long a question that got no answer is not asked again (RFC 9520).
const FAILURE: Duration = Duration::from_secs(1);
/// Questions under way to name servers; each may need a socket for each server.
pub const ASKED: usize = 256;
/// Queries that wait for them: fewer than are served at all, so that others are answered meanwhile.
pub const WAITING: usize = 512;

pub struct Forwarder {
    upstream: Upstream,
    metrics: DnsMetrics,
    state: Mutex<State>,
    waiting: Semaphore,
    /// Whether the last question got no answer: an outage is logged once.
    silent: AtomicBool,
}

struct State {
    cache: Cache,
    asked: HashMap<Question, watch::Receiver<Option<Outcome>>>,
}

/// As `Upstream::ask` has it.
type Outcome = Result<Arc<Answer>, Option<Arc<Answer>>>;

impl Forwarder {
    pub fn new(upstream: Upstream, metrics: DnsMetrics) -> Self {
        let state = Mutex::new(State { cache: Cache::new(LIMIT), asked: HashMap::new() });
        Self { upstream, metrics, state, waiting: Semaphore::new(WAITING), silent: AtomicBool::new(false) }
    }

    /// Before `deadline`.
    ///
    /// # Errors
    /// A message cannot be written.
    pub async fn answer(self: &Arc<Self>, query: &Query, deadline: Instant) -> Result<Vec<u8>, ProtoError> {
        let question: Question = query.forwarded()?.into();
        let cached = self.lock().cache.get(&question, Instant::now());
        let stale = match cached {
            Some(cached) if cached.age != Age::Stale => {
                self.metrics.cached.inc();
                return Ok(cached.answer.to(query, cached.age));
            }
            Some(cached) if !cached.ask => return Ok(self.stale(query, &cached.answer)),
            cached => cached.map(|cached| cached.answer),
        };
        let patience = if stale.is_some() { deadline.min(Instant::now() + STALE_AFTER) } else { deadline };
        let outcome = timeout_at(patience, self.outcome(question)).await.unwrap_or(Err(None));
        match (outcome, stale) {
            (Ok(answer), _) => {
                self.metrics.forwarded.inc();
                Ok(answer.to(query, Age::Of(Duration::ZERO)))
            }
            (Err(_), Some(stale)) => Ok(self.stale(query, &stale)),
            (Err(refusal), None) => {
                self.metrics.failed.inc();
                match refusal {
                    Some(refusal) => Ok(refusal.to(query, Age::Of(Duration::ZERO))),
                    None => query.answer(ResponseCode::ServFail).to_vec(),
                }
            }
        }
    }

    fn stale(&self, query: &Query, answer: &Answer) -> Vec<u8> {
        self.metrics.stale.inc();
        answer.to(query, Age::Stale)
    }

    async fn outcome(self: &Arc<Self>, question: Question) -> Outcome {
        let told = self.waiting.try_acquire().ok().and_then(|place| Some((place, self.ask(question)?)));
        let Some((_place, mut told)) = told else {
            self.metrics.refused.inc();
            return Err(None);
        };
        let outcome = told.wait_for(Option::is_some).await;
        outcome.ok().and_then(|outcome| outcome.clone()).unwrap_or(Err(None))
    }

    /// What becomes of the question, which goes on when nobody waits any more. None: too many are under way.
    fn ask(self: &Arc<Self>, question: Question) -> Option<watch::Receiver<Option<Outcome>>> {
        let mut state = self.lock();
        if let Some(told) = state.asked.get(&question) {
            return Some(told.clone());
        }
        if state.asked.len() >= ASKED {
            return None;
        }
        let (tell, told) = watch::channel(None);
        state.asked.insert(question.clone(), told.clone());
        drop(state);
        tokio::spawn(self.clone().resolve(question, tell));
        Some(told)
    }

    async fn resolve(self: Arc<Self>, question: Question, tell: watch::Sender<Option<Outcome>>) {
        let outcome = self.upstream.ask(&question).await.map(Arc::new).map_err(|refusal| refusal.map(Arc::new));
        let failed = outcome.is_err();
        self.log(matches!(outcome, Err(None)));
        match &outcome {
            Ok(answer) => self.lock().cache.put(&question, answer.clone(), Instant::now()),
            Err(_) => self.lock().cache.failed(&question, Instant::now()),
        }
        tell.send_replace(Some(outcome));
        if failed {
            tokio::time::sleep(FAILURE).await;
        }
        self.lock().asked.remove(&question);
    }

    fn log(&self, silent: bool) {
        match (self.silent.swap(silent, Ordering::Relaxed), silent) {
            (false, true) => tracing::warn!("no name server answers; names outside the mesh come from the cache"),
            (true, false) => tracing::info!("a name server answers again"),
            _ => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

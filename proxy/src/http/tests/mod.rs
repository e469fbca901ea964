//! Whole connections, as [`server::serve`] serves them, against callers that send raw bytes and frames.

mod floods;
mod frames;
mod malformed;
mod opening;
mod upgrades;

use std::sync::Arc;

use http::{Request, Response};
use tokio::task::JoinHandle;

use super::{
    body::Body,
    http1::tests::{Answers, LIMITS, Peer, pair, within},
    server::{self, Limits},
};
use crate::{drain::Drain, net::Hop, telemetry::Metrics};

/// A connection that is served, as its caller has it.
struct Served {
    caller: Peer,
    serving: JoinHandle<()>,
    metrics: Arc<Metrics>,
}

impl Served {
    /// `answer` makes the answers. `speaks` is what the caller has said that it speaks.
    async fn new<F, A>(speaks: Option<Hop>, limits: Limits, answer: F) -> Self
    where
        F: Fn(Request<Body>) -> A + Send + Sync + 'static,
        A: Future<Output = Response<Body>> + Send + 'static,
    {
        let (caller, connection) = pair().await;
        let metrics = Arc::new(Metrics::new());
        let (handler, counting) = (Arc::new(Answers(answer)), metrics.clone());
        let serving = tokio::spawn(async move {
            server::serve(connection, speaks, limits, handler, &Drain::new(), &counting).await;
        });
        Self { caller, serving, metrics }
    }

    /// The caller leaves, and the connection is served no more.
    async fn end(&mut self) {
        self.caller.finish().await;
        within(&mut self.serving).await.unwrap();
    }

    /// How many connections were refused for this reason.
    fn refused(&self, reason: &str) -> u64 {
        let series = format!("weft_connections_refused_total{{direction=\"inbound\",reason=\"{reason}\"}} ");
        let text = self.metrics.encode();
        text.lines().find_map(|line| line.strip_prefix(&series)).map_or(0, |count| count.parse().unwrap())
    }
}

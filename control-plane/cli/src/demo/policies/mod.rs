//! One policy at a time: the file below `examples/policies`, what is done to the programs, and what must hold.

mod balancing;
mod bulkhead;
mod cache;
mod circuit_breaker;
mod cors;
mod fallback;
mod fault;
mod health_check;
mod mirror;
mod rate_limit;
mod retry;
mod session;
mod timeout;

use clap::ValueEnum;

use super::scene::Scene;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Policy {
    Retry,
    Timeout,
    Hedge,
    CircuitBreaker,
    Bulkhead,
    RateLimit,
    LoadBalancing,
    Session,
    HealthCheck,
    Mirror,
    Fault,
    Cors,
    Cache,
    Fallback,
}

/// The services of the demo, and a route to v1.
const SERVICES: &str = include_str!("../../../../../examples/policies/services.yaml");

macro_rules! example {
    ($name:literal) => {
        (concat!($name, ".yaml"), include_str!(concat!("../../../../../examples/policies/", $name, ".yaml")))
    };
}

impl Policy {
    pub fn title(self) -> &'static str {
        match self {
            Policy::Retry => "Retry: an instance fails every third request, and no user sees it",
            Policy::Timeout => "Timeout: an instance hangs, and nobody waits for it",
            Policy::Hedge => "Hedge: an instance is slow, and a second request overtakes the first",
            Policy::CircuitBreaker => "Circuit breaker: v1 becomes slow, its circuit opens, v2 steps in",
            Policy::Bulkhead => "Bulkhead: v1 becomes slow, and holds four requests at a time, not all",
            Policy::RateLimit => "Rate limit: a caller gets what it may have, and is told when to come back",
            Policy::LoadBalancing => "Consistent hashing: a user meets the same instance, time after time",
            Policy::Session => "Session persistence: who has the cookie meets the same instance",
            Policy::HealthCheck => "Health check: an instance says that it cannot work, and is left out",
            Policy::Mirror => "Mirror: v2 gets a copy of each request, and its failures hurt nobody",
            Policy::Fault => "Fault injection: who asks for faults gets them, and nobody else does",
            Policy::Cors => "CORS: pages of one origin may use the answers",
            Policy::Cache => "Cache: fresh answers are kept, and stale ones stand in for a failure",
            Policy::Fallback => "Fallback: when nothing else answers, the policy does",
        }
    }

    /// The name of its file, and what is in it.
    fn example(self) -> (&'static str, &'static str) {
        match self {
            Policy::Retry => example!("retry"),
            Policy::Timeout => example!("timeout"),
            Policy::Hedge => example!("hedge"),
            Policy::CircuitBreaker => example!("circuit-breaker"),
            Policy::Bulkhead => example!("bulkhead"),
            Policy::RateLimit => example!("rate-limit"),
            Policy::LoadBalancing => example!("load-balancing"),
            Policy::Session => example!("session"),
            Policy::HealthCheck => example!("health-check"),
            Policy::Mirror => example!("mirror"),
            Policy::Fault => example!("fault"),
            Policy::Cors => example!("cors"),
            Policy::Cache => example!("cache"),
            Policy::Fallback => example!("fallback"),
        }
    }

    /// # Errors
    /// The scene could not be played; what was measured not to hold is in the scene's record instead.
    pub async fn play(self, scene: &mut Scene<'_>) -> anyhow::Result<()> {
        scene.apply("services.yaml", SERVICES, "everything to v1").await?;
        match self {
            Policy::Retry => retry::play(scene).await,
            Policy::Timeout => timeout::play(scene).await,
            Policy::Hedge => timeout::hedge(scene).await,
            Policy::CircuitBreaker => circuit_breaker::play(scene).await,
            Policy::Bulkhead => bulkhead::play(scene).await,
            Policy::RateLimit => rate_limit::play(scene).await,
            Policy::LoadBalancing => balancing::play(scene).await,
            Policy::Session => session::play(scene).await,
            Policy::HealthCheck => health_check::play(scene).await,
            Policy::Mirror => mirror::play(scene).await,
            Policy::Fault => fault::play(scene).await,
            Policy::Cors => cors::play(scene).await,
            Policy::Cache => cache::play(scene).await,
            Policy::Fallback => fallback::play(scene).await,
        }
    }

    /// Applies its file.
    async fn apply(self, scene: &mut Scene<'_>) -> anyhow::Result<()> {
        let (file, yaml) = self.example();
        scene.apply(file, yaml, file.trim_end_matches(".yaml")).await.map(|_| ())
    }
}

//! Step 4: a version that fails, and what its circuit breaker makes of it.

use std::time::{Duration, Instant};

use crate::demo::{
    app::Behaviour,
    circuit_watch::{CLOSED, CircuitWatch, HALF_OPEN, OPEN},
    scene::Scene,
    traffic::{self, Flow, Sample, count},
};

const BACKEND: &str = "default/orders-v2:80";
const PER_SECOND: u32 = 150;
const TO_OPEN: Duration = Duration::from_secs(5);
/// Longer than the circuit's first wait, so that at least one probe meets the failing version.
const OUTAGE: Duration = Duration::from_secs(3);
const TO_CLOSE: Duration = Duration::from_secs(10);
const AFTERWARDS: Duration = Duration::from_millis(1000);
/// Failing fast: far below what a timeout would take, far above what a busy machine needs.
const FAST: Duration = Duration::from_secs(1);
/// A probe for each time that the circuit half-opens in the outage, and what was in flight as it opened.
const PROBES: usize = 10;

pub async fn play(scene: &mut Scene<'_>) -> anyhow::Result<()> {
    scene.apply("breaker.yaml", include_str!("../yaml/breaker.yaml"), "a circuit breaker for v2").await?;
    let flow = Flow::start(scene.frontend, PER_SECOND, usize::MAX);
    let mut watch = CircuitWatch::new(BACKEND);
    watch.until(scene, &flow, Duration::from_millis(500), |_| false).await?;

    scene.behave(scene.orders.v2, &Behaviour { status: Some(503), ..Behaviour::default() }).await?;
    let failing = Instant::now();
    let opened = watch.until(scene, &flow, TO_OPEN, |watch| watch.now() == OPEN).await?;
    let open = Instant::now();
    let measured = format!("{} ms after v2 began to fail, because of {}", (open - failing).as_millis(), watch.cause());
    scene.check("the circuit opens", measured, opened);
    scene.weft(&["circuits", "orders-v2"]).await?;
    watch.until(scene, &flow, OUTAGE, |_| false).await?;

    scene.behave(scene.orders.v2, &Behaviour::default()).await?;
    let recovered = Instant::now();
    let closed = watch.until(scene, &flow, TO_CLOSE, |watch| watch.now() == CLOSED).await?;
    let closed_at = Instant::now();
    watch.until(scene, &flow, AFTERWARDS, |_| false).await?;
    let samples = flow.stop().await?;

    check_outage(scene, &within(&samples, open, recovered));
    scene.check("the circuit half-opens and lets probes pass", watch.path(), watch.has_seen(HALF_OPEN));
    let measured = format!("{} ms after v2 recovered", (closed_at - recovered).as_millis());
    scene.check("the circuit closes", measured, closed);
    let after = within(&samples, closed_at, Instant::now());
    let v2 = count(&after, |sample| sample.is_ok() && sample.is_from("v2"));
    let failed = count(&after, |sample| !sample.is_ok());
    let measured = format!("{v2} of {} requests, {failed} failed", after.len());
    scene.check("v2 answers its users again", measured, v2 > 0 && failed == 0);
    Ok(())
}

/// While the circuit is open, v2's users are answered by v1 at once; only probes still meet the failing version.
fn check_outage(scene: &mut Scene<'_>, samples: &[Sample]) {
    let probes = count(samples, |sample| !sample.is_ok() && sample.is_from("v2"));
    let failed = count(samples, |sample| !sample.is_ok());
    let fallback = |sample: &&Sample| sample.is_ok() && sample.is_from("v1") && sample.answer.proxy_status.is_some();
    let stepped_in = samples.iter().filter(fallback).count();
    let said =
        samples.iter().find(fallback).and_then(|sample| sample.answer.proxy_status.as_deref()).unwrap_or("nothing");
    let measured = format!("{stepped_in} of {} requests; the response says {said}", samples.len());
    scene.check("v1 steps in for v2, and the response says so", measured, stepped_in > 0);
    let measured = format!("{failed} failed, {probes} of them probes");
    scene.check("only probes still meet the failing version", measured, failed == probes && probes <= PROBES);
    let slowest = traffic::p99(samples.iter().filter(fallback));
    let measured = format!("99 % within {:.1} ms", slowest.as_secs_f64() * 1000.0);
    scene.check("nobody waits for it", measured, slowest < FAST);
}

fn within(samples: &[Sample], from: Instant, to: Instant) -> Vec<Sample> {
    samples.iter().filter(|sample| (from..to).contains(&sample.sent)).cloned().collect()
}

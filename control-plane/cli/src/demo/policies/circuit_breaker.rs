//! v1 answers, but too late; and when it is as fast as before, it gets its requests back.

use std::time::{Duration, Instant};

use super::Policy;
use crate::demo::{
    app::Behaviour,
    circuit_watch::{CLOSED, CircuitWatch, OPEN},
    scene::Scene,
    traffic::{Flow, count},
};

const BACKEND: &str = "default/orders-v1:80";
const PER_SECOND: u32 = 50;
const LIMIT: Duration = Duration::from_secs(12);

pub async fn play(scene: &mut Scene<'_>) -> anyhow::Result<()> {
    Policy::CircuitBreaker.apply(scene).await?;
    let flow = Flow::start(scene.frontend, PER_SECOND, usize::MAX);
    let mut watch = CircuitWatch::new(BACKEND);
    slow(scene, 400).await?;
    let opened = watch.until(scene, &flow, LIMIT, |watch| watch.now() == OPEN).await?;
    scene.check("the circuit opens", watch.cause().to_owned(), opened && watch.cause().contains("took longer"));
    let open = Instant::now();
    watch.until(scene, &flow, Duration::from_secs(1), |_| false).await?;
    scene.weft(&["circuits", "orders-v1"]).await?;

    slow(scene, 0).await?;
    let closed = watch.until(scene, &flow, LIMIT, |watch| watch.now() == CLOSED).await?;
    scene.check("the circuit closes when v1 is fast again", watch.path(), closed);
    let samples = flow.stop().await?;
    let meanwhile: Vec<_> = samples.iter().filter(|sample| sample.sent > open).cloned().collect();
    let v2 = count(&meanwhile, |sample| sample.is_ok() && sample.is_from("v2") && sample.answer.proxy_status.is_some());
    scene.check("v2 steps in, and the response says so", format!("{v2} of {}", meanwhile.len()), v2 > 0);
    scene.check_all_answered(&samples);
    Ok(())
}

async fn slow(scene: &mut Scene<'_>, delay_ms: u64) -> anyhow::Result<()> {
    scene.behave_v1(&Behaviour { delay_ms, ..Behaviour::default() }).await?;
    Ok(())
}

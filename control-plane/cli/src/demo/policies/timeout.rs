//! One of two instances takes far too long: it is given up after a while, or overtaken.

use std::time::Duration;

use super::Policy;
use crate::demo::{app::Behaviour, scene::Scene, traffic};

const REQUESTS: usize = 100;
const PER_SECOND: u32 = 50;
const HANGS: Duration = Duration::from_secs(5);
/// As the policy says for all attempts together.
const IN_ALL: Duration = Duration::from_secs(2);

pub async fn play(scene: &mut Scene<'_>) -> anyhow::Result<()> {
    late(scene, Policy::Timeout, HANGS).await
}

pub async fn hedge(scene: &mut Scene<'_>) -> anyhow::Result<()> {
    late(scene, Policy::Hedge, HANGS).await
}

async fn late(scene: &mut Scene<'_>, policy: Policy, delay: Duration) -> anyhow::Result<()> {
    policy.apply(scene).await?;
    let delay_ms = u64::try_from(delay.as_millis())?;
    scene.behave(scene.orders.v1_b, &Behaviour { delay_ms, ..Behaviour::default() }).await?;
    let samples = scene.measure(REQUESTS, PER_SECOND).await?;
    scene.check_all_answered(&samples);
    let slowest = samples.iter().map(|sample| sample.took).max().unwrap_or_default();
    let measured = format!(
        "99 % within {:.0} ms, all within {:.0} ms; the instance takes {delay:?}",
        traffic::p99(&samples).as_secs_f64() * 1000.0,
        slowest.as_secs_f64() * 1000.0
    );
    scene.check("nobody waits for the instance that hangs", measured, slowest < IN_ALL);
    Ok(())
}

//! Step 2: weights, and the split that they make.

use crate::demo::{odds, scene::Scene, traffic::count};

const REQUESTS: usize = 1000;
const PER_SECOND: u32 = 250;

pub async fn play(scene: &mut Scene<'_>) -> anyhow::Result<()> {
    scene.apply("canary.yaml", include_str!("../yaml/canary.yaml"), "10 % to v2").await?;
    let samples = scene.measure(REQUESTS, PER_SECOND).await?;

    scene.check_all_answered(&samples);
    let (n, v2) = (samples.len(), count(&samples, |sample| sample.is_from("v2")));
    let (low, high) = odds::interval(n, 0.1);
    let measured = format!("{v2} of {n}, {} (chance allows {low:.0} to {high:.0})", odds::percent(v2, n));
    scene.check("10 % of the requests meet v2", measured, odds::is_likely(v2, n, 0.1));
    Ok(())
}

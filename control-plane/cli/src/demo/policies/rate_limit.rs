//! A caller that asks for more than its share.

use std::time::Instant;

use super::Policy;
use crate::demo::{scene::Scene, traffic::count};

const REQUESTS: usize = 300;
const PER_SECOND: u32 = 100;
/// As the policy says: for each of two instances at once, and for each of them and second.
const RATE: f64 = 20.0;

pub async fn play(scene: &mut Scene<'_>) -> anyhow::Result<()> {
    Policy::RateLimit.apply(scene).await?;
    let begun = Instant::now();
    let samples = scene.measure(REQUESTS, PER_SECOND).await?;
    let took = begun.elapsed().as_secs_f64();
    let answered = count(&samples, |sample| sample.is_ok());
    let refused = count(&samples, |sample| sample.answer.status == 429);
    let most = 2.0 * RATE * (took + 1.0);
    let measured = format!("{answered} answered in {took:.1} s (of at most {most:.0}), {refused} refused with 429");
    let held = answered > 0 && refused > 0 && answered + refused == samples.len() && answered as f64 <= most;
    scene.check("the caller gets no more than its share", measured, held);
    let refusal = samples.iter().find(|sample| sample.answer.status == 429);
    let retry_after = refusal.and_then(|sample| sample.answer.headers.get("retry-after")).cloned();
    let measured = format!("retry-after: {}", retry_after.as_deref().unwrap_or("nothing"));
    scene.check("the response says when to come back", measured, retry_after.is_some());
    Ok(())
}

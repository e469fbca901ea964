//! Faults for whom they are meant.

use std::time::{Duration, Instant};

use http::Method;

use super::Policy;
use crate::demo::{odds, scene::Scene};

const REQUESTS: usize = 60;
const DELAY: Duration = Duration::from_millis(100);

pub async fn play(scene: &mut Scene<'_>) -> anyhow::Result<()> {
    Policy::Fault.apply(scene).await?;
    let (mut aborted, mut too_early, mut said) = (0, 0, String::new());
    for _ in 0..REQUESTS {
        let begun = Instant::now();
        let answer = scene.ask(Method::GET, "/", &[("x-test", "faults")]).await?;
        too_early += usize::from(begun.elapsed() < DELAY);
        if answer.status == 503 {
            aborted += 1;
            said = answer.proxy_status.unwrap_or_default();
        }
    }
    let (low, high) = odds::interval(REQUESTS, 0.3);
    let measured = format!("{aborted} of {REQUESTS} (chance allows {low:.0} to {high:.0}); the response says {said}");
    scene.check("three of ten are aborted, and say by what", measured, odds::is_likely(aborted, REQUESTS, 0.3));
    let measured = format!("{too_early} of {REQUESTS} came earlier than after {DELAY:?}");
    scene.check("each of them is delayed", measured, too_early == 0);
    let samples = scene.measure(REQUESTS, 100).await?;
    scene.check_all_answered(&samples);
    Ok(())
}

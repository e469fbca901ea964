//! All of v1 fails.

use super::Policy;
use crate::demo::{app::Behaviour, scene::Scene, traffic::count};

const REQUESTS: usize = 100;
const PER_SECOND: u32 = 100;

pub async fn play(scene: &mut Scene<'_>) -> anyhow::Result<()> {
    Policy::Fallback.apply(scene).await?;
    scene.behave_v1(&Behaviour { status: Some(503), ..Behaviour::default() }).await?;
    let samples = scene.measure(REQUESTS, PER_SECOND).await?;
    let fixed = count(&samples, |sample| sample.is_ok() && sample.is_from("none"));
    let said = samples.iter().filter(|sample| sample.is_from("none")).find_map(|s| s.answer.proxy_status.clone());
    let measured = format!("{fixed} of {}; the response says {}", samples.len(), said.as_deref().unwrap_or("nothing"));
    scene.check("the policy answers in the place of v1, and says so", measured, fixed > 0 && said.is_some());
    scene.behave_v1(&Behaviour::default()).await?;
    Ok(())
}

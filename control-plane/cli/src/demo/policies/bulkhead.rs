//! More comes than a slow backend can take: the rest is told so at once.

use super::Policy;
use crate::demo::{app::Behaviour, scene::Scene, traffic::count};

const REQUESTS: usize = 200;
const PER_SECOND: u32 = 100;
/// As the policy says.
const AT_ONCE: u64 = 4;

pub async fn play(scene: &mut Scene<'_>) -> anyhow::Result<()> {
    Policy::Bulkhead.apply(scene).await?;
    scene.behave_v1(&Behaviour { delay_ms: 300, ..Behaviour::default() }).await?;
    let samples = scene.measure(REQUESTS, PER_SECOND).await?;
    let answered = count(&samples, |sample| sample.is_ok());
    let refused = count(&samples, |sample| sample.answer.status == 503 && sample.answer.proxy_status.is_some());
    let measured = format!("{answered} answered, {refused} refused, of {}", samples.len());
    let held = answered > 0 && refused > 0 && answered + refused == samples.len();
    scene.check("what does not fit is refused, with the reason", measured, held);
    let said = samples.iter().find_map(|sample| sample.answer.proxy_status.clone()).unwrap_or_default();
    scene.check("the response says which limit it was", said.clone(), said.contains("orders-v1"));
    let at_once = scene.met(scene.orders.v1_a).await?.at_once + scene.met(scene.orders.v1_b).await?.at_once;
    let measured = format!("{at_once} at most, counted by the programs themselves");
    scene.check("v1 never has more than four requests", measured, (1..=AT_ONCE).contains(&at_once));
    Ok(())
}

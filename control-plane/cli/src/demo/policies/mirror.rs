//! Copies for a version that fails them all.

use super::Policy;
use crate::demo::{app::Behaviour, scene::Scene, traffic::count};

const REQUESTS: usize = 200;
const PER_SECOND: u32 = 100;

pub async fn play(scene: &mut Scene<'_>) -> anyhow::Result<()> {
    Policy::Mirror.apply(scene).await?;
    scene.behave(scene.orders.v2, &Behaviour { status: Some(500), every: Some(3), ..Behaviour::default() }).await?;
    let samples = scene.measure(REQUESTS, PER_SECOND).await?;
    scene.check_all_answered(&samples);
    let v1 = count(&samples, |sample| sample.is_from("v1"));
    scene.check("v1 answers them all", format!("{v1} of {}", samples.len()), v1 == samples.len());
    let copies = scene.met(scene.orders.v2).await?.requests;
    let measured = format!("{copies} copies of {} requests, a third of them failed", samples.len());
    scene.check("v2 has met the same requests", measured, copies as usize >= samples.len() / 2);
    Ok(())
}

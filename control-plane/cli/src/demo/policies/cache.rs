//! An answer that is good for two seconds, and then for as long as nothing better is to be had.

use std::time::{Duration, Instant};

use http::Method;
use tokio::time::sleep;

use super::Policy;
use crate::demo::{app::Behaviour, scene::Scene, stage::POLL};

const VISITS: usize = 20;
const FRESH: Duration = Duration::from_secs(2);
const LIMIT: Duration = Duration::from_secs(10);

pub async fn play(scene: &mut Scene<'_>) -> anyhow::Result<()> {
    Policy::Cache.apply(scene).await?;
    let cache_control = Some(format!("max-age={}", FRESH.as_secs()));
    scene.behave_v1(&Behaviour { cache_control, ..Behaviour::default() }).await?;
    for _ in 0..VISITS {
        scene.ask(Method::GET, "/menu", &[]).await?;
    }
    let met = scene.met_by_v1().await?;
    let measured = format!("orders was asked {met} times for {VISITS} answers");
    scene.check("a fresh answer is served again", measured, met > 0 && met < VISITS as u64);

    scene.behave_v1(&Behaviour { status: Some(503), ..Behaviour::default() }).await?;
    // Until it is not fresh any more, nobody asks orders.
    let deadline = Instant::now() + LIMIT;
    while scene.met_by_v1().await? == 0 {
        if Instant::now() > deadline {
            break;
        }
        scene.ask(Method::GET, "/menu", &[]).await?;
        sleep(POLL).await;
    }
    let answer = scene.ask(Method::GET, "/menu", &[]).await?;
    let said = answer.headers.get("cache-status").cloned().unwrap_or_default();
    let measured = format!("status {}, cache-status: {said}", answer.status);
    scene.check("a stale one stands in while orders fails", measured, answer.status == 200 && said.contains("stale"));
    let other = scene.ask(Method::GET, "/other", &[]).await?;
    scene.check("what was never kept is not made up", format!("status {}", other.status), other.status == 503);
    Ok(())
}

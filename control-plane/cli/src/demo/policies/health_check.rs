//! An instance that still answers, and says of itself that it should not be asked.

use std::time::{Duration, Instant};

use anyhow::bail;
use tokio::time::sleep;

use super::Policy;
use crate::demo::{app::Behaviour, scene::Scene, stage::POLL, traffic::count};

const REQUESTS: usize = 100;
const PER_SECOND: u32 = 100;
const LIMIT: Duration = Duration::from_secs(15);

pub async fn play(scene: &mut Scene<'_>) -> anyhow::Result<()> {
    let all = scene.serving().await?;
    Policy::HealthCheck.apply(scene).await?;
    scene.behave(scene.orders.v1_b, &Behaviour { health: Some(503), ..Behaviour::default() }).await?;
    until_serving(scene, all - 1).await?;
    scene.weft(&["endpoints", "orders-v1"]).await?;
    let samples = scene.measure(REQUESTS, PER_SECOND).await?;
    scene.check_all_answered(&samples);
    let at_b = count(&samples, |sample| sample.answer.instance.as_deref() == Some("b"));
    scene.check("the unhealthy instance gets no requests", format!("{at_b} of {}", samples.len()), at_b == 0);

    scene.behave(scene.orders.v1_b, &Behaviour::default()).await?;
    until_serving(scene, all).await?;
    let samples = scene.measure(REQUESTS, PER_SECOND).await?;
    let at_b = count(&samples, |sample| sample.answer.instance.as_deref() == Some("b"));
    scene.check("it comes back when it is healthy", format!("{at_b} of {}", samples.len()), at_b > 0);
    Ok(())
}

async fn until_serving(scene: &mut Scene<'_>, wanted: usize) -> anyhow::Result<()> {
    let deadline = Instant::now() + LIMIT;
    scene.view.doing(&format!("waiting until {wanted} workloads take part"));
    while scene.serving().await? != wanted {
        if Instant::now() > deadline {
            bail!("there are not {wanted} workloads that take part within {LIMIT:?}");
        }
        sleep(POLL).await;
    }
    // The frontend's sidecar hears of it as the control plane does.
    scene.followed().await.map(|_| ())
}

//! A third of what one of two instances answers is a failure: too little for its circuit, enough for users to see.

use super::Policy;
use crate::demo::{app::Behaviour, scene::Scene, traffic::count};

const REQUESTS: usize = 300;
const PER_SECOND: u32 = 150;
/// The same policy without retries, to see what it changes.
const WITHOUT: &str = "\
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: {name: orders}
spec:
  targetRef: {kind: HTTPRoute, name: orders}
  retry: {attempts: 0}
---
# Else the instance would be left alone for its failures.
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: {name: orders-v1}
spec:
  targetRef: {kind: MeshService, name: orders-v1}
  loadBalancer: {type: RoundRobin}
";

pub async fn play(scene: &mut Scene<'_>) -> anyhow::Result<()> {
    scene.apply("no-retry.yaml", WITHOUT, "no retries").await?;
    let flaky = Behaviour { status: Some(503), every: Some(3), ..Behaviour::default() };
    scene.behave(scene.orders.v1_b, &flaky).await?;
    let without = scene.measure(REQUESTS, PER_SECOND).await?;
    let failed = count(&without, |sample| !sample.is_ok());
    scene.check("without retries users see failures", format!("{failed} of {REQUESTS}"), failed > 0);

    Policy::Retry.apply(scene).await?;
    for program in [scene.orders.v1_a, scene.orders.v1_b] {
        let behaviour = if program == scene.orders.v1_b { &flaky } else { &Behaviour::default() };
        scene.behave(program, behaviour).await?;
    }
    let with = scene.measure(REQUESTS, PER_SECOND).await?;
    scene.check_all_answered(&with);
    let met = scene.met_by_v1().await?;
    let more = met.saturating_sub(REQUESTS as u64);
    // A fifth of the requests, and three a second in any case.
    let budget = REQUESTS as u64 / 5 + 3 * 10;
    let measured = format!("{more} more requests than {REQUESTS}, of at most {budget}");
    scene.check("retries stay within their budget", measured, more > 0 && more <= budget);
    Ok(())
}

//! Step 6: kill -9 for the control plane, under load; then its return.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::demo::{
    scene::Scene,
    stage::{CONTROL_PLANE, POLL},
    traffic::Flow,
};

const PER_SECOND: u32 = 100;
const BEFORE: Duration = Duration::from_millis(500);
const ABSENCE: Duration = Duration::from_secs(3);
const RETURN: Duration = Duration::from_secs(12);

pub async fn play(scene: &mut Scene<'_>) -> anyhow::Result<()> {
    let (history, resources) = (scene.history().await?, scene.resources(None).await?);
    let workloads = scene.status().await?.workloads.len();
    let flow = Flow::start(scene.frontend, PER_SECOND, usize::MAX);
    go_on(scene, &flow, BEFORE).await?;

    let id = scene.processes.kill(CONTROL_PLANE).await?;
    scene.typed(format!("kill -9 {id}"));
    let before = flow.so_far().len();
    go_on(scene, &flow, ABSENCE).await?;
    let without = flow.so_far().len() - before;
    scene.view.say(&format!("{without} requests without a control plane so far; now it comes back"));

    let args = scene.control_plane.clone();
    scene.typed(format!("weft {}", args.join(" ")));
    let ready = scene.processes.start_announced(CONTROL_PLANE, &args).await?;
    scene.view.quote(&ready);
    let returned = Instant::now();
    let back = followed_by_all(scene, &flow, workloads).await?;
    let samples = flow.stop().await?;

    scene.check_all_answered(&samples);
    let same = serde_json::to_vec(&scene.history().await?)? == serde_json::to_vec(&history)?;
    scene.check("the history is what it was", format!("{} revisions", history.len()), same);
    let same = serde_json::to_vec(&scene.resources(None).await?.items)? == serde_json::to_vec(&resources.items)?;
    scene.check("the rules are what they were", format!("{} resources", resources.items.len()), same);
    let measured = format!("{back} of {workloads}, {:.1} s after its return", returned.elapsed().as_secs_f64());
    scene.check("every sidecar has come back to it", measured, back == workloads);
    scene.weft(&["status"]).await
}

async fn go_on(scene: &mut Scene<'_>, flow: &Flow, time: Duration) -> anyhow::Result<()> {
    let deadline = Instant::now() + time;
    scene.view.doing("requests go on");
    while Instant::now() < deadline {
        scene.processes.check_alive()?;
        scene.view.sample(&flow.so_far(), None);
        sleep(POLL).await;
    }
    Ok(())
}

/// How many workloads serve and have acknowledged the current revision; waits until all do.
async fn followed_by_all(scene: &mut Scene<'_>, flow: &Flow, all: usize) -> anyhow::Result<usize> {
    let deadline = Instant::now() + RETURN;
    scene.view.doing("waiting until every sidecar has come back");
    loop {
        let status = scene.status().await?;
        scene.view.sample(&flow.so_far(), None);
        let follows = |acknowledged: Option<u64>| acknowledged == Some(status.revision);
        let back = status.workloads.iter().filter(|w| w.connected && w.serving && follows(w.acknowledged)).count();
        if back == all || Instant::now() > deadline {
            return Ok(back);
        }
        sleep(POLL).await;
    }
}

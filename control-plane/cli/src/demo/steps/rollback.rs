//! Step 5: back to an earlier revision, as a new one.

use crate::demo::{scene::Scene, traffic::count};

const REQUESTS: usize = 200;
const PER_SECOND: u32 = 200;

pub async fn play(scene: &mut Scene<'_>) -> anyhow::Result<()> {
    scene.weft(&["history"]).await?;
    let target = scene.first_revision.to_string();
    scene.weft(&["rollback", &target, "--message", "back to v1"]).await?;
    let revision = scene.followed().await?;

    let (then, now) = (scene.resources(Some(scene.first_revision)).await?, scene.resources(None).await?);
    let same = serde_json::to_vec(&then.items)? == serde_json::to_vec(&now.items)?;
    let measured = format!("{} resources, byte for byte", now.items.len());
    scene.check(format!("revision {revision} is what revision {target} was"), measured, same);

    let samples = scene.measure(REQUESTS, PER_SECOND).await?;
    scene.check_all_answered(&samples);
    let v1 = count(&samples, |sample| sample.is_from("v1"));
    scene.check("v1 answers everything again", format!("{v1} of {}", samples.len()), v1 == samples.len());
    Ok(())
}

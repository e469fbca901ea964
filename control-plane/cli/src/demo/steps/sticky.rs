//! Step 3: a split by user; and when weights move, only as many users move as must.

use std::collections::{BTreeMap, BTreeSet};

use crate::demo::{
    odds,
    scene::Scene,
    traffic::{self, USERS},
};

const REQUESTS: usize = 3 * USERS;
const PER_SECOND: u32 = 250;

pub async fn play(scene: &mut Scene<'_>) -> anyhow::Result<()> {
    scene.apply("sticky.yaml", include_str!("../yaml/sticky.yaml"), "a user stays with a version").await?;
    let before = measure(scene, 0.1).await?;

    scene.apply("canary-30.yaml", include_str!("../yaml/canary-30.yaml"), "30 % to v2").await?;
    let after = measure(scene, 0.3).await?;
    let back = before.difference(&after).count();
    let measured = format!(
        "{} users had v2, {back} of them lost it, {} more met it",
        before.len(),
        after.difference(&before).count()
    );
    scene.check("only the moved share moves: nobody goes back to v1", measured, back == 0);
    Ok(())
}

/// The users who meet v2, of whom there should be the share `p`.
async fn measure(scene: &mut Scene<'_>, p: f64) -> anyhow::Result<BTreeSet<usize>> {
    let samples = scene.measure(REQUESTS, PER_SECOND).await?;
    scene.check_all_answered(&samples);
    let met = traffic::versions_by_user(&samples);
    let faithful = met.values().filter(|versions| versions.len() == 1).count();
    let measured = format!("{faithful} of {} users", met.len());
    scene.check("each user meets one version only", measured, faithful == USERS);
    let v2 = users_of("v2", &met);
    let measured = format!("{} of {} users, {}", v2.len(), met.len(), odds::percent(v2.len(), met.len()));
    scene.check(format!("{:.0} % of the users meet v2", p * 100.0), measured, odds::is_likely(v2.len(), met.len(), p));
    Ok(v2)
}

fn users_of(version: &str, met: &BTreeMap<usize, Vec<String>>) -> BTreeSet<usize> {
    let with_it = met.iter().filter(|(_, versions)| versions.iter().any(|met| met == version));
    with_it.map(|(user, _)| *user).collect()
}

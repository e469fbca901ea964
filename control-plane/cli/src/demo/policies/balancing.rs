//! The key of a request decides which instance it meets.

use std::collections::{BTreeMap, BTreeSet};

use super::Policy;
use crate::demo::{
    scene::Scene,
    traffic::{Sample, USERS},
};

const REQUESTS: usize = 3 * USERS;
const PER_SECOND: u32 = 250;

pub async fn play(scene: &mut Scene<'_>) -> anyhow::Result<()> {
    Policy::LoadBalancing.apply(scene).await?;
    let samples = scene.measure(REQUESTS, PER_SECOND).await?;
    scene.check_all_answered(&samples);
    let met = instances_by_user(&samples);
    let several = met.values().filter(|instances| instances.len() > 1).count();
    let measured = format!("{several} of {} users met two", met.len());
    scene.check("every user meets one instance", measured, several == 0 && met.len() == USERS);
    let first = met.values().filter(|instances| instances.contains("a")).count();
    let measured = format!("{first} users at a, {} at b", met.len() - first);
    scene.check("both instances have users", measured, first > 0 && first < met.len());
    Ok(())
}

fn instances_by_user(samples: &[Sample]) -> BTreeMap<usize, BTreeSet<&str>> {
    let mut met: BTreeMap<usize, BTreeSet<&str>> = BTreeMap::new();
    for sample in samples {
        met.entry(sample.user).or_default().extend(sample.answer.instance.as_deref());
    }
    met
}

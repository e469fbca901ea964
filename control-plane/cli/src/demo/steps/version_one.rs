//! Step 1: one route, one backend, and who verified whom.

use std::collections::BTreeSet;

use crate::demo::{
    scene::Scene,
    traffic::{Sample, count},
};

const REQUESTS: usize = 200;
const PER_SECOND: u32 = 100;

pub async fn play(scene: &mut Scene<'_>) -> anyhow::Result<()> {
    let yaml = include_str!("../../../../../examples/policies/services.yaml");
    scene.first_revision = scene.apply("services.yaml", yaml, "everything to v1").await?;
    let samples = scene.measure(REQUESTS, PER_SECOND).await?;

    scene.check_all_answered(&samples);
    let v1 = count(&samples, |sample| sample.is_from("v1"));
    scene.check("v1 answers", format!("{v1} of {}", samples.len()), v1 == samples.len());
    let instances = distinct(&samples, |sample| sample.answer.instance.clone());
    scene.check("both instances of v1 take part", instances.join(", "), instances.len() == 2);

    let trust_domain = &scene.admin.credentials().trust_domain;
    let id = |account: &str| format!("spiffe://{trust_domain}/ns/default/sa/{account}");
    let (frontend, orders) = (id("frontend"), id("orders"));
    let servers = distinct(&samples, |sample| sample.answer.verified_server.clone());
    scene.check("the frontend's sidecar has verified whom it calls", servers.join(", "), servers == [orders]);
    let clients = distinct(&samples, |sample| sample.answer.verified_client.clone());
    scene.check("the sidecars of orders have verified who calls", clients.join(", "), clients == [frontend]);
    Ok(())
}

/// Every value that was seen; `nobody` for an answer without one.
fn distinct(samples: &[Sample], value: impl Fn(&Sample) -> Option<String>) -> Vec<String> {
    let values: BTreeSet<_> =
        samples.iter().map(|sample| value(sample).unwrap_or_else(|| "nobody".to_owned())).collect();
    values.into_iter().collect()
}

//! One endpoint changes: how long until the sidecar uses it, and what passes on the wire.

use std::time::{Duration, Instant};

use anyhow::ensure;
use serde::{Deserialize, Serialize};

use super::{
    Mesh, apply_request,
    client::Client,
    median,
    processes::Sidecar,
    relay::{Passed, Relay},
    rules,
};

/// Changes of each kind; the figures are their medians.
const CHANGES: u8 = 21;
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at the sidecar's configuration: the resolution of the times.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// Medians over the changes.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Push {
    /// From the start of the request until the control plane's answer: checked, on the disk, published.
    pub answered_ms: f64,
    /// From the start of the request until the sidecar has the endpoint; `None`: it does not use the service.
    pub visible_ms: Option<f64>,
    /// What the sidecar received, TLS included.
    pub received_bytes: u64,
    /// What it sent, its acknowledgement.
    pub sent_bytes: u64,
}

/// What of a sidecar's `/config` is looked at.
#[derive(Deserialize)]
struct Config {
    backends: Vec<Backend>,
}

#[derive(Deserialize)]
struct Backend {
    endpoints: Vec<Endpoint>,
}

#[derive(Deserialize)]
struct Endpoint {
    address: String,
}

/// What of the control plane's status is looked at.
#[derive(Deserialize)]
struct Status {
    revision: u64,
    workloads: Vec<Workload>,
}

#[derive(Deserialize)]
struct Workload {
    connected: bool,
    acknowledged: Option<u64>,
}

struct OneChange {
    answered: Duration,
    visible: Option<Duration>,
    passed: Passed,
}

/// Changes service number `index`, which the sidecar uses, again and again.
pub async fn used(mesh: &mut Mesh, sidecar: &Sidecar, relay: &Relay, index: u32) -> anyhow::Result<Push> {
    let mut looking = Client::plain(sidecar.admin).await?;
    let mut changes = Vec::new();
    for version in 2..=CHANGES + 1 {
        let before = relay.passed();
        let start = Instant::now();
        let endpoint = rules::changing_endpoint(index, mesh.app.port, version).to_string();
        let (answered, visible) =
            tokio::try_join!(change(mesh, index, version, start), appears(&mut looking, &endpoint, start))?;
        settled(&mut mesh.control_plane.client).await?;
        changes.push(OneChange { answered, visible: Some(visible), passed: before.until(relay.passed()) });
    }
    Ok(Push::median(&changes))
}

/// Changes service number `index`, which the sidecar does not use, again and again.
pub async fn unused(mesh: &mut Mesh, relay: &Relay, index: u32) -> anyhow::Result<Push> {
    let mut changes = Vec::new();
    for version in 2..=CHANGES + 1 {
        let before = relay.passed();
        let answered = change(mesh, index, version, Instant::now()).await?;
        settled(&mut mesh.control_plane.client).await?;
        changes.push(OneChange { answered, visible: None, passed: before.until(relay.passed()) });
    }
    Ok(Push::median(&changes))
}

async fn change(mesh: &mut Mesh, index: u32, version: u8, start: Instant) -> anyhow::Result<Duration> {
    let service = rules::service(index, mesh.app.port, version);
    mesh.control_plane.client.post_text("/v1/apply", apply_request(&[service])?).await?;
    Ok(start.elapsed())
}

/// Looks until one of the sidecar's endpoints has this address.
async fn appears(sidecar: &mut Client, address: &str, start: Instant) -> anyhow::Result<Duration> {
    while start.elapsed() < PATIENCE {
        let config: Config = serde_json::from_value(sidecar.get("/config").await?)?;
        let mut endpoints = config.backends.iter().flat_map(|backend| &backend.endpoints);
        if endpoints.any(|endpoint| endpoint.address == address) {
            return Ok(start.elapsed());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    anyhow::bail!("the sidecar has no endpoint {address} after {PATIENCE:?}")
}

/// Waits until every connected sidecar has acknowledged the newest revision: whatever it was to be told has passed then.
async fn settled(control_plane: &mut Client) -> anyhow::Result<()> {
    let start = Instant::now();
    loop {
        let status: Status = serde_json::from_value(control_plane.get("/v1/status").await?)?;
        let behind = |workload: &Workload| workload.connected && workload.acknowledged != Some(status.revision);
        if !status.workloads.iter().any(behind) {
            return Ok(());
        }
        ensure!(start.elapsed() < PATIENCE, "a sidecar does not acknowledge revision {}", status.revision);
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

impl Push {
    fn median(changes: &[OneChange]) -> Self {
        let visible: Vec<f64> =
            changes.iter().filter_map(|change| change.visible).map(|visible| visible.as_secs_f64() * 1e3).collect();
        let bytes = |of: fn(&Passed) -> u64| median(changes.iter().map(|change| of(&change.passed)));
        Self {
            answered_ms: median(changes.iter().map(|change| change.answered.as_secs_f64() * 1e3)).unwrap_or_default(),
            visible_ms: median(visible),
            received_bytes: bytes(|passed| passed.to_sidecar).unwrap_or_default(),
            sent_bytes: bytes(|passed| passed.to_control_plane).unwrap_or_default(),
        }
    }
}

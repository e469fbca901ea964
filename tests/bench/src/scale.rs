//! What a mesh of thousands of services costs a sidecar that talks to five of them, and the control plane.
//!
//! For each size: a control plane on an empty folder, the generated resources applied through its admin API in batches,
//! some sidecars one after the other, then changes of one endpoint. The first size has the five services and no other:
//! what the larger ones are held against. Called by `main` and, for the figures, by the report of all of the benchmark.

mod app;
pub mod client;
mod memory;
mod processes;
mod push;
mod relay;
mod rules;
pub mod table;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use bytes::Bytes;
use serde::Serialize;
use serde_json::{Value, json};

use app::App;
pub use memory::Memory;
use processes::{ControlPlane, Programs, Sidecar};
pub use push::Push;
use relay::Relay;

/// Resources in one request.
const BATCH: usize = 500;
/// Sidecars that are started at each size; the figures are their medians.
const SIDECARS: usize = 5;

#[derive(clap::Args)]
pub struct Args {
    /// Sizes of the mesh, beside the baseline of the five services that the app talks to
    #[arg(long, value_delimiter = ',', default_value = "1000,5000,20000", value_name = "SERVICES")]
    sizes: Vec<u32>,

    /// The sidecar to measure
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/dist/weft-proxy"), value_name = "FILE")]
    weft_proxy: PathBuf,

    /// The control plane to measure
    #[arg(
        long,
        default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/dist/weft-control-plane"),
        value_name = "FILE"
    )]
    weft_control_plane: PathBuf,

    /// Where the figures go as JSON
    #[arg(
        long,
        default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/bench/results/scale.json"),
        value_name = "FILE"
    )]
    json: PathBuf,
}

#[derive(Clone, Debug, Serialize)]
pub struct Scale {
    /// The baseline first.
    pub sizes: Vec<SizeFigures>,
}

#[derive(Clone, Debug, Serialize)]
pub struct SizeFigures {
    pub services: u32,
    /// All resources, in batches, one after the other.
    pub apply_seconds: f64,
    /// After everything was applied.
    pub control_plane: Memory,
    /// The same state, loaded from the disk.
    pub control_plane_restarted: Memory,
    pub control_plane_restart_ms: f64,
    /// After a request to each of the five services.
    pub sidecar: Memory,
    pub sidecar_start_ms: f64,
    /// One endpoint changes of a service that the sidecar talks to.
    pub used: Push,
    /// And of one that it does not talk to; the baseline has none.
    pub unused: Option<Push>,
}

pub async fn run(args: Args) -> anyhow::Result<()> {
    let scale = measure(&args).await?;
    print!("{}", table::table(&scale));
    write_json(&args.json, &scale)
}

pub async fn measure(args: &Args) -> anyhow::Result<Scale> {
    let programs = Programs { control_plane: args.weft_control_plane.clone(), sidecar: args.weft_proxy.clone() };
    for program in [&programs.control_plane, &programs.sidecar] {
        ensure!(program.is_file(), "there is no {}: build it with --profile dist, or name another", program.display());
    }
    let mut sizes = Vec::new();
    for services in [rules::TALKED_TO].into_iter().chain(args.sizes.iter().copied()) {
        ensure!(
            services >= rules::TALKED_TO,
            "the app talks to {} services, so that a mesh has them",
            rules::TALKED_TO
        );
        eprintln!("scale: {services} services");
        sizes.push(measure_size(services, &programs).await.with_context(|| format!("at {services} services"))?);
    }
    Ok(Scale { sizes })
}

async fn measure_size(services: u32, programs: &Programs) -> anyhow::Result<SizeFigures> {
    let mut mesh = Mesh { app: App::start().await?, control_plane: ControlPlane::start(programs).await? };
    let apply_seconds = mesh.fill(services).await?.as_secs_f64();
    let control_plane = mesh.control_plane.memory()?;
    let (sidecar, sidecar_start_ms) = measure_sidecars(&mesh, programs).await?;
    let relay = Relay::to(mesh.control_plane.grpc).await?;
    let connected = mesh.control_plane.sidecar(relay.address, programs).await?;
    talk(&connected).await?;
    let used = push::used(&mut mesh, &connected, &relay, rules::TALKED_TO - 1).await?;
    let unused = match services > rules::TALKED_TO {
        true => Some(push::unused(&mut mesh, &relay, services - 1).await?),
        false => None,
    };
    drop(connected);
    let restarted = mesh.control_plane.restart(programs).await?;
    Ok(SizeFigures {
        services,
        apply_seconds,
        control_plane,
        control_plane_restarted: restarted.memory()?,
        control_plane_restart_ms: restarted.started_in.as_secs_f64() * 1e3,
        sidecar,
        sidecar_start_ms,
        used,
        unused,
    })
}

/// The medians of some sidecars that come and go: memory once they have talked, and milliseconds from start to ready.
async fn measure_sidecars(mesh: &Mesh, programs: &Programs) -> anyhow::Result<(Memory, f64)> {
    let (mut memories, mut starts) = (Vec::new(), Vec::new());
    for _ in 0..SIDECARS {
        let sidecar = mesh.control_plane.sidecar(mesh.control_plane.grpc, programs).await?;
        talk(&sidecar).await?;
        memories.push(sidecar.memory()?);
        starts.push(sidecar.started_in.as_secs_f64() * 1e3);
    }
    let of = |field: fn(&Memory) -> u64| median(memories.iter().map(field)).unwrap_or_default();
    let memory = Memory {
        resident_kib: of(|memory| memory.resident_kib),
        private_kib: of(|memory| memory.private_kib),
        peak_kib: of(|memory| memory.peak_kib),
    };
    Ok((memory, median(starts).unwrap_or_default()))
}

/// A request to each of the services that the app talks to.
async fn talk(sidecar: &Sidecar) -> anyhow::Result<()> {
    for index in 0..rules::TALKED_TO {
        let url = format!("http://{}.default/", rules::name(index));
        let mut connection = weft_tests::Connection::open(sidecar.outbound).await.map_err(anyhow::Error::msg)?;
        let answer = connection.send(weft_tests::request(&url)).await.map_err(anyhow::Error::msg)?;
        ensure!(answer.status.is_success(), "{url}: {}: {}", answer.status, answer.text());
    }
    Ok(())
}

struct Mesh {
    app: App,
    control_plane: ControlPlane,
}

impl Mesh {
    /// Applies so many services, and says how long that took.
    async fn fill(&mut self, services: u32) -> anyhow::Result<Duration> {
        let port = self.app.port;
        // A route names the next service too: services first, so that every batch holds by itself.
        let all = (0..services).flat_map(|index| rules::resources(index, services, port));
        let (services, rest): (Vec<Value>, Vec<Value>) = all.partition(|resource| resource["kind"] == "MeshService");
        let batches = services.chunks(BATCH).chain(rest.chunks(BATCH));
        let requests = batches.map(apply_request).collect::<anyhow::Result<Vec<Bytes>>>()?;
        let start = Instant::now();
        for request in requests {
            self.control_plane.client.post_text("/v1/apply", request).await?;
        }
        Ok(start.elapsed())
    }
}

fn apply_request(documents: &[Value]) -> anyhow::Result<Bytes> {
    let request = json!({ "documents": documents, "namespace": "default", "author": "weft-bench" });
    Ok(serde_json::to_vec(&request)?.into())
}

fn median<T: PartialOrd>(values: impl IntoIterator<Item = T>) -> Option<T> {
    let mut sorted: Vec<T> = values.into_iter().collect();
    sorted.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
    let middle = sorted.len() / 2;
    sorted.into_iter().nth(middle)
}

fn write_json(file: &Path, scale: &Scale) -> anyhow::Result<()> {
    std::fs::create_dir_all(file.parent().context("a file in no folder")?)?;
    std::fs::write(file, serde_json::to_vec_pretty(scale)?).with_context(|| format!("cannot write {}", file.display()))
}

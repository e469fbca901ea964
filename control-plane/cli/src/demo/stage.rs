//! The mesh of the demo: a control plane, a frontend, two instances of orders v1 and one of v2.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use tokio::time::sleep;
use weft_control_plane::admin_api::Status;

use super::{
    ports,
    processes::Processes,
    scene::{Orders, Scene},
    view::View,
};
use crate::{client::AdminClient, credentials};

pub const CONTROL_PLANE: &str = "control-plane";
const START: Duration = Duration::from_secs(20);
pub const POLL: Duration = Duration::from_millis(50);

/// One program with its sidecar.
struct Workload {
    service: &'static str,
    version: &'static str,
    instance: &'static str,
    port: SocketAddr,
}

/// Starts everything, and returns when every workload takes part in balancing.
///
/// # Errors
/// Something does not start.
pub async fn set<'a>(processes: &'a mut Processes, view: &'a View) -> anyhow::Result<Scene<'a>> {
    let [grpc, admin, frontend, first, second, v2] = ports::free()?;
    let control_plane = [
        "control-plane",
        "--data-dir",
        "control-plane",
        "--grpc-listen",
        &grpc.to_string(),
        "--admin-listen",
        &admin.to_string(),
    ]
    .map(str::to_owned);
    view.title("A control plane and four workloads, each a process of its own with a sidecar of its own");
    view.command(&format!("weft {}", control_plane.join(" ")));
    view.doing("starting the control plane");
    let ready = processes.start_announced(CONTROL_PLANE, &control_plane).await?;
    view.quote(&ready);
    let admin = AdminClient::new(credentials::load(Some(&processes.folder().join("control-plane/admin.yaml")))?)?;

    let workloads = [
        Workload { service: "frontend", version: "v1", instance: "a", port: frontend },
        Workload { service: "orders", version: "v1", instance: "a", port: first },
        Workload { service: "orders", version: "v1", instance: "b", port: second },
        Workload { service: "orders", version: "v2", instance: "a", port: v2 },
    ];
    for workload in &workloads {
        let args = workload.args();
        view.command(&format!("weft {} &", args.join(" ")));
        processes.start(&workload.name(), &workload.with_own_folders(args))?;
    }
    serving(processes, &admin, workloads.len(), view).await?;
    let orders = Orders { v1_a: first, v1_b: second, v2 };
    Ok(Scene::new(processes, view, admin, control_plane.into(), frontend, orders))
}

async fn serving(processes: &mut Processes, admin: &AdminClient, all: usize, view: &View) -> anyhow::Result<()> {
    let deadline = Instant::now() + START;
    loop {
        processes.check_alive()?;
        let status: Status = admin.get("/v1/status").await.context("the control plane does not answer")?;
        let serving = status.workloads.iter().filter(|workload| workload.serving).count();
        view.doing(&format!("{serving} of {all} workloads take part"));
        if serving == all {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("only {serving} of {all} workloads take part after {} s", START.as_secs());
        }
        sleep(POLL).await;
    }
}

impl Workload {
    fn name(&self) -> String {
        format!("{}-{}-{}", self.service, self.version, self.instance)
    }

    fn args(&self) -> Vec<String> {
        let Self { service, version, instance, port } = self;
        let text = format!(
            "run --service {service} --port {} --label version={version} -- weft demo-app --role {service} \
             --listen {port} --version {version} --instance {instance}",
            port.port()
        );
        text.split_whitespace().map(str::to_owned).collect()
    }

    /// Kept out of what is shown: only because the demo cleans up in one place.
    fn with_own_folders(&self, mut args: Vec<String>) -> Vec<String> {
        let name = self.name();
        let own = [
            "--state-dir".to_owned(),
            format!("state/{name}"),
            "--sidecar-log".to_owned(),
            format!("logs/{name}-sidecar.log"),
            "--grace".to_owned(),
            "3s".to_owned(),
            // The watchdog ends the group, and nothing that is outside it.
            "--one-group".to_owned(),
        ];
        args.splice(1..1, own);
        let program = std::env::current_exe().map(|path| path.display().to_string());
        for arg in args.iter_mut().filter(|arg| *arg == "weft") {
            arg.clone_from(program.as_ref().unwrap_or(&"weft".to_owned()));
        }
        args
    }
}

//! What takes minutes: a service that is replaced under load, and connections by the thousand. Run with `--ignored`, and
//! with a release build in WEFT_TESTS_BINARY.

use std::time::Duration;

use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use weft_tests::{
    Process, eventually,
    pods::{
        LoadRun, Mesh, MeshPod,
        load::Plan,
        require_pods,
        software::{Web, marker},
    },
    within,
};

const SERVICE: &str = "web";
const ECHO: u16 = 7777;
const MINUTE: Duration = Duration::from_secs(60);

/// For a minute at least, and until all has happened that is to happen.
const REQUESTS: u64 = 60_000;

/// 1,000 requests a second over connections that are kept.
async fn load(client: &MeshPod) -> LoadRun {
    let plan = Plan::steady(&format!("http://{SERVICE}/hello.txt"));
    LoadRun::start(client, env!("CARGO_BIN_EXE_weft-tests-load"), &plan).await
}

/// A pod of the service, and nginx in it.
struct Replica {
    pod: MeshPod,
    web: Option<Web>,
}

impl Replica {
    async fn start(mesh: &Mesh, name: &str) -> Self {
        let pod = mesh.pod(name).serves_as(SERVICE, Web::PORT, Web::PORT).start().await;
        let web = Some(Web::serve(&pod, &marker(), &[]).await);
        Self { pod, web }
    }

    /// As Kubernetes ends a pod whose sidecar is a native one: the application first, then the sidecar.
    async fn stop(&mut self) {
        if let Some(web) = self.web.take() {
            web.quit().await;
        }
        self.stop_sidecar().await;
    }

    async fn stop_sidecar(&mut self) {
        self.pod.sidecar().signal(Signal::TERM);
        assert!(self.pod.sidecar().ended().await.success(), "{:?}", self.pod.log());
    }
}

async fn three(mesh: &Mesh) -> (Vec<Replica>, MeshPod) {
    let client = mesh.pod("client").start().await;
    let mut replicas = Vec::new();
    for name in ["web-1", "web-2", "web-3"] {
        replicas.push(Replica::start(mesh, name).await);
    }
    mesh.control_plane().serving(SERVICE, 3).await;
    (replicas, client)
}

/// Waits until the load was enough, and ends it. Nothing of it may have failed.
async fn all_were_answered(load: LoadRun) {
    within(MINUTE * 2, "the load was enough", async || match load.answered() {
        REQUESTS.. => Ok(()),
        few => Err(few),
    })
    .await;
    let report = load.stop().await;
    println!("{report:?}");
    report.assert_none_failed();
}

#[tokio::test]
#[ignore = "takes more than a minute"]
async fn a_rolling_update_costs_no_request() {
    if !require_pods(&[&["nft"], Web::PROGRAMS].concat()) {
        return;
    }
    let mesh = Mesh::start().await;
    let (mut replicas, client) = three(&mesh).await;
    let load = load(&client).await;
    for number in 4..=12 {
        let next = Replica::start(&mesh, &format!("web-{number}")).await;
        mesh.control_plane().serving(SERVICE, 4).await;
        let mut leaves = std::mem::replace(&mut replicas[number % 3], next);
        leaves.stop().await;
        mesh.control_plane().serving(SERVICE, 3).await;
        load.more(1000).await;
    }
    all_were_answered(load).await;
}

#[tokio::test]
#[ignore = "takes more than a minute"]
async fn a_rolling_restart_without_the_control_plane_costs_no_request() {
    if !require_pods(&[&["nft"], Web::PROGRAMS].concat()) {
        return;
    }
    let mut mesh = Mesh::start().await;
    let (mut replicas, client) = three(&mesh).await;
    let load = load(&client).await;
    load.more(1000).await;
    mesh.control_plane_mut().kill();
    for turn in 0..6 {
        load.more(1000).await;
        let replica = &mut replicas[turn % 3];
        replica.stop().await;
        // Its state folder is all that it has.
        replica.pod.restart_sidecar().await;
        replica.web = Some(Web::serve_again(&replica.pod, &marker()).await);
        load.more(2000).await;
    }
    all_were_answered(load).await;
}

#[tokio::test]
#[ignore = "takes more than a minute"]
async fn sidecars_that_are_replaced_one_by_one_cost_no_request() {
    if !require_pods(&[&["nft"], Web::PROGRAMS].concat()) {
        return;
    }
    let mesh = Mesh::start().await;
    let (mut replicas, client) = three(&mesh).await;
    let load = load(&client).await;
    for turn in 0..9 {
        load.more(1000).await;
        let replica = &mut replicas[turn % 3];
        replica.stop_sidecar().await;
        replica.pod.restart_sidecar().await;
        mesh.control_plane().serving(SERVICE, 3).await;
    }
    all_were_answered(load).await;
}

/// What a process holds: memory in KiB, and descriptors.
fn footprint(process: &Process) -> (u64, usize) {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let memory = line.trim().trim_end_matches(" kB").parse().unwrap();
    (memory, std::fs::read_dir(format!("/proc/{}/fd", process.id())).unwrap().count())
}

/// Raises the limit of open files for all that is started as far as it may be; how many connections a sidecar can then
/// have, each of which it has on two sides.
fn allow_connections() -> usize {
    const ENOUGH: u64 = 1 << 18;
    /// Listeners, the control plane, files.
    const OTHERS: u64 = 512;
    let enough = Rlimit { current: Some(ENOUGH), maximum: Some(ENOUGH) };
    let files = match setrlimit(Resource::Nofile, enough) {
        Ok(()) => ENOUGH,
        Err(_) => getrlimit(Resource::Nofile).maximum.unwrap_or(ENOUGH),
    };
    usize::try_from((files - OTHERS) / 2).unwrap()
}

/// Two pods with a server of bytes behind one of them.
async fn echo() -> (Mesh, MeshPod, MeshPod, Process) {
    let mesh = Mesh::start().await;
    let (server, client) = tokio::join!(mesh.pod("echo").serves(ECHO).start(), mesh.pod("client").start());
    let script = server.fixture("pods/connections.py");
    let app = server.start(&["/usr/bin/python3", &script, "serve", &ECHO.to_string()]);
    mesh.control_plane().serving("echo", 1).await;
    (mesh, server, client, app)
}

async fn open_connections(pod: &MeshPod) -> f64 {
    pod.metric_sum("weft_connections", &[]).await
}

#[tokio::test]
#[ignore = "takes minutes"]
async fn ten_thousand_idle_connections_are_held_and_let_go() {
    if !require_pods(&["nft", "python3"]) {
        return;
    }
    let count = allow_connections().min(10_000);
    assert!(count > 9_000, "the limit of open files allows {count} connections only");
    let (_mesh, mut server, mut client, _app) = echo().await;
    let before = [footprint(client.sidecar()), footprint(server.sidecar())];
    let script = client.fixture("pods/connections.py");
    let fifo = client.folder().join("go");
    client.run(&["mkfifo", fifo.to_str().unwrap()]).await.expect_ok();
    let command = format!("exec /usr/bin/python3 {script} hold echo {ECHO} {count} < {}", fifo.display());
    let mut holder = client.start(&["sh", "-c", &format!("exec 3<>{}; {command}", fifo.display())]);
    within(MINUTE * 3, "all are held", async || {
        let said = holder.stdout();
        assert!(holder.runs() || said.iter().any(|line| line.starts_with("held")), "{:?}", holder.stderr());
        if said.iter().any(|line| *line == format!("held {count}")) { Ok(()) } else { Err("not yet") }
    })
    .await;
    assert!(open_connections(&client).await >= count as f64 && open_connections(&server).await >= count as f64);
    for (who, pod, (memory, _)) in [("out", &mut client, before[0]), ("in", &mut server, before[1])] {
        let each = (footprint(pod.sidecar()).0.saturating_sub(memory)) as f64 / count as f64;
        println!("{who}: {each:.1} KiB for each of {count} idle connections");
        assert!(each < 64.0, "{who}: {each} KiB for each idle connection");
    }
    std::fs::write(&fifo, "go\n").unwrap();
    within(MINUTE, "all are answered", async || {
        if holder.stdout().iter().any(|line| line == "all answered") { Ok(()) } else { Err(holder.stderr().join("\n")) }
    })
    .await;
    for (pod, (_, files)) in [(&mut client, before[0]), (&mut server, before[1])] {
        eventually("all are let go", async || match footprint(pod.sidecar()).1 {
            now if now <= files + 8 => Ok(()),
            now => Err(format!("{now} descriptors, {files} before")),
        })
        .await;
    }
}

#[tokio::test]
#[ignore = "takes more than a minute"]
async fn connections_that_come_and_go_leave_nothing_behind() {
    if !require_pods(&["nft", "python3"]) {
        return;
    }
    let (_mesh, mut server, mut client, _app) = echo().await;
    client.reuses_ports();
    server.reuses_ports();
    let script = client.fixture("pods/connections.py");
    let port = ECHO.to_string();
    let churn = |seconds: &'static str| [&script, "churn", "echo", &port, "1000", seconds].map(str::to_owned).to_vec();
    let mut before = Vec::new();
    for seconds in ["10", "60"] {
        let words = [vec!["/usr/bin/python3".to_owned()], churn(seconds)].concat();
        let churned = client.run_within(MINUTE * 2, &words).await.expect_ok();
        println!("in {seconds} s {churned}");
        for pod in [&mut client, &mut server] {
            eventually("all connections have ended", async || match open_connections(pod).await {
                0.0 => Ok(()),
                open => Err(format!("{open} are open")),
            })
            .await;
        }
        let now = [footprint(client.sidecar()), footprint(server.sidecar())];
        println!("memory in KiB, descriptors: {now:?}");
        if before.is_empty() {
            before = now.to_vec();
            continue;
        }
        for ((memory, files), (memory_before, files_before)) in now.into_iter().zip(&before) {
            assert!(files <= files_before + 8, "{files} descriptors, {files_before} before");
            assert!(memory <= memory_before + memory_before / 10 + 2048, "{memory} KiB, {memory_before} before");
        }
    }
}

//! A pod with a sidecar: `weft redirect` sends the pod's traffic to it, and it runs as the proxy's user.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    ops::Deref,
    path::{Path, PathBuf},
};

use super::{Mesh, Pod, User, network};
use crate::{Finished, PATIENCE, Process, control_plane::metric};

const ADMIN: &str = "127.0.0.1:15020";

pub struct MeshPodBuilder<'a> {
    mesh: &'a Mesh,
    name: String,
    namespace: String,
    serves: Option<Serves>,
    at_v6: bool,
    redirect: Vec<String>,
    flags: Vec<String>,
}

struct Serves {
    service: String,
    port: u16,
    app: SocketAddr,
}

/// It is a [`Pod`], too.
pub struct MeshPod {
    // Before the pod, as in a mesh.
    sidecar: Process,
    flags: Vec<String>,
    weft: PathBuf,
    pod: Pod,
}

impl<'a> MeshPodBuilder<'a> {
    pub(super) fn new(mesh: &'a Mesh, name: &str, namespace: &str) -> Self {
        let redirect = vec!["--dns".to_owned()];
        let [name, namespace] = [name, namespace].map(str::to_owned);
        Self { mesh, name, namespace, serves: None, at_v6: false, redirect, flags: Vec::new() }
    }

    /// The application listens on this port on all addresses, and its service has the same port and the pod's name.
    pub fn serves(self, port: u16) -> Self {
        let name = self.name.clone();
        self.serves_as(&name, port, port)
    }

    /// The service has a name, which is then the workload's, and a port of its own.
    pub fn serves_as(mut self, service: &str, port: u16, app: u16) -> Self {
        let app = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), app);
        self.serves = Some(Serves { service: service.to_owned(), port, app });
        self
    }

    /// What it serves listens on loopback only.
    pub fn on_loopback(mut self) -> Self {
        self.serves.as_mut().expect("it serves something").app.set_ip(Ipv4Addr::LOCALHOST.into());
        self
    }

    pub fn namespace(mut self, namespace: &str) -> Self {
        namespace.clone_into(&mut self.namespace);
        self
    }

    /// Callers are to reach it at its IPv6 address.
    pub fn at_v6(mut self) -> Self {
        self.at_v6 = true;
        self
    }

    /// A further flag of the sidecar.
    pub fn flag(mut self, name: &str, value: &str) -> Self {
        self.flags.extend([name.to_owned(), value.to_owned()]);
        self
    }

    /// Further flags of `weft redirect`.
    pub fn redirect(mut self, flags: &[&str]) -> Self {
        self.redirect.extend(flags.iter().map(|flag| (*flag).to_owned()));
        self
    }

    /// Returns when the sidecar is ready. Whether what it serves takes part in balancing depends on the application,
    /// which is to be started in the pod: `ControlPlane::serving` waits for that.
    pub async fn start(self) -> MeshPod {
        let pod = self.mesh.network().pod(&self.name);
        let weft = network::weft(pod.network_folder());
        let mut redirect = pod.command(User::ROOT, &weft);
        redirect.arg("redirect").args(&self.redirect);
        Finished::of(redirect, b"", PATIENCE).await.expect_ok();
        let flags = self.sidecar_flags(&pod).await;
        let sidecar = start_sidecar(&pod, &weft, &flags).await;
        MeshPod { sidecar, flags, weft, pod }
    }

    async fn sidecar_flags(self, pod: &Pod) -> Vec<String> {
        let control_plane = self.mesh.control_plane();
        // Who may register a service is who has its name.
        let account = self.serves.as_ref().map_or(&self.name, |serves| &serves.service);
        let made = ["--namespace", &self.namespace, "token", "create", "--service-account", account];
        let made = control_plane.json(&made).await;
        let [token, anchor, state] = ["token", "anchor.pem", "state"]
            .map(|name| pod.network_folder().path().join(format!("{}-{name}", self.name)));
        fs::write(&token, made["token"].as_str().unwrap()).unwrap();
        fs::write(&anchor, control_plane.trust_anchor()).unwrap();
        fs::create_dir(&state).unwrap();
        [&token, &anchor, &state].iter().for_each(|path| User::PROXY.owns(path));
        let path = |path: PathBuf| path.to_str().unwrap().to_owned();
        let mut flags = vec!["--intercept".to_owned(), "--dns".to_owned()];
        let mut set = |name: &str, value: String| flags.extend([name.to_owned(), value]);
        set("--control-plane", control_plane.grpc().to_string());
        set("--trust-anchor", path(anchor));
        set("--join-token-file", path(token));
        set("--state-dir", path(state));
        set("--namespace", self.namespace);
        set("--admin-listen", ADMIN.to_owned());
        if let Some(Serves { service, port, app }) = self.serves {
            set("--service", service);
            set("--service-port", port.to_string());
            set("--app", app.to_string());
            if self.at_v6 {
                set("--advertise", SocketAddr::new(pod.v6().into(), app.port()).to_string());
            }
        }
        flags.extend(self.flags);
        flags
    }
}

impl MeshPod {
    pub fn sidecar(&mut self) -> &mut Process {
        &mut self.sidecar
    }

    /// The sidecar's log.
    pub fn log(&self) -> Vec<String> {
        self.sidecar.stderr()
    }

    /// The most memory that the sidecar ever had resident, in bytes.
    pub fn peak_memory(&self) -> u64 {
        self.sidecar.peak_memory()
    }

    /// `kill -9` of the sidecar, and a new one in its place.
    pub async fn restart_sidecar(&mut self) {
        self.sidecar.kill();
        self.sidecar = start_sidecar(&self.pod, &self.weft, &self.flags).await;
    }

    /// All metrics of the sidecar, as text.
    pub async fn metrics(&self) -> String {
        let mut curl = self.pod.command(User::PROXY, "curl");
        curl.args(["--silent", "--show-error", "--fail", "--max-time", "10", &format!("http://{ADMIN}/metrics")]);
        Finished::of(curl, b"", PATIENCE).await.expect_ok()
    }

    /// A metric by its name with labels; 0 when it is not there.
    pub async fn metric(&self, series: &str) -> f64 {
        metric(&self.metrics().await, series)
    }

    /// The sum of all series of a name that have these parts in their labels.
    pub async fn metric_sum(&self, name: &str, parts: &[&str]) -> f64 {
        let text = self.metrics().await;
        let of_name =
            text.lines().filter_map(|line| line.strip_prefix(name)).filter(|rest| rest.starts_with(['{', ' ']));
        let series = of_name.filter(|rest| parts.iter().all(|part| rest.contains(part)));
        series.map(|rest| rest.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum()
    }
}

impl Deref for MeshPod {
    type Target = Pod;

    fn deref(&self) -> &Pod {
        &self.pod
    }
}

async fn start_sidecar(pod: &Pod, weft: &Path, flags: &[String]) -> Process {
    let mut command = pod.command(User::PROXY, weft);
    command.arg("proxy").args(flags);
    let mut process = Process::start(&format!("{}-weft", pod.name()), &mut command, pod.network_folder());
    process.announces("weft-proxy ready").await;
    process
}

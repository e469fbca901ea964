//! A sidecar: `weft proxy` with a state folder, and perhaps an application of the test behind it.

use std::{fs, net::SocketAddr, path::PathBuf, process::Command};

use http::{Method, Request, header};
use weft_certs::Svid;

use crate::{
    App, ControlPlane, Folder, Place, Process, binary, client,
    control_plane::{address, metric},
    eventually, ports,
};

pub struct SidecarBuilder<'a> {
    control_plane: &'a ControlPlane,
    account: String,
    flags: Vec<String>,
    token: Option<String>,
    program: Vec<String>,
}

pub struct Sidecar {
    folder: Folder,
    name: String,
    program: Vec<String>,
    flags: Vec<String>,
    state: PathBuf,
    process: Process,
    outbound: SocketAddr,
    inbound: SocketAddr,
    admin: SocketAddr,
}

/// An application of the test with the sidecar in front of it.
pub struct Workload {
    pub app: App,
    pub sidecar: Sidecar,
}

impl Workload {
    /// The app is named like the version, which is also the workload's label. Returns when it takes part in balancing.
    pub async fn start(control_plane: &ControlPlane, service: &str, version: &str) -> Self {
        let app = App::start(version).await;
        let sidecar = control_plane.sidecar(service).serves(app.address()).label("version", version).start().await;
        Self { app, sidecar }
    }
}

impl<'a> SidecarBuilder<'a> {
    pub(crate) fn new(control_plane: &'a ControlPlane, account: &str) -> Self {
        let program = vec![binary::weft().to_string_lossy().into_owned(), "proxy".into()];
        Self { control_plane, account: account.to_owned(), flags: Vec::new(), token: None, program }
    }

    /// The application serves the service that is named like the account.
    pub fn serves(self, app: SocketAddr) -> Self {
        let service = self.account.clone();
        self.flag("--service", &service).flag("--app", &app.to_string())
    }

    pub fn label(self, key: &str, value: &str) -> Self {
        self.flag("--label", &format!("{key}={value}"))
    }

    pub fn flag(mut self, name: &str, value: &str) -> Self {
        self.flags.extend([name.to_owned(), value.to_owned()]);
        self
    }

    /// Shows this join token instead of a fresh one.
    pub fn token(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    /// Starts this instead of `weft proxy`; the flags follow. It may be a wrapper that becomes the sidecar.
    pub fn program(mut self, words: Vec<String>) -> Self {
        self.program = words;
        self
    }

    /// Returns when it is ready, and takes part in balancing if it serves something.
    pub async fn start(self) -> Sidecar {
        let control_plane = self.control_plane;
        let serves = self.flags.iter().any(|flag| flag == "--service");
        let mut unready = self.launch().await;
        let line = unready.process.announces("weft-proxy ready").await;
        let sidecar = unready.ready(&line);
        if serves {
            let inbound = sidecar.inbound.to_string();
            eventually(&format!("{} takes part in balancing", sidecar.name), async || {
                let status = control_plane.status().await?;
                let mut workloads = status["workloads"].as_array().unwrap().iter();
                let serving = workloads.any(|w| w["address"] == inbound.as_str() && w["serving"] == true);
                if serving { Ok(()) } else { Err(status.to_string()) }
            })
            .await;
        }
        sidecar
    }

    /// Starts one that is not expected to become ready.
    pub async fn launch(self) -> Sidecar {
        let Self { control_plane, account, mut flags, token, program } = self;
        let folder = control_plane.folder().clone();
        let token = match token {
            Some(token) => token,
            None => {
                let made = control_plane.json(&["token", "create", "--service-account", &account]).await;
                made["token"].as_str().unwrap().to_owned()
            }
        };
        let state = tempfile::Builder::new().prefix("state-").tempdir_in(folder.path()).unwrap().keep();
        let anchor = folder.file("anchor.pem", control_plane.trust_anchor());
        let any = "127.0.0.1:0";
        for (name, value) in [
            ("--control-plane", control_plane.grpc().to_string().as_str()),
            ("--trust-anchor", &anchor),
            ("--state-dir", state.to_str().unwrap()),
            ("--outbound-listen", any),
            ("--inbound-listen", any),
            ("--admin-listen", any),
        ] {
            flags.extend([name.to_owned(), value.to_owned()]);
        }
        let mut command = launcher(&program);
        command.args(&flags).env("WEFT_JOIN_TOKEN", token);
        let process = Process::start(&account, &mut command, &folder);
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let [outbound, inbound, admin] = [nowhere; 3];
        Sidecar { folder, name: account, program, flags, state, process, outbound, inbound, admin }
    }
}

impl Sidecar {
    /// Where applications send their requests to.
    pub fn outbound(&self) -> SocketAddr {
        self.outbound
    }

    /// Where other sidecars connect.
    pub fn inbound(&self) -> SocketAddr {
        self.inbound
    }

    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    pub fn log(&self) -> Vec<String> {
        self.process.stderr()
    }

    /// The lines of the log that hold all of `parts`.
    pub fn log_lines(&self, parts: &[&str]) -> Vec<String> {
        self.log().into_iter().filter(|line| parts.iter().all(|part| line.contains(part))).collect()
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again with its state folder, on the same ports, without a join token.
    pub async fn restart(mut self) -> Self {
        self.process.kill();
        let _held = ports::hold(&[self.outbound, self.inbound, self.admin]);
        let addresses =
            [("--outbound-listen", self.outbound), ("--inbound-listen", self.inbound), ("--admin-listen", self.admin)];
        for (name, address) in addresses {
            let at = self.flags.iter().position(|flag| flag == name).unwrap();
            self.flags[at + 1] = address.to_string();
        }
        let mut command = launcher(&self.program);
        self.process = Process::start(&self.name, command.args(&self.flags), &self.folder);
        let line = self.process.announces("weft-proxy ready").await;
        self.ready(&line)
    }

    /// A metric by its name with labels; 0 when it is not there.
    pub async fn metric(&self, series: &str) -> f64 {
        metric(&self.admin_request(Method::GET, "/metrics").await, series)
    }

    /// The body of an answer of its admin listener.
    pub async fn admin_request(&self, method: Method, path: &str) -> String {
        self.admin_request_from(method, path, None).await
    }

    /// The same, as a browser sends it for a page of `origin`.
    pub async fn admin_request_from(&self, method: Method, path: &str, origin: Option<&str>) -> String {
        let host = self.admin.to_string();
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, host);
        if let Some(origin) = origin {
            request = request.header(header::ORIGIN, origin);
        }
        client::send(self.admin, request).await.text()
    }

    /// The SVID that it last wrote to its state folder.
    pub fn svid(&self) -> Svid {
        Svid::from_pem(&fs::read_to_string(self.state.join("svid.pem")).unwrap()).unwrap()
    }

    fn ready(mut self, line: &str) -> Self {
        [self.outbound, self.inbound, self.admin] = ["outbound", "inbound", "admin"].map(|name| address(line, name));
        self
    }
}

fn launcher(program: &[String]) -> Command {
    let mut command = Place::Machine.command(&program[0]);
    command.args(&program[1..]);
    command
}

//! A control plane: a process with a data folder, and the `weft` command pointed at it. Both on loopback, or in a
//! network namespace.

use std::{net::SocketAddr, process::Command, time::SystemTime};

use http::{Request, header};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::Value;
use socket2::Socket;
use weft_certs::{Ca, SpiffeId, TrustBundle};

use crate::{Finished, Folder, PATIENCE, Place, Process, SidecarBuilder, binary, eventually, ports, tls};

pub struct ControlPlane {
    place: Place,
    folder: Folder,
    flags: Vec<String>,
    process: Process,
    grpc: SocketAddr,
    admin: SocketAddr,
    credentials: Credentials,
    /// Its ports, while it is away.
    held: Vec<Socket>,
}

/// What of `admin.yaml` is needed here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Credentials {
    trust_anchor: String,
    token: String,
}

impl ControlPlane {
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    pub async fn start_with(flags: &[&str]) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        Self::start_at(Place::Machine, Folder::new(), flags, [any, any]).await
    }

    /// Elsewhere, at these addresses for sidecars and for commands. Its data is in `control-plane` in the folder.
    pub async fn start_at(place: Place, folder: Folder, flags: &[&str], listen: [SocketAddr; 2]) -> Self {
        let flags: Vec<_> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let (process, [grpc, admin]) = launch(&place, &folder, &flags, listen).await;
        let file = std::fs::read_to_string(folder.path().join("control-plane/admin.yaml")).unwrap();
        let credentials = serde_saphyr::from_str(&file).unwrap();
        Self { place, folder, flags, process, grpc, admin, credentials, held: Vec::new() }
    }

    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    pub fn grpc(&self) -> SocketAddr {
        self.grpc
    }

    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    pub fn log(&self) -> Vec<String> {
        self.process.stderr()
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.process.kill();
        if self.place == Place::Machine {
            self.held = ports::hold(&[self.grpc, self.admin]);
        }
    }

    /// Starts it again, on the same folder and the same ports.
    pub async fn restart(&mut self) {
        if self.process.runs() {
            self.kill();
        }
        (self.process, _) = launch(&self.place, &self.folder, &self.flags, [self.grpc, self.admin]).await;
        self.held.clear();
    }

    pub fn trust_bundle(&self) -> TrustBundle {
        TrustBundle::from_pem(&self.credentials.trust_anchor).unwrap()
    }

    pub fn trust_anchor(&self) -> &str {
        &self.credentials.trust_anchor
    }

    /// The mesh's own CA, to sign what the control plane would not.
    pub fn ca(&self) -> Ca {
        let trust_domain = self.trust_bundle().trust_domain().clone();
        Ca::open_or_create(&self.folder.path().join("control-plane/ca"), trust_domain, SystemTime::now()).unwrap()
    }

    /// A sidecar, and its workload's identity, under this service account.
    pub fn sidecar(&self, account: &str) -> SidecarBuilder<'_> {
        SidecarBuilder::new(self, account)
    }

    /// A `weft` command line that reaches this control plane, for processes that go on running.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.place.command(binary::weft());
        command
            .args(args)
            .current_dir(self.folder.path())
            .env("WEFT_CONFIG", self.folder.path().join("control-plane/admin.yaml"));
        command
    }

    /// Runs `weft ARGS` to its end.
    pub async fn weft(&self, args: &[&str]) -> Finished {
        self.weft_with_input(args, "").await
    }

    /// As `weft`, with something on standard input.
    pub async fn weft_with_input(&self, args: &[&str], input: &str) -> Finished {
        Finished::of(self.command(args), input.as_bytes(), PATIENCE).await
    }

    /// The output of a command that must succeed, with `--output json`.
    pub async fn json(&self, args: &[&str]) -> Value {
        let output = self.weft(&[args, &["--output", "json"]].concat()).await.expect_ok();
        serde_json::from_str(&output).unwrap()
    }

    /// `weft apply`, which must succeed. Returns when every connected sidecar has taken the new revision.
    pub async fn apply(&self, yaml: &str) {
        self.weft_with_input(&["apply", "-f", "-"], yaml).await.expect_ok();
        self.settled().await;
    }

    /// Waits until every connected sidecar has acknowledged the current revision.
    pub async fn settled(&self) {
        eventually("all sidecars have acknowledged the revision", async || {
            let status = self.status().await?;
            let behind =
                |workload: &&Value| workload["connected"] == true && workload["acknowledged"] != status["revision"];
            match status["workloads"].as_array().unwrap().iter().find(behind) {
                Some(workload) => Err(format!("revision {}, {workload}", status["revision"])),
                None => Ok(()),
            }
        })
        .await;
    }

    /// Waits until so many sidecars are connected.
    pub async fn connected(&self, count: usize) {
        eventually(&format!("{count} sidecars are connected"), async || {
            let status = self.status().await?;
            let connected = |workload: &&Value| workload["connected"] == true;
            match status["workloads"].as_array().unwrap().iter().filter(connected).count() == count {
                true => Ok(()),
                false => Err(status.to_string()),
            }
        })
        .await;
    }

    /// Waits until so many workloads of the service take part in balancing.
    pub async fn serving(&self, service: &str, count: usize) {
        eventually(&format!("{count} workloads serve {service}"), async || {
            let status = self.status().await?;
            let all = status["workloads"].as_array().unwrap();
            let of_service = |name: &str| name.split('/').next_back().unwrap().split(':').next() == Some(service);
            let serves =
                |workload: &&Value| workload["serving"] == true && workload["service"].as_str().is_some_and(of_service);
            match all.iter().filter(serves).count() == count {
                true => Ok(()),
                false => Err(format!("{all:?}")),
            }
        })
        .await;
    }

    /// What `weft status` is made of.
    ///
    /// # Errors
    /// The control plane does not answer.
    pub async fn status(&self) -> Result<Value, String> {
        let text = self.admin_get("/v1/status").await?;
        serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))
    }

    /// A metric of the control plane, by its name with labels; 0 when it is not there.
    pub async fn metric(&self, series: &str) -> f64 {
        metric(&self.admin_get("/metrics").await.unwrap(), series)
    }

    async fn admin_get(&self, path: &str) -> Result<String, String> {
        match self.place {
            Place::Machine => self.admin_get_over_tls(path).await,
            Place::Namespace(_) => self.admin_get_by_curl(path).await,
        }
    }

    /// The test's own sockets reach into no namespace.
    async fn admin_get_by_curl(&self, path: &str) -> Result<String, String> {
        let mut command = self.place.command("curl");
        // Names in its certificate are SPIFFE IDs, which curl does not know; who answers is not what is tested here.
        command.args(["--silent", "--show-error", "--insecure", "--fail-with-body", "--max-time", "10"]);
        command.args(["--header", &format!("authorization: Bearer {}", self.credentials.token)]);
        command.arg(format!("https://{}{path}", self.admin));
        let finished = Finished::of(command, b"", PATIENCE).await;
        if finished.code == 0 { Ok(finished.stdout) } else { Err(finished.stderr + &finished.stdout) }
    }

    async fn admin_get_over_tls(&self, path: &str) -> Result<String, String> {
        let bundle = self.trust_bundle();
        let expected = SpiffeId::control_plane(bundle.trust_domain());
        let config = weft_certs::tls::bootstrap_client_config(bundle, expected, &[b"http/1.1"]);
        let stream = tls::connect(self.admin, config).await.map_err(|error| error.to_string())?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        tokio::spawn(connection);
        let request = Request::get(path)
            .header(header::HOST, "control-plane")
            .header(header::AUTHORIZATION, format!("Bearer {}", self.credentials.token))
            .body(Empty::<bytes::Bytes>::new())
            .unwrap();
        let answer = async { sender.send_request(request).await?.into_body().collect().await };
        let body = answer.await.map_err(|error| error.to_string())?.to_bytes();
        Ok(String::from_utf8(body.to_vec()).unwrap())
    }
}

/// The value of one series in a text of metrics.
pub fn metric(text: &str, series: &str) -> f64 {
    let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    value.map_or(0.0, |value| value.parse().unwrap())
}

async fn launch(
    place: &Place,
    folder: &Folder,
    flags: &[String],
    listen: [SocketAddr; 2],
) -> (Process, [SocketAddr; 2]) {
    let mut command = place.command(binary::weft());
    command
        .args(["control-plane", "--data-dir", "control-plane"])
        .args(["--grpc-listen", &listen[0].to_string(), "--admin-listen", &listen[1].to_string()])
        .args(flags)
        .current_dir(folder.path());
    let mut process = Process::start("control-plane", &mut command, folder);
    let line = process.announces("weft-control-plane ready").await;
    (process, ["grpc", "admin"].map(|name| address(&line, name)))
}

/// `name=127.0.0.1:1234` in a ready line.
pub fn address(line: &str, name: &str) -> SocketAddr {
    let value = line.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    value.unwrap_or_else(|| panic!("no {name} in {line:?}")).parse().unwrap()
}

//! A control plane: a process with a data folder, and the `weft` command pointed at it.

use std::{
    net::SocketAddr,
    process::{Command, Stdio},
    time::SystemTime,
};

use http::{Request, header};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::Value;
use tokio::{io::AsyncWriteExt, time::timeout};
use weft_certs::{Ca, SpiffeId, TrustBundle};

use crate::{Folder, PATIENCE, Process, SidecarBuilder, binary, eventually, tls};

pub struct ControlPlane {
    folder: Folder,
    flags: Vec<String>,
    process: Process,
    grpc: SocketAddr,
    admin: SocketAddr,
    credentials: Credentials,
}

/// What of `admin.yaml` is needed here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Credentials {
    trust_anchor: String,
    token: String,
}

/// A command that has ended.
#[derive(Debug)]
pub struct Finished {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Finished {
    /// Its standard output. Panics if it failed.
    pub fn expect_ok(self) -> String {
        assert_eq!(self.code, 0, "{}{}", self.stdout, self.stderr);
        self.stdout
    }
}

impl ControlPlane {
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    pub async fn start_with(flags: &[&str]) -> Self {
        let folder = Folder::new();
        let flags: Vec<_> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let (process, [grpc, admin]) = launch(&folder, &flags, [any, any]).await;
        let file = std::fs::read_to_string(folder.path().join("control-plane/admin.yaml")).unwrap();
        let credentials = serde_saphyr::from_str(&file).unwrap();
        Self { folder, flags, process, grpc, admin, credentials }
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
    }

    /// Starts it again, on the same folder and the same ports.
    pub async fn restart(&mut self) {
        self.process.kill();
        (self.process, _) = launch(&self.folder, &self.flags, [self.grpc, self.admin]).await;
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
        let mut command = clean(binary::weft());
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
        let mut command = tokio::process::Command::from(self.command(args));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        // A command that refuses its flags reads nothing.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes()).await;
        let output = timeout(PATIENCE, child.wait_with_output()).await.expect("the command does not end").unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let code = output.status.code().expect("the command was killed");
        Finished { code, stdout: text(output.stdout), stderr: text(output.stderr) }
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

/// A command that knows nothing of the mesh and the proxies around the test itself.
pub fn clean(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    let foreign = |name: &str| name.starts_with("WEFT_") || name.to_ascii_lowercase().ends_with("_proxy");
    std::env::vars().filter(|(name, _)| foreign(name)).for_each(|(name, _)| _ = command.env_remove(name));
    command
}

async fn launch(folder: &Folder, flags: &[String], listen: [SocketAddr; 2]) -> (Process, [SocketAddr; 2]) {
    let mut command = clean(binary::weft());
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

//! The processes under measurement: a control plane, and sidecars of it.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::Context;
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};

use super::{client::Client, memory::Memory};

const PATIENCE: Duration = Duration::from_secs(120);
const ANY: &str = "127.0.0.1:0";

/// What is measured.
pub struct Programs {
    pub control_plane: PathBuf,
    pub sidecar: PathBuf,
}

/// What of `admin.yaml` is needed here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Credentials {
    trust_anchor: String,
    token: String,
}

pub struct ControlPlane {
    pub client: Client,
    pub grpc: SocketAddr,
    pub started_in: Duration,
    process: Running,
    join_token: String,
    folder: TempDir,
}

pub struct Sidecar {
    pub outbound: SocketAddr,
    pub admin: SocketAddr,
    pub started_in: Duration,
    process: Running,
}

impl ControlPlane {
    pub async fn start(programs: &Programs) -> anyhow::Result<Self> {
        Self::start_in(tempfile::Builder::new().prefix("weft-bench-").tempdir()?, programs).await
    }

    /// Stops it, and starts another one on what it left on the disk.
    pub async fn restart(self, programs: &Programs) -> anyhow::Result<Self> {
        self.process.stop().await?;
        Self::start_in(self.folder, programs).await
    }

    async fn start_in(folder: TempDir, programs: &Programs) -> anyhow::Result<Self> {
        let data = folder.path().join("control-plane");
        let mut command = Command::new(&programs.control_plane);
        command.arg("--data-dir").arg(&data).args(["--grpc-listen", ANY, "--admin-listen", ANY]);
        let (process, line, started_in) = Running::start(command, "weft-control-plane ready").await?;
        let credentials: Credentials = serde_saphyr::from_str(&std::fs::read_to_string(data.join("admin.yaml"))?)?;
        std::fs::write(folder.path().join("anchor.pem"), &credentials.trust_anchor)?;
        let (grpc, admin) = (address(&line, "grpc")?, address(&line, "admin")?);
        let mut client = Client::admin(admin, &credentials.trust_anchor, &credentials.token).await?;
        let wanted = json!({ "namespace": "default", "serviceAccount": "app", "ttlSeconds": 3600, "uses": 1000 });
        let join_token = client.post("/v1/tokens", &wanted).await?;
        let join_token =
            join_token.get("token").and_then(Value::as_str).context("a token without its text")?.to_owned();
        Ok(Self { client, grpc, started_in, process, join_token, folder })
    }

    pub fn memory(&self) -> anyhow::Result<Memory> {
        self.process.memory()
    }

    /// A new sidecar, without any state, that knows the control plane by this address.
    pub async fn sidecar(&self, control_plane: SocketAddr, programs: &Programs) -> anyhow::Result<Sidecar> {
        let state = tempfile::Builder::new().prefix("state-").tempdir_in(self.folder.path())?.keep();
        Sidecar::start(&programs.sidecar, control_plane, self.folder.path(), &state, &self.join_token).await
    }
}

impl Sidecar {
    async fn start(
        program: &Path,
        control_plane: SocketAddr,
        folder: &Path,
        state: &Path,
        token: &str,
    ) -> anyhow::Result<Self> {
        let mut command = Command::new(program);
        command
            .args(["--control-plane", &control_plane.to_string()])
            .arg("--trust-anchor")
            .arg(folder.join("anchor.pem"))
            .arg("--state-dir")
            .arg(state)
            .args(["--outbound-listen", ANY, "--inbound-listen", ANY, "--admin-listen", ANY])
            .env("WEFT_JOIN_TOKEN", token);
        let (process, line, started_in) = Running::start(command, "weft-proxy ready").await?;
        Ok(Self { outbound: address(&line, "outbound")?, admin: address(&line, "admin")?, started_in, process })
    }

    pub fn memory(&self) -> anyhow::Result<Memory> {
        self.process.memory()
    }
}

/// A process that is killed when this is dropped.
struct Running(Child);

impl Running {
    /// Returns when it prints a line that begins so, with the line and the time that it took.
    async fn start(mut command: Command, ready: &str) -> anyhow::Result<(Self, String, Duration)> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let start = Instant::now();
        let mut child =
            command.spawn().with_context(|| format!("cannot start {:?}", command.as_std().get_program()))?;
        let mut lines = BufReader::new(child.stdout.take().context("its output was not asked for")?).lines();
        let line = timeout(PATIENCE, lines.next_line()).await.with_context(|| format!("no line {ready:?}"))??;
        let took = start.elapsed();
        let line =
            line.filter(|line| line.starts_with(ready)).with_context(|| format!("it ended without {ready:?}"))?;
        Ok((Self(child), line, took))
    }

    fn memory(&self) -> anyhow::Result<Memory> {
        Memory::of(self.0.id().context("the process has ended")?)
    }

    async fn stop(mut self) -> anyhow::Result<()> {
        let id = self.0.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed()));
        rustix::process::kill_process(id.context("the process has ended")?, rustix::process::Signal::TERM)?;
        self.0.wait().await?;
        Ok(())
    }
}

/// `name=127.0.0.1:1234` in a ready line.
fn address(line: &str, name: &str) -> anyhow::Result<SocketAddr> {
    let value = line.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    Ok(value.with_context(|| format!("no {name} in {line:?}"))?.parse()?)
}

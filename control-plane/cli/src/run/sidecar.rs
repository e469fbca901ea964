//! The sidecar process: started, awaited, drained, restarted on the same ports when it dies.

use std::{
    ffi::{OsStr, OsString},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use http::{Method, Request};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command},
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::{Run, log::Log, ready::Ready, restarts::Restarts, state::Files};
use crate::{output::notice, plain_http};

const PATIENCE: Duration = Duration::from_secs(5);
/// After SIGTERM, beyond its own drain: to close what is open and leave.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// How the sidecar is started.
#[derive(Debug)]
pub struct Start {
    program: PathBuf,
    args: Vec<OsString>,
    one_group: bool,
    outbound: SocketAddr,
    inbound: SocketAddr,
    admin: SocketAddr,
}

#[derive(Debug)]
pub struct Sidecar {
    start: Start,
    log: Log,
    process: Process,
    restarts: Restarts,
}

/// One life of it.
#[derive(Debug)]
struct Process {
    child: Child,
    /// Its standard input. It closes when `weft run` ends, however that is, and then the sidecar ends by itself.
    _lifeline: ChildStdin,
    following: Vec<JoinHandle<()>>,
    ready: Ready,
}

impl Start {
    /// # Errors
    /// The path of the running binary is not known.
    pub fn new(run: &Run, namespace: &str, control_plane: &str, files: &Files, state: &Path) -> anyhow::Result<Self> {
        let app = SocketAddr::from((Ipv4Addr::LOCALHOST, run.port)).to_string();
        let mut args: Vec<OsString> = ["proxy", "--until-stdin-closes"].map(OsString::from).into();
        let mut flag = |name: &str, value: &OsStr| args.extend([name.into(), value.to_owned()]);
        flag("--control-plane", control_plane.as_ref());
        flag("--trust-anchor", files.anchor.as_ref());
        if let Some(token) = &files.token {
            flag("--join-token-file", token.as_ref());
        }
        flag("--namespace", namespace.as_ref());
        flag("--service", run.service.as_ref());
        flag("--service-port", run.service_port.to_string().as_ref());
        flag("--app", app.as_ref());
        flag("--state-dir", state.as_ref());
        run.labels.iter().for_each(|label| flag("--label", label.as_ref()));
        let any = |ip: IpAddr| SocketAddr::new(ip, 0);
        let localhost = any(Ipv4Addr::LOCALHOST.into());
        let program = std::env::current_exe().context("cannot find the weft binary itself")?;
        let (outbound, inbound, admin) = (localhost, any(run.advertise), localhost);
        Ok(Self { program, args, one_group: run.one_group, outbound, inbound, admin })
    }

    fn spawn(&self) -> anyhow::Result<Child> {
        let mut command = Command::new(&self.program);
        command.args(&self.args);
        for (flag, address) in
            [("--outbound-listen", self.outbound), ("--inbound-listen", self.inbound), ("--admin-listen", self.admin)]
        {
            command.arg(flag).arg(address.to_string());
        }
        // The token of `weft run` is in a file, and clap refuses both.
        command.env_remove("WEFT_JOIN_TOKEN");
        if !self.one_group {
            // A Ctrl-C or a `kill %1` goes to every process of the group: the sidecar must outlive the drain.
            command.process_group(0);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command.spawn().context("cannot start the sidecar")
    }
}

impl Sidecar {
    /// Returns when the sidecar is ready. Dropping the future ends it.
    ///
    /// # Errors
    /// It cannot be started or ended early; the message has the last lines of its log.
    pub async fn start(mut start: Start, log: Log) -> anyhow::Result<Self> {
        let process = launch(&start, &log).await?;
        // A restart must come back where the program and the other sidecars look for it.
        let Ready { outbound, inbound, admin } = process.ready;
        (start.outbound, start.inbound, start.admin) = (outbound, inbound, admin);
        Ok(Self { start, log, process, restarts: Restarts::default() })
    }

    pub fn outbound(&self) -> SocketAddr {
        self.process.ready.outbound
    }

    /// Waits until the process is gone. Cancel-safe.
    pub async fn ended(&mut self) -> anyhow::Result<ExitStatus> {
        Ok(self.process.child.wait().await?)
    }

    /// Starts it again after it has ended.
    ///
    /// # Errors
    /// It dies too often, or cannot start again.
    pub async fn restart(&mut self, ended: ExitStatus) -> anyhow::Result<()> {
        let Some(wait) = self.restarts.next(Instant::now()) else {
            bail!("the sidecar dies again and again, the last time with {ended}:{}", self.log.last_lines());
        };
        notice(format!("weft run: the sidecar ended ({ended}); starting it again on the same ports"));
        sleep(wait).await;
        self.process = launch(&self.start, &self.log).await?;
        notice("weft run: the sidecar is back");
        Ok(())
    }

    /// Takes the workload out of balancing; returns when the requests in flight are finished, or after `limit`.
    pub async fn drain(&self, limit: Duration) -> anyhow::Result<()> {
        let request = Request::builder()
            .method(Method::POST)
            .uri("/drain")
            .header(http::header::HOST, self.process.ready.admin.to_string())
            .body(Bytes::new())?;
        let answer = timeout(limit, plain_http::send(self.process.ready.admin, request)).await;
        let status = answer.context("the drain took too long")??.status();
        if !status.is_success() {
            bail!("the sidecar answered the drain with {status}");
        }
        Ok(())
    }

    /// Lets it finish what is in flight and waits until it is gone.
    pub async fn stop(&mut self, drain_limit: Duration) -> anyhow::Result<()> {
        if let Some(pid) = self.process.child.id() {
            signal(pid, rustix::process::Signal::TERM)?;
        }
        if timeout(drain_limit + LAST_WORDS, self.process.child.wait()).await.is_err() {
            notice("weft run: the sidecar does not end, killing it");
            self.process.child.kill().await?;
        }
        self.last_lines_written().await;
        Ok(())
    }

    /// Ends it at once.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        Ok(self.process.child.kill().await?)
    }

    async fn last_lines_written(&mut self) {
        for following in self.process.following.drain(..) {
            // Bounded: a process that inherited the pipe could keep it open.
            let _ = timeout(Duration::from_secs(1), following).await;
        }
    }
}

async fn launch(start: &Start, log: &Log) -> anyhow::Result<Process> {
    let mut child = start.spawn()?;
    // Taken out of the child, which would close it before it waits.
    let lifeline = child.stdin.take().context("the sidecar has no standard input")?;
    let errors = log.follow(child.stderr.take().context("the sidecar has no standard error")?);
    let stdout = child.stdout.take().context("the sidecar has no standard output")?;
    let mut lines = BufReader::new(stdout);
    match await_ready_aloud(&mut lines).await {
        Ok(ready) => {
            let following = vec![errors, log.follow(lines)];
            Ok(Process { child, _lifeline: lifeline, following, ready })
        }
        Err(_) => Err(early_end(child, errors, log).await),
    }
}

/// As `await_ready`; says so when it takes long.
async fn await_ready_aloud(lines: &mut BufReader<ChildStdout>) -> anyhow::Result<Ready> {
    let waiting = await_ready(lines);
    tokio::pin!(waiting);
    match timeout(PATIENCE, &mut waiting).await {
        Ok(ready) => ready,
        Err(_) => {
            notice("weft run: waiting for the sidecar…");
            waiting.await
        }
    }
}

/// Fails when the output ends without the line, which is when the process ends.
async fn await_ready(lines: &mut BufReader<ChildStdout>) -> anyhow::Result<Ready> {
    let mut line = String::new();
    while lines.read_line(&mut line).await? > 0 {
        if let Ok(ready) = line.parse() {
            return Ok(ready);
        }
        line.clear();
    }
    bail!("no ready line")
}

async fn early_end(mut child: Child, errors: JoinHandle<()>, log: &Log) -> anyhow::Error {
    let status = match timeout(LAST_WORDS, child.wait()).await {
        Ok(Ok(status)) => status.to_string(),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "no exit, only a closed output".to_owned(),
    };
    let _ = timeout(Duration::from_secs(1), errors).await;
    anyhow!("the sidecar ended before it was ready ({status}):{}", log.last_lines())
}

/// Whether a Ctrl-C at the terminal reaches this process, and with it all others of its group.
pub fn at_a_terminal() -> bool {
    let group = rustix::process::getpgrp();
    rustix::termios::tcgetpgrp(std::io::stdin()).is_ok_and(|foreground| foreground == group)
}

/// # Errors
/// The process is gone already, or may not be signalled.
pub fn signal(pid: u32, signal: rustix::process::Signal) -> anyhow::Result<()> {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw).context("not a process id")?;
    Ok(rustix::process::kill_process(pid, signal)?)
}

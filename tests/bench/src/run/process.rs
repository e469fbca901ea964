//! One process of the benchmark: started, waited for, and killed by its own id when it is dropped.

use std::{
    fs::File,
    net::SocketAddr,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpStream,
    process::{Child, Command},
    time::{sleep, timeout},
};

const PATIENCE: Duration = Duration::from_secs(20);

pub struct Process {
    name: String,
    id: u32,
    child: Child,
    started: Instant,
}

impl Process {
    /// What it says on standard error goes to `NAME.log` in `folder`; standard output is for [`Process::announces`].
    pub fn start(name: &str, mut command: Command, folder: &Path) -> anyhow::Result<Self> {
        let log = File::create(folder.join(format!("{name}.log")))?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).kill_on_drop(true);
        // A group of its own: Ctrl-C is for the orchestrator, which then ends its processes itself.
        command.process_group(0);
        let started = Instant::now();
        let child = command.spawn().with_context(|| format!("cannot start {:?}", command.as_std().get_program()))?;
        let id = child.id().context("it has ended already")?;
        Ok(Self { name: name.to_owned(), id, child, started })
    }

    pub fn id(&self) -> u32 {
        self.id
    }

    /// Waits for a line of standard output that begins so, and says how long after the start it came.
    pub async fn announces(&mut self, beginning: &str) -> anyhow::Result<(String, Duration)> {
        let stdout = self.child.stdout.take().context("its output is being read already")?;
        let mut lines = BufReader::new(stdout).lines();
        let wanted = async {
            while let Some(line) = lines.next_line().await? {
                if line.starts_with(beginning) {
                    return Ok((line, self.started.elapsed()));
                }
            }
            bail!("{} ended before it printed {beginning:?}", self.name)
        };
        let found =
            timeout(PATIENCE, wanted).await.with_context(|| format!("{} does not print {beginning:?}", self.name))?;
        // What it prints from here on, such as its access log, must go somewhere.
        tokio::spawn(async move { tokio::io::copy_buf(&mut lines.into_inner(), &mut tokio::io::sink()).await });
        found
    }

    /// Waits until something listens there, and says how long after the start that was.
    pub async fn listens(&mut self, address: SocketAddr) -> anyhow::Result<Duration> {
        while self.started.elapsed() < PATIENCE {
            if TcpStream::connect(address).await.is_ok() {
                return Ok(self.started.elapsed());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended ({status}) before it listened on {address}", self.name);
            }
            sleep(Duration::from_millis(1)).await;
        }
        bail!("{} does not listen on {address}", self.name)
    }
}

/// `name=127.0.0.1:1234` in a ready line.
pub fn address(line: &str, name: &str) -> anyhow::Result<SocketAddr> {
    let value = line.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    Ok(value.with_context(|| format!("no {name} in {line:?}"))?.parse()?)
}

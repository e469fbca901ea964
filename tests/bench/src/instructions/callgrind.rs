//! Callgrind around one process: how it is started, told to count, and read.
//!
//! `vgdb` is valgrind's own way to give commands to a process that runs under it. The counts are those of all threads.
//! What the sidecar does beside the requests (its discovery stream, its reports) is in them: less than 0.1 % here.
//!
//! The same program has the same count on all machines that can run it at all: valgrind shows every program the same
//! CPU, one with AES-NI and AVX2 and without what is newer, so that libc and the cryptography choose the same code
//! everywhere. Only a CPU without AVX2 leads to other figures.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, bail};
use tokio::process::Command;
use weft_tests::Folder;

/// For long copies glibc uses `rep movsb`, which callgrind counts as an instruction for each byte and a CPU executes at
/// 32 bytes and more per cycle. A loop of vector instructions is nearer to what a copy costs.
const NO_REP_MOVSB: &str =
    "GLIBC_TUNABLES=glibc.cpu.x86_rep_movsb_threshold=1000000000:glibc.cpu.x86_rep_stosb_threshold=1000000000";

/// A command to a process that is blocked in the kernel takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Callgrind {
    profile: PathBuf,
    /// Where `vgdb` meets the process.
    temporary: PathBuf,
    pid: u32,
    taken: u32,
}

/// # Errors
/// Valgrind is not installed.
pub fn require() -> anyhow::Result<()> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    for program in ["valgrind", "vgdb"] {
        if !std::env::split_paths(&paths).any(|folder| folder.join(program).is_file()) {
            bail!("{program} is needed to count instructions, and is not in PATH: install the package valgrind");
        }
    }
    Ok(())
}

/// The version, as valgrind prints it.
pub fn version() -> anyhow::Result<String> {
    let output = std::process::Command::new("valgrind").arg("--version").output().context("valgrind --version")?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

impl Callgrind {
    /// For the process that will be started as [`around`](Self::around) says.
    pub fn new(folder: &Folder, name: &str) -> Self {
        let profile = folder.path().join(format!("callgrind.{name}"));
        Self { profile, temporary: folder.temporary(), pid: 0, taken: 0 }
    }

    /// The command line under which `program` can be counted. Counting begins later: until then the process runs several
    /// times as fast.
    pub fn around(&self, program: &[String]) -> Vec<String> {
        let out = format!("--callgrind-out-file={}", self.profile.display());
        let valgrind = ["env", NO_REP_MOVSB, "valgrind", "-q", "--tool=callgrind", "--instr-atstart=no", &out];
        valgrind.map(str::to_owned).into_iter().chain(program.iter().cloned()).collect()
    }

    /// Begins to count in the process that was started.
    pub async fn attach(&mut self, pid: u32) -> anyhow::Result<()> {
        self.pid = pid;
        self.command(&["instrumentation", "on"]).await
    }

    /// Forgets what was counted so far.
    pub async fn zero(&self) -> anyhow::Result<()> {
        self.command(&["zero"]).await
    }

    /// The instructions since the last `zero` or `take`.
    pub async fn take(&mut self) -> anyhow::Result<u64> {
        self.command(&["dump"]).await?;
        self.taken += 1;
        let path = self.last_profile();
        let text = std::fs::read_to_string(&path).with_context(|| format!("callgrind wrote no {}", path.display()))?;
        let totals = text.lines().find_map(|line| line.strip_prefix("totals: "));
        let totals = totals.with_context(|| format!("{} has no totals", path.display()))?;
        totals.trim().parse().with_context(|| format!("totals of {}: {totals:?}", path.display()))
    }

    /// The file behind the last `take`.
    pub fn last_profile(&self) -> PathBuf {
        let mut name = self.profile.clone().into_os_string();
        name.push(format!(".{}", self.taken));
        Path::new(&name).to_owned()
    }

    async fn command(&self, words: &[&str]) -> anyhow::Result<()> {
        let mut vgdb = Command::new("vgdb");
        vgdb.arg(format!("--pid={}", self.pid)).args(words).env("TMPDIR", &self.temporary);
        vgdb.stdin(Stdio::null()).kill_on_drop(true);
        let ended = tokio::time::timeout(PATIENCE, vgdb.output()).await;
        let output = ended.with_context(|| format!("vgdb {words:?} got no answer within {PATIENCE:?}"))??;
        if !output.status.success() {
            bail!("vgdb {words:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(())
    }
}

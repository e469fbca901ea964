//! System calls per request: counted in a short run of its own, since counting is not free.
//!
//! `perf` counts them in the kernel at little cost. `strace` stops the process at each one: it is slower by far, so
//! that more events are found at each wait and a few calls less are made. It is what is left where perf may not count.

use std::{path::Path, time::Duration};

use anyhow::{Context, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    process::{Child, Command},
    time::{sleep, timeout},
};

use super::tools::on_path;

const PATIENCE: Duration = Duration::from_secs(10);
/// What a counter needs to attach to all threads.
const ATTACHING: Duration = Duration::from_millis(300);

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Counter {
    Perf,
    Strace,
}

/// Counts the calls of one process from its start to [`Counting::count`].
pub struct Counting {
    counter: Counter,
    child: Child,
    file: std::path::PathBuf,
}

impl Counter {
    /// The better one of those that work here.
    pub async fn find() -> Option<Self> {
        let perf = Command::new("perf").args(["stat", "-x,", "-e", EVENT, "--", "true"]).output().await;
        if perf.is_ok_and(|output| parse_perf(&String::from_utf8_lossy(&output.stderr)).is_some_and(|count| count > 0))
        {
            return Some(Self::Perf);
        }
        on_path("strace").map(|_| Self::Strace)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Perf => "perf",
            Self::Strace => "strace",
        }
    }

    pub async fn attach(self, process: u32, folder: &Path) -> anyhow::Result<Counting> {
        let file = folder.join(format!("calls-{process}"));
        let mut command = Command::new(self.name());
        match self {
            Self::Perf => command.args(["stat", "-x,", "-e", EVENT, "-o"]).arg(&file),
            Self::Strace => command.args(["-c", "-f", "-o"]).arg(&file),
        };
        command.args(["-p", &process.to_string()]).kill_on_drop(true);
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        let child = command.spawn().with_context(|| format!("cannot run {}", self.name()))?;
        sleep(ATTACHING).await;
        Ok(Counting { counter: self, child, file })
    }
}

const EVENT: &str = "raw_syscalls:sys_enter";

impl Counting {
    pub async fn count(mut self) -> anyhow::Result<u64> {
        let id = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        kill_process(id.context("the counter ended too early")?, Signal::INT)?;
        timeout(PATIENCE, self.child.wait()).await.context("the counter does not end")??;
        let text = std::fs::read_to_string(&self.file)?;
        let count = match self.counter {
            Counter::Perf => parse_perf(&text),
            Counter::Strace => parse_strace(&text),
        };
        let count = count.with_context(|| format!("{} said: {text}", self.counter.name()))?;
        ensure!(count > 0, "{} saw nothing", self.counter.name());
        Ok(count)
    }
}

/// `perf stat -x,`: the first field of the line that names the event.
fn parse_perf(text: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.contains(EVENT))?;
    line.split(',').next()?.parse().ok()
}

/// `strace -c`: the calls in the line of the total, the fourth field.
fn parse_strace(text: &str) -> Option<u64> {
    let total = text.lines().find(|line| line.trim_end().ends_with(" total"))?;
    total.split_ascii_whitespace().nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn perfs_count_is_read() {
        let text = "# started on Sun Nov 22 21:19:55 2026\n\n159099,,raw_syscalls:sys_enter,999587450,100.00,,\n";
        assert_eq!(parse_perf(text), Some(159_099));
        assert_eq!(parse_perf("<not counted>,,raw_syscalls:sys_enter,0,100.00,,\n"), None);
        assert_eq!(parse_perf(""), None);
    }

    #[test]
    fn straces_total_is_read() {
        let text = "% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 63.61    0.134163          12     10929           writev
 31.92    0.067327           6     10967        20 recvfrom
------ ----------- ----------- --------- --------- ----------------
100.00    0.211007           9     23045        26 total
";
        assert_eq!(parse_strace(text), Some(23_045));
        assert_eq!(parse_strace("strace: attach: ptrace(PTRACE_SEIZE, 1): Operation not permitted"), None);
    }
}

//! What the kernel counts for a process: CPU time, resident memory, and on which CPUs it may run.

use std::fs;

use anyhow::{Context, ensure};
use serde::Serialize;
use tokio::process::Command;

/// CPU time of all threads of a process since its start, or between two readings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct CpuTime {
    pub nanoseconds: u64,
    /// How much of it was spent outside the kernel, from 0 to 1; the kernel samples this more coarsely than the sum.
    pub user_share: f64,
    #[serde(skip)]
    ticks: Ticks,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Ticks {
    user: u64,
    system: u64,
}

impl CpuTime {
    /// Of a process whose threads all live as long as it does: the time of ended threads is not in the sum.
    pub fn of(process: u32) -> anyhow::Result<Self> {
        let mut nanoseconds = 0;
        for thread in fs::read_dir(format!("/proc/{process}/task")).context("the process has ended")? {
            // A thread may end while the list is read.
            let Ok(schedstat) = fs::read_to_string(thread?.path().join("schedstat")) else { continue };
            nanoseconds += on_cpu(&schedstat).context("an unknown form of schedstat")?;
        }
        let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
        let ticks = user_and_system(&stat).context("an unknown form of stat")?;
        Ok(Self { nanoseconds, user_share: 0.0, ticks })
    }

    pub fn since(self, earlier: Self) -> Self {
        let user = self.ticks.user.saturating_sub(earlier.ticks.user);
        let system = self.ticks.system.saturating_sub(earlier.ticks.system);
        let user_share = user as f64 / ((user + system) as f64).max(1.0);
        let nanoseconds = self.nanoseconds.saturating_sub(earlier.nanoseconds);
        Self { nanoseconds, user_share, ticks: Ticks { user, system } }
    }
}

pub fn resident_kib(process: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).context("the process has ended")?;
    let value = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
    Ok(value.context("the kernel does not tell VmRSS")?.parse()?)
}

/// Lets all threads of the process run on CPU 0 only.
pub async fn pin(process: u32) -> anyhow::Result<()> {
    let mut taskset = Command::new("taskset");
    let output = taskset.args(["-a", "-p", "-c", "0", &process.to_string()]).output().await?;
    ensure!(output.status.success(), "taskset: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn on_cpu(schedstat: &str) -> Option<u64> {
    schedstat.split_ascii_whitespace().next()?.parse().ok()
}

/// The name of the program, in parentheses, may hold anything.
fn user_and_system(stat: &str) -> Option<Ticks> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11).map(|field| field.parse().ok());
    Some(Ticks { user: fields.next()??, system: fields.next()?? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_are_understood() {
        assert_eq!(on_cpu("124530010 22110 97\n"), Some(124_530_010));
        let stat = "4242 (a) b (c) S 1 4242 4242 0 -1 4194560 1 2 3 4 17 5 6 7 20 0 1 0 99 1000 10";
        assert_eq!(user_and_system(stat), Some(Ticks { user: 17, system: 5 }));
    }

    #[test]
    fn a_busy_thread_is_seen() {
        let own = std::process::id();
        let before = CpuTime::of(own).unwrap();
        let mut sum = 0_u64;
        while CpuTime::of(own).unwrap().since(before).nanoseconds < 1_000_000 {
            sum = std::hint::black_box(sum + 1);
        }
        assert!(resident_kib(own).unwrap() > 0);
    }
}

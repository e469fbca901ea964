//! Leaves no process and no folder behind, even when the demo itself is killed with SIGKILL.
//!
//! A process of its own holds the read end of a pipe. While the demo lives it is told what to clean up; when the pipe
//! ends, however the demo ended, it ends the process group and removes the folder. In the good case the group is gone
//! by then.

use std::{
    io::{BufRead, PipeWriter, Write},
    path::{Path, PathBuf},
    process::Stdio,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tokio::{
    process::{Child, Command},
    time::timeout,
};

use crate::signals::Signals;

/// For the orderly end of all workloads, which drain first.
const ORDERLY: Duration = Duration::from_secs(8);
const FORCED: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(20);

/// The demo's side.
#[derive(Debug)]
pub struct Watchdog {
    child: Child,
    pipe: PipeWriter,
}

impl Watchdog {
    /// # Errors
    /// The process cannot be started.
    pub fn start() -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("cannot find the weft binary itself")?;
        let (reader, pipe) = std::io::pipe()?;
        let mut command = Command::new(program);
        command.arg("demo-watchdog").stdin(reader).stdout(Stdio::null()).process_group(0);
        let child = command.spawn().context("cannot start the demo's watchdog")?;
        Ok(Self { child, pipe })
    }

    pub fn guard_folder(&mut self, folder: &Path) -> anyhow::Result<()> {
        Ok(writeln!(self.pipe, "folder {}", folder.display())?)
    }

    pub fn guard_group(&mut self, group: Pid) -> anyhow::Result<()> {
        Ok(writeln!(self.pipe, "group {}", group.as_raw_nonzero())?)
    }

    /// Lets it do its work and waits for its end.
    pub async fn finish(self) -> anyhow::Result<()> {
        let Self { mut child, pipe } = self;
        drop(pipe);
        timeout(ORDERLY + FORCED + FORCED, child.wait()).await.context("the demo's watchdog does not end")??;
        Ok(())
    }
}

/// What is to be cleaned up.
#[derive(Debug, Default, PartialEq, Eq)]
struct Ward {
    group: Option<Pid>,
    folder: Option<PathBuf>,
}

impl Ward {
    /// Reads until the pipe ends, which is when the demo has ended.
    fn learn(input: impl BufRead) -> Self {
        let mut ward = Self::default();
        for line in input.lines().map_while(Result::ok) {
            match line.split_once(' ') {
                Some(("group", pid)) => ward.group = pid.parse().ok().and_then(Pid::from_raw),
                Some(("folder", path)) => ward.folder = Some(path.into()),
                _ => {}
            }
        }
        ward
    }
}

/// The watchdog's own side: `weft demo-watchdog`. Blocks; the process has nothing else to do.
pub fn execute() -> anyhow::Result<()> {
    // A signal to everything that is called weft must not end what cleans up after it.
    let _caught = Signals::listen()?;
    let ward = Ward::learn(std::io::stdin().lock());
    if let Some(group) = ward.group {
        end_group(group);
    }
    match ward.folder {
        Some(folder) if folder.exists() => {
            std::fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

fn end_group(group: Pid) {
    for (signal, patience) in [(Signal::TERM, ORDERLY), (Signal::KILL, FORCED)] {
        // Fails only when the group is gone.
        let _ = kill_process_group(group, signal);
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if test_kill_process_group(group).is_err() {
                return;
            }
            sleep(POLL);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;

    use super::*;

    #[test]
    fn the_last_word_on_each_counts() {
        let ward = Ward::learn("folder /a\ngroup 12\nnoise\nfolder /tmp/b c\ngroup x".as_bytes());
        assert_eq!(ward, Ward { group: None, folder: Some("/tmp/b c".into()) });
        assert_eq!(Ward::learn("group 12".as_bytes()).group, Pid::from_raw(12));
    }

    #[test]
    fn a_group_is_ended() {
        let mut child = std::process::Command::new("sleep").arg("600").process_group(0).spawn().unwrap();
        let group = Pid::from_child(&child);
        let reaper = std::thread::spawn(move || child.wait().unwrap());
        end_group(group);
        assert!(!reaper.join().unwrap().success());
        assert!(test_kill_process_group(group).is_err());
    }
}

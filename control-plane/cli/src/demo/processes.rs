//! The processes of the demo: all in one process group, all guarded by the watchdog, all logs in one folder.
//!
//! `weft run` is told to keep its sidecars in this group, so that the watchdog reaches them, too. The group is not the
//! terminal's, so that Ctrl-C reaches the demo alone, which then ends everything in order.

use std::{
    ffi::OsStr,
    fs::File,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};

use super::watchdog::Watchdog;
use crate::{output::Text, temporary};

const READY: Duration = Duration::from_secs(15);
const COMMAND: Duration = Duration::from_secs(15);
/// For the orderly end; less than the watchdog's, which is for the case that this one fails.
const ORDERLY: Duration = Duration::from_secs(6);

pub struct Processes {
    program: PathBuf,
    folder: PathBuf,
    watchdog: Watchdog,
    group: Option<Pid>,
    children: Vec<Process>,
}

struct Process {
    name: String,
    child: Child,
}

impl Processes {
    /// # Errors
    /// There is no place for a folder, or the watchdog cannot be started.
    pub fn open() -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("cannot find the weft binary itself")?;
        let folder = temporary::folder("weft-demo-")?;
        let mut watchdog = Watchdog::start()?;
        watchdog.guard_folder(folder.path())?;
        // From here on the watchdog removes it.
        let folder = folder.keep();
        std::fs::create_dir(folder.join("logs"))?;
        Ok(Self { program, folder, watchdog, group: None, children: Vec::new() })
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Starts a process that lives as long as the demo.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(&mut self, name: &str, args: &[impl AsRef<OsStr>]) -> anyhow::Result<()> {
        let mut command = self.command(args);
        command.stdout(self.log(name)?);
        self.spawn(name, command)
    }

    /// As `start`, and returns the first line that the process prints, once it does.
    ///
    /// # Errors
    /// It cannot be started, or ends or stays silent instead.
    pub async fn start_announced(&mut self, name: &str, args: &[impl AsRef<OsStr>]) -> anyhow::Result<String> {
        let mut command = self.command(args);
        command.stdout(Stdio::piped());
        self.spawn(name, command)?;
        let stdout = self.children.last_mut().and_then(|process| process.child.stdout.take());
        let mut line = String::new();
        let mut stdout = BufReader::new(stdout.context("the process has no standard output")?);
        let read = timeout(READY, stdout.read_line(&mut line)).await;
        let read = read.with_context(|| format!("{name} is not ready after {} s", READY.as_secs()))??;
        if read == 0 {
            bail!("{name} ended before it was ready");
        }
        Ok(line.trim_end().to_owned())
    }

    /// Runs a command to its end.
    ///
    /// # Errors
    /// It cannot be run, or takes too long.
    pub async fn run(&self, args: &[impl AsRef<OsStr>]) -> anyhow::Result<Output> {
        let mut command = self.command(args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        timeout(COMMAND, command.output()).await.context("the command does not end")?.context("cannot run the command")
    }

    /// `kill -9`. Returns the id that the process had.
    ///
    /// # Errors
    /// There is no such process any more.
    pub async fn kill(&mut self, name: &str) -> anyhow::Result<u32> {
        let index = self.children.iter().position(|process| process.name == name);
        let mut process = self.children.remove(index.with_context(|| format!("{name} does not run"))?);
        let id = process.child.id().with_context(|| format!("{name} has ended by itself"))?;
        process.child.kill().await?;
        Ok(id)
    }

    /// # Errors
    /// Names the process that has ended although nobody asked it to.
    pub fn check_alive(&mut self) -> anyhow::Result<()> {
        for process in &mut self.children {
            if let Some(status) = process.child.try_wait()? {
                bail!("{} ended ({status})", process.name);
            }
        }
        Ok(())
    }

    /// The last lines of every log, to explain a failure.
    pub fn last_words(&self, lines: usize) -> Text {
        let mut text = String::new();
        let entries = std::fs::read_dir(self.folder.join("logs")).into_iter().flatten().flatten();
        let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths {
            let log = std::fs::read_to_string(&path).unwrap_or_default();
            let all: Vec<_> = log.lines().collect();
            let last = all.get(all.len().saturating_sub(lines)..).unwrap_or_default();
            if let (Some(name), false) = (path.file_name(), last.is_empty()) {
                text.extend([&*name.to_string_lossy(), ":\n"]);
                text.extend(last.iter().flat_map(|line| [*line, "\n"]));
            }
        }
        Text::paragraph(text.trim_end())
    }

    /// Ends all processes, in order if they will, and removes the folder.
    ///
    /// # Errors
    /// The watchdog could not do its work.
    pub async fn end(mut self) -> anyhow::Result<()> {
        for signal in [Signal::TERM, Signal::KILL] {
            if let Some(group) = self.group {
                // Fails only when the group is gone.
                let _ = kill_process_group(group, signal);
            }
            let children = &mut self.children;
            let all = async {
                for process in children.iter_mut() {
                    let _ = process.child.wait().await;
                }
            };
            if timeout(ORDERLY, all).await.is_ok() {
                break;
            }
        }
        self.watchdog.finish().await
    }

    /// A weft command in the demo's folder and group, free of the person's own weft settings.
    fn command(&self, args: &[impl AsRef<OsStr>]) -> Command {
        let mut command = Command::new(&self.program);
        let own = std::env::vars_os().map(|(name, _)| name).filter(|name| name.to_string_lossy().starts_with("WEFT_"));
        own.for_each(|name| _ = command.env_remove(name));
        command
            .args(args)
            .current_dir(&self.folder)
            .env("WEFT_CONFIG", "control-plane/admin.yaml")
            .env("WEFT_AUTHOR", "demo")
            .env("TMPDIR", &self.folder)
            .stdin(Stdio::null())
            .process_group(self.group.map_or(0, |group| group.as_raw_nonzero().get()));
        command
    }

    fn spawn(&mut self, name: &str, mut command: Command) -> anyhow::Result<()> {
        let child = command.stderr(self.log(name)?).spawn().with_context(|| format!("cannot start {name}"))?;
        if self.group.is_none() {
            // The first one leads the group; the group outlives it as long as it has members.
            let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
            let group = id.context("the process ended at once")?;
            self.watchdog.guard_group(group)?;
            self.group = Some(group);
        }
        self.children.push(Process { name: name.to_owned(), child });
        Ok(())
    }

    fn log(&self, name: &str) -> anyhow::Result<File> {
        let path = self.folder.join("logs").join(format!("{name}.log"));
        Ok(File::options().append(true).create(true).open(path)?)
    }
}

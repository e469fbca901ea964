//! One process of a test: started in a group of its own, its output kept, killed and reaped at the end. Or run to its end.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Write},
    os::unix::process::CommandExt,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process, kill_process_group, test_kill_process_group};
use tokio::{io::AsyncWriteExt, time::timeout};

use crate::{Folder, eventually};

/// A command that has ended.
#[derive(Debug)]
pub struct Finished {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Finished {
    /// Runs the command to its end, with something on standard input. Panics if it takes longer.
    pub async fn of(command: Command, input: &[u8], limit: Duration) -> Self {
        let shown = format!("{command:?}");
        let mut command = tokio::process::Command::from(command);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {shown}: {error}"));
        let mut stdin = child.stdin.take().unwrap();
        let write = async move {
            // A command that refuses its flags reads nothing.
            let _ = stdin.write_all(input).await;
        };
        let ended = timeout(limit, async { tokio::join!(write, child.wait_with_output()).1 }).await;
        let output = ended.unwrap_or_else(|_| panic!("does not end within {limit:?}: {shown}")).unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let code = output.status.code().unwrap_or_else(|| panic!("was killed: {shown}"));
        Self { code, stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Its standard output. Panics if it failed.
    pub fn expect_ok(self) -> String {
        assert_eq!(self.code, 0, "{}{}", self.stdout, self.stderr);
        self.stdout
    }
}

pub struct Process {
    name: String,
    child: Child,
    pid: Pid,
    stdout: Output,
    stderr: Output,
}

/// What was read so far of one pipe, and who reads it to its end.
struct Output {
    lines: Arc<Mutex<Vec<String>>>,
    reader: JoinHandle<()>,
}

impl Process {
    /// Its output goes to a log in the folder, line by line, and is kept for questions.
    pub fn start(name: &str, command: &mut Command, folder: &Folder) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        command.env("TMPDIR", folder.temporary());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        let log = Arc::new(File::create(folder.log(name)).unwrap());
        let stdout = follow(child.stdout.take().unwrap(), log.clone());
        let stderr = follow(child.stderr.take().unwrap(), log);
        Self { name: name.to_owned(), pid: Pid::from_child(&child), child, stdout, stderr }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn stdout(&self) -> Vec<String> {
        self.stdout.lines.lock().unwrap().clone()
    }

    /// The log.
    pub fn stderr(&self) -> Vec<String> {
        self.stderr.lines.lock().unwrap().clone()
    }

    /// Waits for a line of standard output that begins so. Panics if the process ends instead.
    pub async fn announces(&mut self, beginning: &str) -> String {
        let name = self.name.clone();
        eventually(&format!("{name} prints {beginning:?}"), async || {
            // In this order: what has ended may have printed it a moment before.
            let ended = self.child.try_wait().unwrap().filter(|_| self.has_said_all());
            if let Some(line) = self.stdout().into_iter().find(|line| line.starts_with(beginning)) {
                return Ok(line);
            }
            match ended {
                Some(status) => panic!("{name} ended ({status}) before it printed {beginning:?}"),
                None => Err("nothing yet"),
            }
        })
        .await
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid, signal).unwrap();
    }

    /// `kill -9` of this process and all that it started.
    pub fn kill(&mut self) {
        // Fails only when all of them are gone.
        let _ = kill_process_group(self.pid, Signal::KILL);
        self.child.wait().unwrap();
    }

    /// Waits for its end, and until all that it has printed is there to be asked for.
    pub async fn ended(&mut self) -> ExitStatus {
        let what = format!("{} ends", self.name);
        let status = eventually(&what, async || self.child.try_wait().unwrap().ok_or("it runs")).await;
        let what = format!("{} leaves nobody behind who could print", self.name);
        eventually(&what, async || if self.has_said_all() { Ok(()) } else { Err("its output is open") }).await;
        status
    }

    /// Whether its output has ended, and was read.
    fn has_said_all(&self) -> bool {
        self.stdout.reader.is_finished() && self.stderr.reader.is_finished()
    }

    /// Whether it runs.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Whether nothing that it started is left. True only after its own end was waited for.
    pub fn group_is_gone(&self) -> bool {
        test_kill_process_group(self.pid).is_err()
    }

    /// The most memory that it ever had resident, in bytes.
    pub fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Ends when the last process that holds the pipe does.
fn follow(output: impl Read + Send + 'static, log: Arc<File>) -> Output {
    let lines = Arc::<Mutex<Vec<String>>>::default();
    let kept = lines.clone();
    let reader = std::thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            // The folder may be gone before the last words are written.
            let _ = writeln!(&*log, "{line}");
            kept.lock().unwrap().push(line);
        }
    });
    Output { lines, reader }
}

/// The command lines that name `path`, of processes that run: a sidecar names its state folder.
pub fn command_lines_with(path: &std::path::Path) -> Vec<String> {
    let path = path.to_string_lossy().into_owned();
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let command_lines = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    let readable = command_lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    readable.filter(|line| line.contains(&path)).collect()
}

//! `weft run` with a real control plane: the program's environment, its exit code, signals, and what is left behind.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(20);

/// A control plane in a folder of its own, ended with the test.
struct Mesh {
    folder: TempDir,
    control_plane: Child,
}

impl Mesh {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("tmp")).unwrap();
        let mut control_plane = command(folder.path())
            .args([
                "control-plane",
                "--data-dir",
                "cp",
                "--grpc-listen",
                "127.0.0.1:0",
                "--admin-listen",
                "127.0.0.1:0",
            ])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(control_plane.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("weft-control-plane ready grpc="), "{line}");
        Self { folder, control_plane }
    }

    fn run(&self, script: &str) -> Command {
        let mut command = command(self.folder.path());
        command.args(["run", "--service", "jobs", "--port", "1", "--grace", "5s", "--", "sh", "-c", script]);
        command
    }

    /// What `weft run` has left in the folder for temporary files.
    fn left_behind(&self) -> usize {
        std::fs::read_dir(self.folder.path().join("tmp")).unwrap().count()
    }
}

impl Drop for Mesh {
    fn drop(&mut self) {
        let _ = self.control_plane.kill();
        let _ = self.control_plane.wait();
    }
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weft"));
    let own = std::env::vars_os().map(|(name, _)| name);
    own.filter(|name| name.to_string_lossy().starts_with("WEFT_")).for_each(|name| _ = command.env_remove(name));
    for name in ["NO_PROXY", "no_proxy"] {
        command.env_remove(name);
    }
    command
        .current_dir(folder)
        .env("WEFT_CONFIG", "cp/admin.yaml")
        .env("TMPDIR", folder.join("tmp"))
        .stdin(Stdio::null());
    command
}

fn output(command: &mut Command) -> (Output, String, String) {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.clone(), text(&output.stdout), text(&output.stderr))
}

fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
}

#[test]
fn the_program_finds_the_mesh_and_its_exit_code_is_passed_on() {
    let mesh = Mesh::start();
    let script = "echo $HTTP_PROXY $http_proxy $WEFT_OUTBOUND $NO_PROXY; echo to-stderr >&2; exit 7";
    let (output, stdout, stderr) = output(&mut mesh.run(script));
    assert_eq!(output.status.code(), Some(7), "{stderr}");
    let words: Vec<_> = stdout.split_whitespace().collect();
    assert!(words[0].starts_with("http://127.0.0.1:"), "{stdout}");
    assert_eq!(words, [words[0], words[0], words[0], "localhost,127.0.0.1,::1"], "nothing but the program's output");
    assert!(stderr.lines().any(|line| line == "to-stderr"), "{stderr}");
    assert!(stderr.lines().any(|line| line.starts_with("[sidecar] ")), "{stderr}");
    assert_eq!(mesh.left_behind(), 0);
}

#[test]
fn a_signal_reaches_the_program_and_nothing_is_left_behind() {
    let mesh = Mesh::start();
    let script = "trap 'echo terminated; exit 3' TERM; echo $PPID; while :; do sleep 0.05; done";
    let mut child = mesh.run(script).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), child.id().to_string(), "the program is a child of weft run");
    assert_eq!(mesh.left_behind(), 1);
    kill_process(pid(&child), Signal::TERM).unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "terminated");
    assert_eq!(child.wait().unwrap().code(), Some(3));
    assert_eq!(mesh.left_behind(), 0);
}

#[test]
fn a_program_that_a_signal_ends_is_reported_as_shells_do() {
    let mesh = Mesh::start();
    let (output, _, stderr) = output(&mut mesh.run("kill -9 $$"));
    assert_eq!(output.status.code(), Some(137), "{stderr}");
}

#[test]
fn a_second_signal_ends_everything_at_once() {
    let mesh = Mesh::start();
    let script = "trap '' TERM; echo ready; while :; do sleep 0.05; done";
    let mut child = mesh.run(script).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    let begun = Instant::now();
    // The second may come before the first is seen, which makes them one: so it is repeated until it is heard.
    while child.try_wait().unwrap().is_none() {
        assert!(begun.elapsed() < PATIENCE, "weft run does not end");
        let _ = kill_process(pid(&child), Signal::TERM);
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(child.wait().unwrap().code(), Some(143));
    assert!(begun.elapsed() < Duration::from_secs(4), "before the grace of 5 s has passed");
    assert_eq!(mesh.left_behind(), 0);
}

#[test]
fn a_sidecar_that_cannot_start_is_explained_by_its_own_log() {
    let mesh = Mesh::start();
    let mut run = command(mesh.folder.path());
    // TEST-NET-1: an address that no machine has.
    run.args(["run", "--service", "jobs", "--port", "1", "--advertise", "192.0.2.1", "--", "true"]);
    let (output, _, stderr) = output(&mut run);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("the sidecar ended before it was ready") && stderr.contains("192.0.2.1"), "{stderr}");
    assert_eq!(mesh.left_behind(), 0);
}

#[test]
fn without_a_control_plane_it_fails_unless_there_is_state_to_live_on() {
    let mut mesh = Mesh::start();
    let keep = ["run", "--service", "jobs", "--port", "1", "--state-dir", "state", "--", "true"];
    let (output1, _, stderr) = output(command(mesh.folder.path()).args(keep));
    assert_eq!(output1.status.code(), Some(0), "{stderr}");
    mesh.control_plane.kill().unwrap();
    mesh.control_plane.wait().unwrap();

    let (output2, _, stderr) = output(command(mesh.folder.path()).args(keep));
    assert_eq!(output2.status.code(), Some(0), "{stderr}");
    assert!(stderr.contains("starting with the state in state"), "{stderr}");
    let (output3, _, stderr) = output(&mut mesh.run("true"));
    assert_eq!(output3.status.code(), Some(4), "{stderr}");
}

//! `weft run` with a real control plane: the program's environment, its exit code, signals, and what is left behind.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod mesh;

use std::{
    io::{BufRead, BufReader, Read},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use mesh::Mesh;
use rustix::process::{Pid, Signal, getpgid, kill_process, kill_process_group};

const PATIENCE: Duration = Duration::from_secs(20);

fn run(mesh: &Mesh, script: &str) -> Command {
    let mut command = mesh.weft();
    // Longer than a test has patience: what ends before was not waited out.
    command.args(["run", "--service", "jobs", "--port", "1", "--grace", "60s", "--", "sh", "-c", script]);
    command
}

/// What `weft run` has left in the folder for temporary files.
fn left_behind(mesh: &Mesh) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(mesh.folder.path().join("tmp")).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
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
    let (output, stdout, stderr) = output(&mut run(&mesh, script));
    assert_eq!(output.status.code(), Some(7), "{stderr}");
    let words: Vec<_> = stdout.split_whitespace().collect();
    assert!(words[0].starts_with("http://127.0.0.1:"), "{stdout}");
    assert_eq!(words, [words[0], words[0], words[0], "localhost,127.0.0.1,::1"], "nothing but the program's output");
    assert!(stderr.lines().any(|line| line == "to-stderr"), "{stderr}");
    assert!(stderr.lines().any(|line| line.starts_with("[sidecar] ")), "{stderr}");
    assert_eq!(left_behind(&mesh), [] as [PathBuf; 0]);
}

#[test]
fn a_signal_reaches_the_program_and_nothing_is_left_behind() {
    let mesh = Mesh::start();
    let script = "trap 'echo terminated; exit 3' TERM; echo $PPID; while :; do sleep 0.05; done";
    let mut child = run(&mesh, script).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), child.id().to_string(), "the program is a child of weft run");
    let folder = left_behind(&mesh).pop().unwrap();
    let mode = std::fs::metadata(folder).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700, "a key and a token are in it");
    kill_process(pid(&child), Signal::TERM).unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "terminated");
    assert_eq!(child.wait().unwrap().code(), Some(3));
    assert_eq!(left_behind(&mesh), [] as [PathBuf; 0]);
}

#[test]
fn the_program_is_not_given_what_could_change_the_mesh() {
    let mesh = Mesh::start();
    let mut command = run(&mesh, "env");
    command
        .env("WEFT_JOIN_TOKEN", "weft-join-secret")
        .env("WEFT_JOIN_TOKEN_FILE", "/secret")
        .env("WEFT_COLOUR", "blue");
    let (output, stdout, stderr) = output(&mut command);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    let mut given: Vec<_> = stdout.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    given.retain(|name| name.starts_with("WEFT_"));
    given.sort_unstable();
    assert_eq!(given, ["WEFT_COLOUR", "WEFT_OUTBOUND"]);
}

#[test]
fn a_signal_to_the_whole_job_leaves_the_sidecar_to_its_drain() {
    let mesh = Mesh::start();
    let mut child = run(&mesh, "echo ready; exec sleep 600")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    let (group, sidecar) = (pid(&child), sidecar(&child));
    assert_ne!(getpgid(Some(sidecar)).unwrap(), group);
    // As `kill %1` does.
    kill_process_group(group, Signal::TERM).unwrap();
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(143), "{stderr}");
    assert!(!stderr.contains("weft run:"), "the drain has worked: {stderr}");
    assert!(!runs(sidecar));
}

#[test]
fn the_sidecar_ends_by_itself_when_weft_run_is_killed() {
    let mesh = Mesh::start();
    let script = "echo $$; exec sleep 600";
    let mut child = run(&mesh, script).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let program = lines.next().unwrap().unwrap().parse().ok().and_then(Pid::from_raw).unwrap();
    let sidecar = sidecar(&child);
    assert!(runs(sidecar));
    child.kill().unwrap();
    child.wait().unwrap();
    // Nobody is left who would.
    kill_process(program, Signal::KILL).unwrap();
    let begun = Instant::now();
    while runs(sidecar) {
        assert!(begun.elapsed() < PATIENCE, "the sidecar stays");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The child of `weft run` that is not the program.
fn sidecar(run: &Child) -> Pid {
    let id = run.id();
    let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
    let mut ids = children.split_whitespace().map(|id| Pid::from_raw(id.parse().unwrap()).unwrap());
    ids.find(|id| command_line(*id).contains("\0proxy\0")).unwrap()
}

/// What has ended has no command line, even before somebody has asked for its exit code.
fn runs(process: Pid) -> bool {
    !command_line(process).is_empty()
}

fn command_line(process: Pid) -> String {
    std::fs::read_to_string(format!("/proc/{}/cmdline", process.as_raw_nonzero())).unwrap_or_default()
}

#[test]
fn a_program_that_a_signal_ends_is_reported_as_shells_do() {
    let mesh = Mesh::start();
    let (output, _, stderr) = output(&mut run(&mesh, "kill -9 $$"));
    assert_eq!(output.status.code(), Some(137), "{stderr}");
}

#[test]
fn a_second_signal_ends_everything_at_once() {
    let mesh = Mesh::start();
    let script = "trap '' TERM; echo ready; while :; do sleep 0.05; done";
    let mut child = run(&mesh, script).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
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
    assert_eq!(left_behind(&mesh), [] as [PathBuf; 0]);
}

#[test]
fn a_sidecar_that_cannot_start_is_explained_by_its_own_log() {
    let mesh = Mesh::start();
    let mut run = mesh.weft();
    // TEST-NET-1: an address that no machine has.
    run.args(["run", "--service", "jobs", "--port", "1", "--advertise", "192.0.2.1", "--", "true"]);
    let (output, _, stderr) = output(&mut run);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("the sidecar ended before it was ready") && stderr.contains("192.0.2.1"), "{stderr}");
    assert_eq!(left_behind(&mesh), [] as [PathBuf; 0]);
}

#[test]
fn without_a_control_plane_it_fails_unless_there_is_state_to_live_on() {
    let mut mesh = Mesh::start();
    let keep = ["run", "--service", "jobs", "--port", "1", "--state-dir", "state", "--", "true"];
    let (output1, _, stderr) = output(mesh.weft().args(keep));
    assert_eq!(output1.status.code(), Some(0), "{stderr}");
    mesh.control_plane.kill().unwrap();
    mesh.control_plane.wait().unwrap();

    let (output2, _, stderr) = output(mesh.weft().args(keep));
    assert_eq!(output2.status.code(), Some(0), "{stderr}");
    assert!(stderr.contains("starting with the state in state"), "{stderr}");
    let (output3, _, stderr) = output(&mut run(&mesh, "true"));
    assert_eq!(output3.status.code(), Some(4), "{stderr}");
}

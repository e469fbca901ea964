//! `weft run`: the program's own exit codes and signals, an orderly end, and nothing left behind.

use std::fs;

use rustix::process::Signal;
use weft_tests::{ControlPlane, Runner, command_lines_with, eventually, fixture, get, require};

#[tokio::test]
async fn the_programs_exit_code_is_its_own() {
    let control_plane = ControlPlane::start().await;
    for (script, code) in [("exit 0", 0), ("exit 7", 7), ("kill -KILL $$", 137)] {
        let mut run = Runner::start(&control_plane, "job", &["sh", "-c", script]);
        assert_eq!(run.ended().await.code(), Some(code), "{script}");
        assert_nothing_left(&control_plane, &mut run, script);
    }
    let mut run = Runner::start(&control_plane, "job", &["/nonexistent/program"]);
    assert_eq!(run.ended().await.code(), Some(1));
    assert!(run.process().stderr().join("\n").contains("/nonexistent/program"));
    assert_nothing_left(&control_plane, &mut run, "a program that is not there");
    let left: Vec<_> =
        fs::read_dir(control_plane.folder().temporary()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn signals_reach_the_program() {
    let control_plane = ControlPlane::start().await;
    for (signal, name, code) in [(Signal::TERM, "TERM", 143), (Signal::INT, "INT", 130), (Signal::HUP, "HUP", 129)] {
        let mut run = Runner::start(&control_plane, "job", &["sh", "-c", "echo up; exec sleep 600"]);
        run.process().announces("up").await;
        run.signal(signal);
        assert_eq!(run.ended().await.code(), Some(code), "{name}");
        assert_nothing_left(&control_plane, &mut run, name);
    }
    let script = "trap 'echo caught; exit 42' TERM; echo up; while :; do sleep 0.05; done";
    let mut run = Runner::start(&control_plane, "job", &["sh", "-c", script]);
    run.process().announces("up").await;
    run.signal(Signal::TERM);
    run.process().announces("caught").await;
    assert_eq!(run.ended().await.code(), Some(42), "what the program makes of it");
}

#[tokio::test]
async fn requests_in_flight_are_finished_first() {
    if !require(&["python3"]) {
        return;
    }
    let control_plane = ControlPlane::start().await;
    let folder = control_plane.folder().path().to_owned();
    let server = fixture("upload_server.py");
    let mut slow = Runner::start(&control_plane, "slow", &["python3", &server, "{port}", folder.to_str().unwrap()]);
    control_plane.serving("slow", 1).await;
    let caller = control_plane.sidecar("caller").start().await;
    let outbound = caller.outbound();
    let request = tokio::spawn(async move { get(outbound, "http://slow/slow").await });
    eventually("the request is with the program", async || {
        if folder.join("started").exists() { Ok(()) } else { Err("not yet") }
    })
    .await;

    slow.signal(Signal::TERM);
    control_plane.serving("slow", 0).await;
    assert!(slow.process().runs() && !request.is_finished(), "it waits for the request");
    fs::write(folder.join("release"), "").unwrap();
    let answer = request.await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(slow.ended().await.code(), Some(143));
    assert!(slow.process().group_is_gone(), "something is left");
    let refused = get(outbound, "http://slow/").await;
    assert_eq!(refused.status.as_u16() / 100, 5, "nobody is there any more: {}", refused.text());
}

#[tokio::test]
async fn a_dead_sidecar_comes_back_on_the_same_ports() {
    if !require(&["python3"]) {
        return;
    }
    let control_plane = ControlPlane::start().await;
    let server = fixture("upload_server.py");
    let mut slow = Runner::start(&control_plane, "orders", &["python3", &server, "{port}"]);
    control_plane.serving("orders", 1).await;
    let caller = control_plane.sidecar("caller").start().await;
    let address = control_plane.json(&["endpoints", "orders"]).await[0]["address"].clone();

    let sidecar = children(slow.process().id()).into_iter().find(|id| command_line(*id).contains("\0proxy\0")).unwrap();
    rustix::process::kill_process(rustix::process::Pid::from_raw(sidecar).unwrap(), Signal::KILL).unwrap();
    eventually("it answers again", async || {
        let answer = get(caller.outbound(), "http://orders/").await;
        if answer.status == 200 { Ok(()) } else { Err(answer.text()) }
    })
    .await;
    eventually("it says that the sidecar is back", async || {
        let lines = slow.process().stderr();
        if lines.iter().any(|line| line.contains("the sidecar is back")) { Ok(()) } else { Err(lines.join("\n")) }
    })
    .await;
    assert_eq!(control_plane.json(&["endpoints", "orders"]).await[0]["address"], address);
}

fn children(parent: u32) -> Vec<i32> {
    let text = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap();
    text.split_whitespace().map(|id| id.parse().unwrap()).collect()
}

fn command_line(id: i32) -> String {
    fs::read_to_string(format!("/proc/{id}/cmdline")).unwrap()
}

/// Neither the program nor the sidecar, which has a process group of its own.
fn assert_nothing_left(control_plane: &ControlPlane, run: &mut Runner, what: &str) {
    assert!(run.process().group_is_gone(), "{what}: something is left");
    let sidecars = command_lines_with(&control_plane.folder().temporary());
    assert!(sidecars.is_empty(), "{what}: {sidecars:?}");
}

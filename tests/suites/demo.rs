//! `weft demo`: every step holds, and nothing is left behind, however it ends.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::Signal;
use serde_json::Value;
use weft_tests::{Folder, Process, within};

const LONGEST: Duration = Duration::from_secs(60);
const CLEANING: Duration = Duration::from_secs(15);

/// The demo, and the folder for temporary files in which it makes its own.
fn demo(folder: &Folder) -> (Process, PathBuf) {
    let mut command = weft_tests::weft(&["demo", "--output", "json"]);
    (Process::start("demo", &mut command, folder), folder.temporary())
}

/// Neither a file in the folder, nor a process that works in it.
fn left_behind(temporary: &Path) -> Result<(), String> {
    let files: Vec<_> = fs::read_dir(temporary).unwrap().map(|entry| entry.unwrap().path()).collect();
    let working =
        |entry: &fs::DirEntry| fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(temporary));
    let processes: Vec<_> =
        fs::read_dir("/proc").unwrap().flatten().filter(working).map(|entry| entry.path()).collect();
    match files.is_empty() && processes.is_empty() {
        true => Ok(()),
        false => Err(format!("{files:?} {processes:?}")),
    }
}

#[tokio::test]
async fn every_step_is_seen_to_hold() {
    let folder = Folder::new();
    let (mut demo, temporary) = demo(&folder);
    let status = within(LONGEST, "the demo ends", async || match demo.runs() {
        true => Err("it runs"),
        false => Ok(()),
    });
    status.await;
    let status = demo.ended().await;
    assert!(status.success(), "{status}");
    let steps: Vec<Value> = demo.stdout().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(steps.len(), 6, "{steps:#?}");
    for (step, number) in steps.iter().zip(1..) {
        assert_eq!(step["step"], number);
        assert_eq!(step["held"], true, "{step}");
        assert!(step["checks"].as_array().is_some_and(|checks| !checks.is_empty()), "{step}");
    }
    left_behind(&temporary).unwrap();
}

#[tokio::test]
async fn a_killed_demo_leaves_nothing() {
    let folder = Folder::new();
    let (mut demo, temporary) = demo(&folder);
    within(LONGEST, "the first step is done", async || match demo.stdout().len() {
        0 => Err("nothing yet"),
        _ => Ok(()),
    })
    .await;
    assert!(left_behind(&temporary).is_err(), "the demo is at work");
    demo.signal(Signal::KILL);
    demo.ended().await;
    within(CLEANING, "all is cleaned up", async || left_behind(&temporary)).await;
}

#[tokio::test]
async fn an_interrupted_demo_leaves_nothing() {
    let folder = Folder::new();
    let (mut demo, temporary) = demo(&folder);
    within(LONGEST, "the first step is done", async || match demo.stdout().len() {
        0 => Err("nothing yet"),
        _ => Ok(()),
    })
    .await;
    demo.signal(Signal::INT);
    assert_eq!(demo.ended().await.code(), Some(130));
    left_behind(&temporary).unwrap();
}
